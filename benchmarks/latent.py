"""The figures of the latent families: `python -m benchmarks.latent [--json FILE] [--rounds N] [--only TASK ...]`.

`slots`, `classes` and `diffusion` train for minutes each. `mnist` and `vamp_mnist` read files of the folder that the
environment variable ZOO_DATA names, and are meant for a GPU: their own command lines shorten them.
"""

from __future__ import annotations

from benchmarks.common import main

TASKS = ("vae", "slots", "classes", "diffusion", "mnist", "vamp_mnist")

if __name__ == "__main__":
    main("benchmarks.latent_tasks", TASKS)
