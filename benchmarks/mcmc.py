"""The figures of Markov chain Monte Carlo: from a cold start, once warm, on a GPU, on many rows.

`python -m benchmarks.mcmc [--json FILE] [--rounds N] [--only TASK ...]`; `cold` and `warm` read the posteriors of
posteriordb in the folder that the environment variable ZOO_DATA names, and run each contestant in a fresh process.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = ("cold", "warm", "gpu", "scale")

if __name__ == "__main__":
    main("benchmarks.mcmc_tasks", TASKS)
