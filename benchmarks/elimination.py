"""The figures of exact elimination: `python -m benchmarks.elimination [--only child alarm ...] [--tasks ...]`.

CPU seconds of one thread, ours and pyAgrum alternating in one run; medians and ranges over evidence sets of 20 % of
the variables, drawn by forward sampling; all marginals in float64. `--device cuda` prints rows a second instead.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.common import Row, report, write
from benchmarks.elimination_tasks.networks import ALL, compiled_at_hand

TASKS = ("batched", "gaps", "single", "compile", "pgmpy", "exactness", "em")


def figures(arguments: argparse.Namespace) -> list[Row]:
    from benchmarks.elimination_tasks import learning, quality, speed

    executors = ("torch", "compiled") if compiled_at_hand() else ("torch",)
    sets, rounds, tasks = arguments.sets, arguments.rounds, tuple(arguments.tasks)
    rows: list[Row] = []
    for name in arguments.only:
        found = speed.rows_of(name, tasks, executors, sets, rounds)
        if "pgmpy" in tasks and name in quality.LOOPED:
            found += quality.loop(name, executors, sets, min(rounds, 3))
        if "exactness" in tasks:
            found += quality.exactness(name, executors)
        if "em" in tasks and name == learning.NETWORK:
            found += learning.rows()
        rows += found
        report(found)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the rows here")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds an evidence set (default 5)")
    parser.add_argument("--sets", type=int, default=5, help="evidence sets (default 5)")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, metavar="NETWORK", help="these networks")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS[:-1], help="default: all but em")
    parser.add_argument("--device", help='print rows a second of 1,000,000 rows there, "cuda" say, beside one core')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.device:
        from benchmarks.elimination_tasks import cuda

        cuda.report(arguments.device)
        return
    rows = figures(arguments)
    if arguments.json:
        write(rows, arguments.json)


if __name__ == "__main__":
    main()
