"""L-BFGS upwards on a log density, many paths in one batch; each point comes with the normal that its path suggests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.sampling.kernel import Density
from inference.variational.inverse_hessian import History, Normal

MEMORY = 6
"""Steps that a path remembers."""
ARMIJO, CURVATURE = 1e-4, 0.9
"""Shares of the first slope: the rise that a step must make, and the slope it may leave."""
TRIALS = 30
"""Step lengths tried before a path is said to be at its end."""
FLAT = 1e-9
"""Nats that a quadratic would still rise by, below which a path is at its end."""


@dataclass(frozen=True)
class Place:
    """Where K paths are: q and slope [K, dim], value [K], the log density in nats."""

    q: Tensor
    value: Tensor
    slope: Tensor

    @staticmethod
    def at(density: Density, q: Tensor) -> Place:
        return Place(q, *density.value_and_grad(q))

    @property
    def finite(self) -> Tensor:
        return torch.isfinite(self.value) & torch.isfinite(self.slope).all(-1)

    def where(self, mask: Tensor, other: Place) -> Place:
        """This where mask [K] says so, the other elsewhere."""
        wide = mask[:, None]
        return Place(
            torch.where(wide, self.q, other.q),
            torch.where(mask, self.value, other.value),
            torch.where(wide, self.slope, other.slope),
        )


@dataclass(frozen=True)
class Point(Place):
    """A place, which of the paths still move [K], and the normals that they suggest there."""

    moving: Tensor
    normal: Normal


def climb(density: Density, q: Tensor, limit: int = 1000) -> Iterator[Point]:
    """The points of the paths from q [K, dim] upwards, until none moves or `limit` steps are made; q is the first."""
    place = Place.at(density, q)
    history = History.begin(place.slope, MEMORY)
    moving = place.finite
    for _ in range(limit + 1):
        normal = history.normal(place.q, place.slope)
        yield Point(place.q, place.value, place.slope, moving, normal)
        ahead = torch.where(normal.sound[:, None], normal.mean - place.q, history.alpha * place.slope)
        rise = (ahead * place.slope).sum(-1)
        moving = moving & (rise / 2 > FLAT)
        to, moving = _search(density, place, ahead, rise, moving)
        if not moving.any():
            return
        history = history.after(to.q - place.q, place.slope - to.slope)
        place = to


def _search(density: Density, place: Place, ahead: Tensor, rise: Tensor, moving: Tensor) -> tuple[Place, Tensor]:
    """A step of each moving path that rises enough and leaves little slope (weak Wolfe), by bisection.

    Returns where the paths are then, and which of them found such a step; the others stay where they were.
    """
    step, low, high = torch.ones_like(rise), torch.zeros_like(rise), torch.full_like(rise, torch.inf)
    best, found, done = place, torch.zeros_like(moving), ~moving
    slack = 1e-14 * place.value.abs()  # the rounding of a sum over many rows
    for _ in range(TRIALS):
        if done.all():
            break
        to = Place.at(density, torch.where(done[:, None], best.q, place.q + step[:, None] * ahead))
        good = to.finite & (to.value >= place.value + ARMIJO * step * rise - slack)
        steep = good & ((to.slope * ahead).sum(-1) > CURVATURE * rise)
        best = to.where(good & ~done, best)
        found = found | (good & ~done)
        done = done | (good & ~steep)
        low, high = torch.where(good, step, low), torch.where(good, high, step)
        step = torch.where(torch.isinf(high), 2 * step, (low + high) / 2)
    return best, found
