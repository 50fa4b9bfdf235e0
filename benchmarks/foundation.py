"""The figures of the foundation: `python -m benchmarks.foundation [--json FILE] [--rounds N] [--only TASK ...]`."""

from __future__ import annotations

from benchmarks.common import main

TASKS = ("vae", "flows", "mixture", "rbm")

if __name__ == "__main__":
    main("benchmarks.foundation_tasks", TASKS)
