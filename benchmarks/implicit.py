"""The figures of the families without a likelihood, or with one up to a constant.

`python -m benchmarks.implicit [--json FILE] [--rounds N] [--only TASK ...]`; `rbm_mnist` and `films` read files of the
folder that the environment variable ZOO_DATA names.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = ("critic", "digits", "ring", "moments", "rbm", "rbm_mnist", "films")

if __name__ == "__main__":
    main("benchmarks.implicit_tasks", TASKS)
