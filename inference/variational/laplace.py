"""Laplace's approximation: the normal at the mode of the unconstrained log density."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.seeding import seeded
from inference.variational.asked import Asked, answer
from inference.variational.climbing import Place, climb

CLIMB = 300
"""L-BFGS's steps at most."""
POLISHES = 20
"""Newton's steps at most, after L-BFGS."""
LEVEL = 1e-10
"""Curvature, as a share of the largest, below which a direction counts as level."""
APART = 0.1
"""Nats between the tops of two starts that are not the same mode."""


def laplace(
    model: Any,
    data: Any = None,
    *,
    starts: int = 8,
    draws: int = 4000,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: torch.dtype = torch.float64,
) -> Posterior:
    """Draws of N(mode, -H^-1), H the Hessian of the unconstrained log density there, with Pareto-smoothed weights.

    Exact where the posterior is normal on unconstrained space. L-BFGS from all starts in one batch, Newton's steps
    from the best top.

    Parameters:
        model: any Pyro program with continuous latents, or a log density such as `LogDensity`.
        data: its arguments: a mapping, a tuple or a tensor.
        starts: from how many places the mode is looked for.
        draws: of the normal.

    Returns:
        a `Posterior` whose `extra` has "mode" (by name), "log_evidence_laplace", the closed form at the mode, and
        "log_evidence" with its error by the weights, which is right where Pareto k is small (nats).

    Raises:
        ValueError: where the log density does not curve downwards at the top, naming the directions.

    References:
        Accurate Approximations for Posterior Moments and Marginal Densities (Tierney and Kadane, 1986)
    """
    began = time.perf_counter()
    with seeded(seed, device):
        asked = Asked.of(model, data, precision=precision, device=device, seed=seed)
        tops = _tops(asked, starts)
        mode, value, precision_root = _polished(asked, tops.q[tops.value.argmax()])
        noise = torch.randn(draws, len(mode), dtype=mode.dtype, device=mode.device)
        q = mode + torch.linalg.solve_triangular(precision_root.mT, noise.mT, upper=True).mT
        volume = precision_root.diagonal().log().sum() - 0.5 * len(mode) * math.log(2 * math.pi)
        return answer(
            asked,
            q[None],
            (volume - 0.5 * (noise**2).sum(-1))[None],
            method="Laplace",
            began=began,
            alarms=_disagreement(tops, mode, value, precision_root),
            extra={
                "mode": {name: part[0] for name, part in asked.density.constrain(mode[None]).items()},
                "log_evidence_laplace": float(value - volume),
            },
        )


def _tops(asked: Asked, starts: int) -> Place:
    last: Place | None = None
    for point in climb(asked.density, asked.density.start(starts), CLIMB):
        last = point
    assert last is not None
    return last


def _polished(asked: Asked, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mode near q [dim] by Newton's steps, its log density, and the Cholesky factor of minus the Hessian there."""
    density = asked.density
    place = Place.at(density, q[None])
    for _ in range(POLISHES):
        root = _root(asked, place.q[0])
        step = torch.cholesky_solve(place.slope[0, :, None], root)[:, 0]
        to = Place.at(density, (place.q[0] + step)[None])
        if not _better(to, place):
            return place.q[0], place.value[0], root
        place = to
    return place.q[0], place.value[0], _root(asked, place.q[0])


def _better(to: Place, place: Place) -> bool:
    """Higher, or as high but for rounding and less steep."""
    slack = 1e-13 * abs(place.value.item())
    gain = to.value.item() - place.value.item()
    return bool(to.finite.item()) and (gain > slack or (gain >= -slack and bool(to.slope.norm() < place.slope.norm())))


def _root(asked: Asked, q: Tensor) -> Tensor:
    """The Cholesky factor of minus the Hessian, where there is one."""
    curvature = -asked.density.hessian(q)
    curvature = (curvature + curvature.mT) / 2
    if not torch.isfinite(curvature).all():
        raise ValueError(f"{asked.name}: the Hessian at the top that was found is not finite, so there is no Laplace")
    sizes, directions = torch.linalg.eigh(curvature)
    level = sizes <= LEVEL * sizes.abs().max()
    if level.any():
        said = "; ".join(_said(direction, asked.density.names) for direction in directions[:, level].T[:3])
        raise ValueError(
            f"{asked.name}: the log density does not curve downwards at its top in {int(level.sum())} of {len(sizes)} "
            f"directions ({said}), so there is no Laplace approximation; give proper priors, write the model "
            "non-centred, or use mcmc"
        )
    return torch.linalg.cholesky(curvature)


def _said(direction: Tensor, names: Sequence[str]) -> str:
    """A direction by its largest parts: 0.71 a - 0.71 b."""
    largest = direction.abs().argsort(descending=True)[:3]
    parts = [(float(direction[i]), names[int(i)]) for i in largest if abs(float(direction[i])) > 0.05]
    sign = math.copysign(1.0, parts[0][0])
    return " ".join(f"{'-' if sign * size < 0 else '+'} {abs(size):.2g} {name}" for size, name in parts).removeprefix(
        "+ "
    )


def _disagreement(tops: Place, mode: Tensor, value: Tensor, root: Tensor) -> dict[str, str]:
    """An alarm where starts ended at other tops than the mode."""
    distance = ((tops.q - mode) @ root).norm(dim=-1) / math.sqrt(len(mode))
    other = (value - tops.value > APART) | (distance > 1)
    if not other.any():
        return {}
    gap = float((value - tops.value).max())
    return {
        "local optima": f"{int(other.sum())} of {len(other)} starts ended elsewhere than the mode, up to {gap:.3g} "
        "nats below it: the posterior may have several modes, of which Laplace holds one. Try smc."
    }
