"""What every measure of quality gives: a number, its interval, and how many rows it rests on.

An interval holds the true value in 95 of 100 new draws of the rows that `n` counts, of each set in the order that the
measure takes them. What was fitted before (a model, the features) is held as it is: fitting it anew would give others.

References:
    An Introduction to the Bootstrap (Efron and Tibshirani, 1993)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest, norm
from torch import Tensor

LEVEL = 0.95
DRAWS = 400
LEAST = 4


class Estimate(NamedTuple):
    """A number, its 95 % interval, and the rows of each set that it was found from."""

    value: float
    low: float
    high: float
    n: tuple[int, ...]

    @property
    def error(self) -> float:
        """The standard error that an interval of this width stands for."""
        return (self.high - self.low) / (2 * float(norm.ppf((1 + LEVEL) / 2)))

    def __str__(self) -> str:
        rows = " and ".join(f"{n:,}" for n in self.n)
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] of {rows} rows"


class Tested(NamedTuple):
    """A statistic, and the probability p of one as extreme where the null hypothesis holds."""

    statistic: Estimate
    p: float

    def __str__(self) -> str:
        return f"{self.statistic}, p = {self.p:.2g}"


def share(hits: float, n: int) -> Estimate:
    """A share of n independent rows, with the exact binomial interval: the bootstrap's is empty at 0 and at 1."""
    interval = binomtest(round(hits), n).proportion_ci(LEVEL)
    return Estimate(hits / n, float(interval.low), float(interval.high), (n,))


def around(value: float, error: float, *n: int) -> Estimate:
    """A number with its standard error, as an interval of the normal distribution."""
    half = error * float(norm.ppf((1 + LEVEL) / 2))
    return Estimate(value, value - half, value + half, n)


def bootstrap(statistic: Callable[..., Tensor | float], *sets: Tensor, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """A statistic of sets of rows, its interval by drawing the rows of each set again, with replacement.

    The interval is between the quantiles of the statistics so found. A drawn row can be there twice: a statistic that
    looks for neighbours, or a distance, would take it for its own neighbour, and is not to be asked in this way.
    """
    if any(len(rows) < 2 for rows in sets) or not sets:
        raise ValueError(f"rows are drawn again from sets of at least 2, not of {[len(rows) for rows in sets]}")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        indices = [torch.randint(len(rows), (len(rows),), generator=generator) for rows in sets]
        found.append(float(statistic(*(rows[i.to(rows.device)] for rows, i in zip(sets, indices, strict=True)))))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(statistic(*sets)), float(low), float(high), tuple(map(len, sets)))


def rows_of(**sets: Tensor) -> list[Tensor]:
    """Sets of rows [N, D] in the same features, in float64, or a sentence on what they are instead."""
    first, *others = sets
    for name, rows in sets.items():
        if rows.dim() != 2 or len(rows) < LEAST:
            raise ValueError(f"{name} must be features [N, D] of at least {LEAST} rows, not {list(rows.shape)}")
        if not rows.isfinite().all():
            lost = int((~rows.isfinite().all(1)).sum())
            raise ValueError(f"{name} must be finite numbers, but {lost:,} of its {len(rows):,} rows hold others")
    for name in others:
        if sets[name].shape[1] != sets[first].shape[1]:
            raise ValueError(f"{first} has {sets[first].shape[1]} features, but {name} has {sets[name].shape[1]}")
    if all(bool((rows == sets[first][0]).all()) for rows in sets.values()):
        raise ValueError(f"every row of {' and '.join(sets)} is the same: there is nothing to compare")
    return [rows.detach().double() for rows in sets.values()]
