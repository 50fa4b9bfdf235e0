"""The figures of spread: simulation on large graphs, rates from a case curve, who began a rumour.

`python -m benchmarks.spread [--json FILE] [--rounds N] [--only TASK ...]`; `source` reads the Facebook graph in the
folder that the environment variable ZOO_DATA names.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = ("speed", "flu", "source")

if __name__ == "__main__":
    main("benchmarks.spread_tasks", TASKS)
