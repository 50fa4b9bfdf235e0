"""What makes a posterior hard to walk: where divergences gather, and funnels.

References:
    A Conceptual Introduction to Hamiltonian Monte Carlo (Betancourt, 2017), https://arxiv.org/abs/1701.02434
    Slice sampling (Neal, 2003), https://doi.org/10.1214/aos/1056562461, for the funnel
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from inference.diagnostics.coordinates import Coordinates

FEW = 1e-3
"""The share of trajectories that may diverge, where they gather nowhere."""
CHANCE = 0.01
"""How often divergences would be said to gather somewhere, were they spread as all draws are."""
BOUND, SPAN = 0.5, 3.0
"""A funnel: the rank correlation of a scale with a spread, and how many times over the spread follows it, at least."""


@dataclass(frozen=True)
class Gathering:
    """Where divergent draws lie apart from the others: `inside` of `count`, and a share `others` of the other draws."""

    name: str
    side: str
    edge: float
    inside: int
    count: int
    others: float

    def __str__(self) -> str:
        small = "small" if self.side == "below" else "large"
        return (
            f"divergences gather where {self.name} is {small} ({self.side} {self.edge:.2g}: {self.inside} of "
            f"{self.count}, "
            f"and {self.others:.0%} of the other draws)"
        )


def gathering(coordinates: Coordinates, diverging: np.ndarray, suspect: str | None = None) -> Gathering | None:
    """The number, and the side of an edge, that part divergent draws [chains, draws] from the others the most.

    None where they are not apart by more than chance lets them be in any of the numbers (Dvoretzky, Kiefer, Wolfowitz);
    or in those of a site that is suspected on other grounds.
    """
    found = _gathering(coordinates, diverging)
    if found is None and suspect is not None:
        own = coordinates.of[suspect]
        few = Coordinates(coordinates.names[own], coordinates.values[:, :, own], {}, {})
        return _gathering(few, diverging)
    return found


def _gathering(coordinates: Coordinates, diverging: np.ndarray) -> Gathering | None:
    x, bad = coordinates.flat, diverging.reshape(-1).astype(bool)
    count = int(bad.sum())
    if not 0 < count < len(bad):
        return None
    order = np.argsort(x, 0, kind="stable")
    sign = bad[order]
    among, others = np.cumsum(sign, 0) / count, np.cumsum(~sign, 0) / (len(bad) - count)
    gap = np.abs(among - others) * coordinates.moving
    at, number = divmod(int(gap.argmax()), gap.shape[1])
    if 2 * count * gap[at, number] ** 2 < math.log(2 * x.shape[1] / CHANCE):
        return None
    low = among[at, number] > others[at, number]
    edge = float(x[order[min(at + 1, len(bad) - 1), number], number])
    side = x[:, number] < edge if low else x[:, number] >= edge
    name = coordinates.names[number]
    return Gathering(name, "below" if low else "above", edge, int(side[bad].sum()), count, float(side[~bad].mean()))


@dataclass(frozen=True)
class Funnel:
    """A scale that the spread of another site follows: rank correlation, and how many times over."""

    scale: str
    site: str
    correlation: float
    times: float

    def __str__(self) -> str:
        size = "small" if self.correlation > 0 else "large"
        return (
            f"where {self.scale} is {size}, {self.site} is squeezed together (rank correlation "
            f"{self.correlation:+.2f}, and "
            f"the spread of {self.site} changes {self.times:.0f}-fold)"
        )


def funnel(coordinates: Coordinates) -> Funnel | None:
    """The clearest of the pairs of a scale and a site whose spread follows it; None where there is none.

    The spread of a site in a draw is that of its elements, of a single one how far it is from its median. A scale is a
    site of one number, or of as many as the other has, each the scale of one. What is positive throughout has no middle
    to be squeezed to.
    """
    found = []
    for site in coordinates.of:
        x = coordinates.flat[:, coordinates.of[site]]
        if (x >= 0).all():
            continue
        for scale in coordinates.of:
            s = coordinates.flat[:, coordinates.of[scale]]
            if scale != site and s.shape[1] in {1, x.shape[1]}:
                found.append(_follows(scale, site, s, x))
    clear = [each for each in found if abs(each.correlation) > BOUND and each.times > SPAN]
    return max(clear, key=lambda each: abs(each.correlation), default=None)


def _follows(scale: str, site: str, s: np.ndarray, x: np.ndarray) -> Funnel:
    tiny = np.finfo(float).tiny
    if s.shape[1] == 1 and x.shape[1] > 2:
        spread = np.log(x.std(1, keepdims=True) + tiny)
    else:
        spread = np.log(np.abs(x - np.median(x, 0)) + tiny)
    by_rank = [rankdata(each, axis=0) - (len(x) + 1) / 2 for each in (s, spread)]
    size = np.sqrt(np.square(by_rank[0]).sum(0) * np.square(by_rank[1]).sum(0))
    correlation = float(((by_rank[0] * by_rank[1]).sum(0) / np.where(size > 0, size, np.inf)).mean())
    span = np.quantile(spread, [0.05, 0.95], axis=0)
    return Funnel(
        scale, site, correlation, float(np.exp(np.minimum(abs(correlation) * (span[1] - span[0]).mean(), 50)))
    )
