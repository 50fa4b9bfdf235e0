"""Chains that tell different stories: stuck ones, groups that live in different places, labels that have switched.

References:
    Markov Chain Monte Carlo Methods and the Label Switching Problem (Jasra, Holmes and Stephens, 2005),
    https://doi.org/10.1214/088342305000000016
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.health import listed

APART, AGREE = 3.0, 1.2
"""How many of their own sds lie between the means of chains of different groups; r-hat among the chains of one."""
COMPONENTS, FEATURES = 12, 32
"""Of a site, so many components and features of each are looked through for switched labels."""
VALLEY = 0.02
"""The share of draws in which two components may be nearly alike, where their labels have switched."""


def stuck(coordinates: Coordinates) -> list[int]:
    """Chains that stay where they are, in nine of ten steps or all but, while others move."""
    x = coordinates.values[:, :, coordinates.moving]
    if x.shape[1] < 4 or not x.shape[2]:
        return []
    still = (np.diff(x, axis=1) == 0).all(2).mean(1) > 0.9
    sd = x.std(1)
    usual = np.maximum(np.median(sd, 0), x.std((0, 1)) / len(x))
    return np.flatnonzero(still | (sd < 1e-3 * usual).all(1)).tolist()


@dataclass(frozen=True)
class Groups:
    """Chains by where they live in one number: the chains of each group, and the mean of their draws."""

    name: str
    chains: list[list[int]]
    means: list[float]

    def __str__(self) -> str:
        told = [f"{len(c)} {'has' if len(c) == 1 else 'have'} {self.name} near {m:.2g}" for c, m in self._pairs()]
        return listed(told, 4)

    def _pairs(self) -> list[tuple[list[int], float]]:
        return list(zip(self.chains, self.means, strict=True))


def groups(coordinates: Coordinates, skip: Sequence[int] = ()) -> Groups | None:
    """The chains by groups that agree within and are far apart, in the number that parts them the clearest.

    None where there are no such groups, or where each chain has a place of its own: those have not mixed at all.
    """
    kept = [c for c in range(len(coordinates.values)) if c not in set(skip)]
    x = coordinates.values[kept]
    if len(kept) < 3 or x.shape[1] < 4:
        return None
    means, sd = x.mean(1), x.std(1)
    best, clearest = None, 0.0
    for j in np.flatnonzero(coordinates.moving):
        order = np.argsort(means[:, j], kind="stable")
        gap, scale = np.diff(means[order, j]), (sd[order[1:], j] + sd[order[:-1], j]) / 2
        cuts = np.flatnonzero(gap > APART * scale)
        parts = np.split(order, cuts + 1)
        if not len(cuts) or max(len(part) for part in parts) < 2 or not all(_agree(x[part, :, j]) for part in parts):
            continue
        clear = float((gap[cuts] / np.maximum(scale[cuts], 1e-300)).min())
        if clear > clearest:
            clearest, best = clear, (j, parts)
    if best is None:
        return None
    j, parts = best
    return Groups(
        coordinates.names[j],
        [sorted(kept[i] for i in part) for part in parts],
        [float(x[part, :, j].mean()) for part in parts],
    )


def _agree(x: np.ndarray) -> bool:
    """Whether chains [chains, draws] lie in one place: r-hat without ranks."""
    if len(x) < 2:
        return True
    within = x.var(1, ddof=1).mean()
    return bool(x.mean(1).var(ddof=1) <= (AGREE**2 - 1) * within)


@dataclass(frozen=True)
class Switched:
    """Two components of a site that have changed places, in a share of the draws."""

    site: str
    first: int
    second: int
    share: float

    def __str__(self) -> str:
        return (
            f"components {self.first} and {self.second} of {self.site} have changed places in {self.share:.0%} of "
            "the draws"
        )


def switched(coordinates: Coordinates) -> Switched | None:
    """Labels that have switched along the first axis of a site, which the model could number in any order.

    Two components have when the sign of their difference changes from draw to draw with a gap about 0, and each draw
    put in order says the same whichever sign it had.
    """
    for site, shape in coordinates.shapes.items():
        if not shape or not 1 < shape[0] <= COMPONENTS:
            continue
        x = coordinates.flat[:, coordinates.of[site]].reshape(-1, shape[0], int(np.prod(shape[1:], dtype=int)))
        for j in range(min(x.shape[2], FEATURES)):
            for a, b in combinations(range(shape[0]), 2):
                share = _exchanged(x, a, b, j)
                if share:
                    return Switched(site, a, b, share)
    return None


def _exchanged(x: np.ndarray, a: int, b: int, j: int) -> float:
    """The share of draws [draws, components, features] in the rarer order of a and b by feature j; 0 if none."""
    gap = x[:, a, j] - x[:, b, j]
    up = gap > 0
    share = min(float(up.mean()), float((~up).mean()))
    if share < 0.01 or (np.abs(gap) < 0.25 * np.median(np.abs(gap))).mean() > VALLEY:
        return 0.0
    ordered = np.take_along_axis(x, np.argsort(x[:, :, j], 1)[:, :, None], 1)
    apart = np.abs(ordered[up].mean(0) - ordered[~up].mean(0))
    return share if (apart <= ordered.std(0) + 1e-12).all() else 0.0
