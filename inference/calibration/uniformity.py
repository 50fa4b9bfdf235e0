"""Whether numbers are draws of the uniform distribution: exact bands for their ECDF, and exact p-values.

References:
    Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample
    comparison (Säilynoja, Bürkner and Vehtari, 2022), https://arxiv.org/abs/2103.10522
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, bdtrc, gammaln, xlogy

POINTS = 100
"""At how many steps of the unit interval the ECDF is held to its band."""


@dataclass(frozen=True)
class Band:
    """Where the ECDF of N uniform numbers stays at all of `points` at once with the probability `coverage`."""

    points: np.ndarray
    low: np.ndarray
    high: np.ndarray
    coverage: float

    def leaves(self, u: np.ndarray) -> bool:
        """Whether the ECDF of u goes outside at any point."""
        share = counts(u) / len(u)
        return bool(((share < self.low - 1e-12) | (share > self.high + 1e-12)).any())


def counts(u: np.ndarray) -> np.ndarray:
    """How many of u [N] are at most each inner point of the unit interval: [POINTS - 1]."""
    return np.searchsorted(np.sort(u), _points(), side="right")


def band(n: int, coverage: float) -> Band:
    """The narrowest band of this kind that holds the whole ECDF of n uniform numbers with at least this probability.

    A point is inside while its own binomial tail is not rarer than a threshold that all points share; the threshold is
    found by halving, the probability of staying inside being exact.
    """
    table = _tails(n)
    thresholds = np.unique(table)
    low, high = 0, len(thresholds) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _staying(n, thresholds[middle]) >= coverage else (low, middle)
    inside = table > thresholds[low]
    first, last = inside.argmax(1), n - inside[:, ::-1].argmax(1)
    return Band(_points(), first / n, last / n, _staying(n, thresholds[low]))


def ecdf_p_value(u: np.ndarray) -> float:
    """How often the ECDF of as many uniform numbers comes as near to leaving its band somewhere as that of u [N]."""
    table = _tails(len(u))
    rarest = table[np.arange(POINTS - 1), counts(u)].min()
    return max(0.0, 1.0 - _staying(len(u), rarest * (1 + 1e-9)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values [M] raised so that the least of them is right for all together, whatever they share (Holm, 1979)."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p_values[order]))
    return adjusted


def _points() -> np.ndarray:
    return np.arange(1, POINTS) / POINTS


@lru_cache(maxsize=8)
def _tails(n: int) -> np.ndarray:
    """Of each point and each count 0..n: twice the probability of the rarer tail that begins there."""
    k = np.arange(n + 1)
    at = _points()[:, None]
    return np.minimum(1.0, 2 * np.minimum(bdtr(k, n, at), np.where(k > 0, bdtrc(np.maximum(k - 1, 0), n, at), 1.0)))


def _staying(n: int, threshold: float) -> float:
    """The probability that no point's tail is as rare as the threshold, by the chain of the counts from left to right.

    Uniform numbers are a Poisson process whose total is n: its increments are independent, and the total divides out.
    """
    inside = _tails(n) > threshold
    if not inside.any(1).all():
        return 0.0
    lows, highs = inside.argmax(1), n - inside[:, ::-1].argmax(1)
    step = _poisson(np.arange(n + 1), n / POINTS)
    mass, first = np.ones(1), 0
    for low, high in zip(lows, highs, strict=True):
        mass = np.convolve(mass, step[: high - first + 1])[low - first : high - first + 1]
        first = low
    last = n - np.arange(first, first + len(mass))
    return float(mass @ step[last] / _poisson(np.array(n), n))


def _poisson(k: np.ndarray, rate: float) -> np.ndarray:
    return np.exp(xlogy(k, rate) - rate - gammaln(k + 1))
