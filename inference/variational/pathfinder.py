"""Pathfinder: normals along paths of optimisation, the best of each path, weighed against each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.sampling.kernel import Density
from inference.seeding import seeded
from inference.variational.asked import Asked, answer
from inference.variational.climbing import climb
from inference.variational.inverse_hessian import Normal

ELBO_DRAWS = 10
"""Draws by which a normal of a path is judged."""
PATIENCE = 40
"""Steps without a better normal on any path, after which none is looked for: beyond a mode of no mass lies no end."""


@dataclass(frozen=True)
class Paths:
    """The best normal of each of K paths, its ELBO [K] in nats (minus infinity where there is none), and where from.

    `tops` is the last point of each path [K, dim], its mode where it came so far.
    """

    normal: Normal
    elbo: Tensor
    tops: Tensor

    def part(self, index: Tensor) -> Paths:
        return Paths(self.normal.part(index), self.elbo[index], self.tops[index])


@torch.no_grad()
def find_paths(density: Density, start: Tensor, limit: int = 1000) -> Paths:
    """Paths from start [K, dim] upwards, and of each the normal with the largest ELBO; by torch's generator."""
    best: Normal | None = None
    elbo, tops, waited = start.new_full((len(start),), -torch.inf), start, 0
    for point in climb(density, start, limit):
        q, log_q = point.normal.draw(ELBO_DRAWS)
        sound = point.normal.sound
        q = torch.where(sound[:, None], q, point.q)
        now = (density(q.flatten(0, 1)).view(log_q.shape) - log_q).mean(0)
        now = torch.where(sound & torch.isfinite(now), now, -torch.inf)
        better = now > elbo
        best = point.normal if best is None else point.normal.where(better, best)
        elbo, tops = torch.where(better, now, elbo), point.q
        waited = 0 if better.any() else waited + 1
        if waited == PATIENCE:
            break
    assert best is not None
    return Paths(best, elbo, tops)


def pathfinder(
    model: Any,
    data: Any = None,
    *,
    paths: int = 8,
    draws: int = 1000,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: torch.dtype = torch.float64,
) -> Posterior:
    """Quick draws near a program's posterior: a start for chains, or for a guide, and an answer where k is small.

    Each of the paths climbs the log density by L-BFGS, all in one batch; along each the normal of the largest ELBO is
    kept. The draws, [paths, draws, ...], carry Pareto-smoothed weights over all paths: `resampled()` is multi-path
    Pathfinder's answer, and what chains should start from.

    Parameters:
        model: any Pyro program with continuous latents, or a log density such as `LogDensity`.
        data: its arguments: a mapping, a tuple or a tensor.
        paths: how many, each from a start of its own.
        draws: of each path.

    Raises:
        ValueError: a program that has no such density, or paths of which none found a normal.

    References:
        Pathfinder: Parallel quasi-Newton variational inference (Zhang, Carpenter, Gelman and Vehtari, 2022),
        https://arxiv.org/abs/2108.03782
    """
    began = time.perf_counter()
    with seeded(seed, device):
        asked = Asked.of(model, data, precision=precision, device=device, seed=seed)
        found = kept(find_paths(asked.density, asked.density.start(paths)), asked.name)
        q, log_q = found.normal.draw(draws)
        return answer(
            asked,
            q.movedim(0, 1),
            log_q.T,
            method="Pathfinder",
            began=began,
            alarms={},
            extra={"path_elbos": found.elbo},
        )


def kept(paths: Paths, name: str) -> Paths:
    """The paths that found a normal."""
    sound = torch.isfinite(paths.elbo)
    if not sound.any():
        raise ValueError(
            f"none of {len(sound)} paths over the log density of {name} met a point with a normal of finite ELBO: is "
            "the posterior proper?"
        )
    return paths.part(sound.nonzero()[:, 0])
