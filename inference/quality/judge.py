"""`judge`: samples beside held-out rows by every measure here, and beside the training rows where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.quality.distances import frechet_distance, median_distance
from inference.quality.estimates import LEAST, Estimate, Tested, around
from inference.quality.features import VALUES, Features
from inference.quality.memory import ALARM, Memorization, memorization
from inference.quality.modes import ModeCoverage, Modes, mode_coverage
from inference.quality.neighbours import Fidelity, fidelity
from inference.quality.two_sample import classifier_test, mmd_test

NEIGHBOURS = 5
MOST = 10_000
PERMUTATIONS = 199
MEMORY_PERMUTATIONS = 499
"""p, of two tests, is then 0.004 at the least: below 0.01, where memory is said to be seen."""
SHOWN = 16


@dataclass(frozen=True)
class Pairs:
    """Samples and the training rows they are closest to, the closest first, and how far apart; [P, ...] and [P]."""

    samples: Tensor
    rows: Tensor
    distances: Tensor


@dataclass(frozen=True)
class Judgement:
    """What was found out about samples; None where there were too few rows, no training rows, or no modes told."""

    frechet: Estimate
    mmd: Tested
    told_apart: Tested
    fidelity: Fidelity | None = None
    memory: Memorization | None = None
    pairs: Pairs | None = None
    modes: ModeCoverage | None = None

    def columns(self) -> dict[str, Any]:
        """Every number by name, with the bounds of its interval as `..._low` and `..._high`; p-values as `..._p`."""
        shares = self.fidelity._asdict() if self.fidelity is not None else dict.fromkeys(Fidelity._fields, NOTHING)
        memory, copies = (NOTHING, NOTHING) if self.memory is None else (self.memory.memory[0], self.memory.copies[0])
        intervals = {"c2st": self.told_apart.statistic, **shares, "memory": memory, "copies": copies}
        reached = (torch.nan, torch.nan) if self.modes is None else (sum(self.modes.reached), len(self.modes.shares))
        found: dict[str, Any] = {
            "frechet": self.frechet.value,
            "frechet_error": self.frechet.error,
            "mmd": self.mmd.statistic.value,
            "mmd_error": self.mmd.statistic.error,
            "mmd_p": self.mmd.p,
            "c2st_p": self.told_apart.p,
            "memory_p": torch.nan if self.memory is None else self.memory.p,
            **dict(zip(("modes_reached", "modes"), reached, strict=True)),
        }
        for name, interval in intervals.items():
            found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        return found | dict(zip(("samples", "held_out"), self.frechet.n, strict=True))

    def words(self, name: str) -> str:
        """What to make of it, in one sentence."""
        told, memory = self.told_apart, self.memory
        apart = "can be told" if told.p < ALARM else "can't be told"
        said = [
            f"{name}'s samples {apart} from held-out rows: a classifier is right about "
            f"{_percent(told.statistic)} of them, p of the MMD {self.mmd.p:.2g}"
        ]
        if memory is not None:
            seen = "it knows its training rows" if memory.memorizes else "it is not seen to know its training rows"
            said.append(f"{seen}, p {memory.p:.2g}, near copies {_percent(memory.copies.statistic)}")
        if self.modes is not None:
            said.append(str(self.modes))
        return "; ".join(said) + "."


def _percent(share: Estimate) -> str:
    value, low, high = (max(0.0, each) for each in share[:3])
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


NOTHING = Estimate(torch.nan, torch.nan, torch.nan, ())


def judge(
    samples: Tensor,
    held_out: Tensor,
    train: Tensor | None = None,
    *,
    features: Features = VALUES,
    modes: Modes | None = None,
    seed: int = 0,
) -> Judgement:
    """Samples beside held-out rows, [N, *event_shape] each, on named features; memory on the values as they are.

    Modes, where they are told, are of the same features.

    Features that were learned from the training rows put them elsewhere than other rows, so that these would tell
    nothing of memory. Of more than 10,000 training or held-out rows, so many are drawn: a copied row that is not
    among them is not seen as one.
    """
    a, b = features(samples), features(held_out)
    bandwidth = median_distance(b)  # the held-out rows' alone: one kernel for every model
    frechet = frechet_distance(a, b)
    enough = min(len(a), len(b)) > NEIGHBOURS
    memory = None if train is None or len(train) < LEAST else _memory(samples, train, held_out, seed)
    return Judgement(
        around(frechet.value, frechet.error, len(a), len(b)),
        mmd_test(a, b, permutations=PERMUTATIONS, bandwidth=bandwidth, seed=seed),
        classifier_test(a, b, seed=seed),
        fidelity(b, a, k=NEIGHBOURS) if enough else None,
        None if memory is None else memory[0],
        None if memory is None else memory[1],
        None if modes is None else mode_coverage(a, modes),
    )


def _memory(samples: Tensor, train: Tensor, held_out: Tensor, seed: int) -> tuple[Memorization, Pairs]:
    train, held_out = (some(rows, MOST, seed) for rows in (train, held_out))
    values = (VALUES(rows) for rows in (samples, train, held_out))
    found = memorization(*values, permutations=MEMORY_PERMUTATIONS, seed=seed)
    sample, row, distance = zip(*found.pairs(SHOWN), strict=True)
    return found, Pairs(samples[list(sample)].cpu(), train[list(row)].cpu(), torch.tensor(distance))


def some(rows: Tensor, most: int, seed: int) -> Tensor:
    """At most so many rows, in an order drawn by the seed where there are more."""
    if len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].to(rows.device)]
