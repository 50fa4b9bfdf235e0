"""Which of the draws to keep: all, those after a while, or every so-manieth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from inference.sampling.stopping import Convergence, Rule

SHORTEST = 16
"""Draws of a chain that a window keeps at least."""
THINNED = (1, 2, 4)

HOPELESS = 4.0
"""Where so many times the draws are missing, no part of them is tried."""


class Window(NamedTuple):
    """Every `every`-th draw from `first` on, of each chain."""

    first: int = 0
    every: int = 1

    def of(self, draws: Tensor) -> Tensor:
        """What it keeps of [chains, draws, ...]."""
        return draws[:, self.first :: self.every]


def window_of(draws: Tensor, names: Sequence[str], rule: Rule, super_chains: int | None) -> tuple[Window, Convergence]:
    """The first window under which draws [chains, draws, P] meet the rule, and what they show; else that of all draws.

    Later draws are tried where the first half has not forgotten the start; thinned ones, since the r-hat of short
    chains is above one by as much as neighbouring draws are alike, (tau - 1) / n, although together they know enough.
    """
    whole = Convergence(draws, names, super_chains)
    if 1 < rule.missing(whole) < HOPELESS:
        for window in _windows(draws.shape[1]):
            found = Convergence(window.of(draws), names, super_chains)
            if rule.met(found):
                return window, found
    return Window(), whole


def _windows(draws: int) -> Iterator[Window]:
    for first in (0, draws // 2):
        for every in THINNED:
            if (every == 1 and first == 0) or (draws - first) // every >= SHORTEST:
                yield Window(first, every)
