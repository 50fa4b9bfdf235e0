"""A contestant in a process of its own, so that compiling and warming up count: one core, imports not counted.

Numba, which would read what an earlier process compiled, writes into a folder that is new each time.

`python -m benchmarks.mcmc_tasks.fresh MODULE FUNCTION ARGUMENT ...` prints what benchmarks.mcmc_tasks.MODULE.FUNCTION
gives for the arguments, strings or JSON, as JSON; a MODULE with dots is its whole name.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
LIMIT = 1800


def fresh(module: str, function: str, *arguments: Any) -> dict[str, float]:
    """What the function gives in a new process."""
    command = [sys.executable, "-m", "benchmarks.mcmc_tasks.fresh", module, function, *map(json.dumps, arguments)]
    with tempfile.TemporaryDirectory() as empty:
        settings = {**os.environ, **ONE_THREAD, "NUMBA_CACHE_DIR": empty}
        done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}.{function}{arguments} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    module = sys.argv[1] if "." in sys.argv[1] else f"benchmarks.mcmc_tasks.{sys.argv[1]}"
    called = getattr(importlib.import_module(module), sys.argv[2])
    print(json.dumps(called(*map(json.loads, sys.argv[3:]))))
