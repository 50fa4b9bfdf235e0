"""Timing ours beside a peer: process CPU seconds, one thread, alternating in one run, medians over rounds."""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch


@dataclass(frozen=True)
class Row:
    """One figure, beside its goal. `peer` names what it was measured against, "" where it stands alone."""

    figure: str
    value: float
    goal: float
    better: Literal["lower", "higher"]
    peer: str = ""

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


def alternate(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contestant in each round; one round more, not counted, comes first."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        order = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in order:
            start = time.process_time()
            contestants[name]()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def ratio(times: Mapping[str, list[float]], ours: str, peer: str) -> float:
    """The median of the rounds' quotients, ours over the peer's: below 1 is faster."""
    return statistics.median(a / b for a, b in zip(times[ours], times[peer], strict=True))


def main(package: str, tasks: tuple[str, ...]) -> None:
    """Run tasks, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description="Ours beside the peers: one thread, CPU seconds, medians over rounds.")
    parser.add_argument("--json", metavar="FILE", help="write the rows here")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    parser.add_argument(
        "--only", nargs="+", choices=tasks, default=tasks, metavar="TASK", help=f"of {', '.join(tasks)}"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for task in arguments.only:
        rows += importlib.import_module(f"{package}.{task}").rows(arguments.rounds)
    report(rows)
    if arguments.json:
        write(rows, arguments.json)


def report(rows: Sequence[Row]) -> None:
    """A line a figure."""
    for row in rows:
        sign = "<=" if row.better == "lower" else ">="
        verdict = "reached" if row.reached else "MISSED"
        value = f"{row.value:10.4f}" if abs(row.value) >= 1e-3 or not row.value else f"{row.value:10.1e}"
        print(f"{row.figure:42} {value}  goal {sign} {row.goal:<9.4g} {verdict:8} {row.peer}", flush=True)


def write(rows: Sequence[Row], file: str) -> None:
    """The rows as JSON, whole or not at all."""
    path = Path(file)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    beside.replace(path)
