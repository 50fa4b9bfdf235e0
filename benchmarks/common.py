"""Timing ours beside a peer: process CPU seconds, one thread, alternating in one run, medians over rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


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
