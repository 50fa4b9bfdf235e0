"""A C++ function from its source, by the compiler of the machine."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_MEANING = ("-march=native", "-fno-math-errno", "-fno-trapping-math")
# long loops are thousands of lines in one function: the registers are dealt out once, quickly
_SPEED = ("-O1", "-fira-region=one", "-fira-algorithm=priority", "-fno-ira-share-spill-slots")
FLAGS = (*_SPEED, *_MEANING, "-shared", "-fPIC", "-w", "-x", "c++")
VECTORS = (("-DMVEC", "-lmvec"), ())
"""glibc's vectors of exp and its like, where the machine has them."""


def compiler() -> str | None:
    """The C++ compiler: that of the variable CXX, or the first on the path; None where there is none."""
    return next(
        (found for name in (os.environ.get("CXX"), "g++", "c++") if name and (found := shutil.which(name))), None
    )


@functools.lru_cache(maxsize=64)
def load(source: str) -> Any:
    """The function `run` of a source. Raises RuntimeError where there is no compiler, or it refuses."""
    command = compiler()
    if command is None:
        raise RuntimeError("no C++ compiler is on the path, and CXX names none")
    complaint = ""
    with tempfile.TemporaryDirectory() as folder:
        path, library = Path(folder) / "density.cpp", Path(folder) / "density.so"
        path.write_text(source)
        for define, *links in (vector or ("-DPLAIN",) for vector in VECTORS):
            call = [command, *FLAGS, define, str(path), "-o", str(library), *(["-x", "none", *links] if links else [])]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                run = ctypes.CDLL(str(library)).run
                run.restype = None
                return run
            complaint = done.stderr
    raise RuntimeError(f"the C++ compiler refused: {complaint[:400]}")
