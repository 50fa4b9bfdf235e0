"""The figures of the explicit families: `python -m benchmarks.explicit [--json FILE] [--rounds N] [--only TASK ...]`.

`mnist` and `text_quality` train for an hour and for many minutes on two cores, and read the files that the
environment variable ZOO_DATA names.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = (
    "flows",
    "small_tables",
    "images",
    "pixels",
    "voice",
    "text",
    "chains",
    "hidden_markov",
    "packing",
    "text_quality",
    "mnist",
)

if __name__ == "__main__":
    main("benchmarks.explicit_tasks", TASKS)
