"""The figures of the explicit families: `python -m benchmarks.explicit [--json FILE] [--rounds N] [--only TASK ...]`.

Those with `quality` in their names and `images` train for minutes each, `mnist` for an hour on two cores. `mnist`,
`voice_quality` and half of `text_quality` read files of the folder that the environment variable ZOO_DATA names.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = (
    "flows",
    "small_tables",
    "images",
    "pixels",
    "pixels_quality",
    "voice",
    "voice_quality",
    "text",
    "chains",
    "hidden_markov",
    "packing",
    "text_quality",
    "mnist",
)

if __name__ == "__main__":
    main("benchmarks.explicit_tasks", TASKS)
