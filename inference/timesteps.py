"""Likelihoods of models that are chains of many steps: a bound by timesteps, and the probability flow's estimate.

References:
    Variational Diffusion Models (Kingma et al., 2021), https://arxiv.org/abs/2107.00630
    Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
    https://arxiv.org/abs/2011.13456
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.importance import blocks, repeated
from inference.likelihood import LogLikelihood
from inference.protocols import Flowing, Stepwise, by_row, measure_of, name_of, offers
from inference.running import Mean


@dataclass(frozen=True)
class TimestepBound:
    """The ELBO as a sum over the steps of the chain, each at a draw of its own: KLs in closed form, no chain drawn.

    Parameters:
        steps: at most how many of the T steps a draw takes: the first, and one at random of each of some stretches of
            the others, which stands for its stretch. All of them where T is no larger, or for None.
        draws: how many times; the standard error is of their mean.
    """

    steps: int | None = 100
    draws: int = 4

    def __post_init__(self) -> None:
        for name, value, least in (("steps", self.steps, 2), ("draws", self.draws, 1)):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        if not offers(model, Stepwise):
            raise TypeError(f"{name_of(model)} is no chain of steps with a bound of each: leave the method out")
        edges = _edges(model.steps, min(self.steps or model.steps, model.steps)).to(x.device)
        running = Mean()
        for _ in range(self.draws):
            running.add(-_one_draw(model, x, context, edges).unsqueeze(0))
        values, error = running.result()
        how = f"bound by {len(edges)} of {model.steps} timesteps, {self.draws} draws"
        return LogLikelihood(values, error, "lower bound", measure_of(model, x, context), how)


def _one_draw(model: Stepwise, x: Tensor, context: Tensor | None, edges: Tensor) -> Tensor:
    """-ELBO of each row at one draw, [N] nats."""
    at_once, size = blocks(len(edges), len(x), x[0].numel(), x.device.type)
    totals = []
    for start in range(0, len(x), size):
        rows, given = x[start : start + size], None if context is None else context[start : start + size]
        total = by_row(model.settled(rows), (len(rows),), model, "settled").double()
        for t, weight in _strata(edges, len(rows), at_once):
            step = model.step(repeated(rows, len(t)), t.flatten(), repeated(given, len(t)))  # type: ignore[arg-type]
            divergence = by_row(step.divergence(), (t.numel(),), model, "the divergence of a step")
            total = total + (weight * divergence.double().view(t.shape)).sum(0)
        totals.append(total)
    return torch.cat(totals)


def _edges(steps: int, taken: int) -> Tensor:
    """Where stretches of the steps end, the first of them being the first step alone."""
    if taken == steps:
        return torch.arange(1, steps + 1)
    # half of them even in t, half in log t: the first steps cost most
    even = torch.linspace(1, steps, taken - taken // 2, dtype=torch.float64)
    early = torch.logspace(0, math.log10(steps), taken // 2 + 1, dtype=torch.float64)
    return torch.cat([even, early]).round().long().unique()


def _strata(edges: Tensor, rows: int, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Steps [S, rows], each row's own in each stretch, with what each stands for [S, 1]; at most `at_once` together."""
    starts = torch.cat([edges.new_zeros(1), edges[:-1]])
    widths = (edges - starts).unsqueeze(1)
    uniform = torch.rand(len(edges), rows, dtype=torch.float64, device=edges.device)
    t = starts.unsqueeze(1) + 1 + torch.minimum((uniform * widths).long(), widths - 1)
    yield from zip(t.split(at_once), widths.double().split(at_once), strict=True)


@dataclass(frozen=True)
class ProbabilityFlow:
    """log p(x) by the change of variables along the probability flow, from x to noise, by Heun's second-order steps.

    The divergence of the flow is Hutchinson's estimate, e^T (df/dz) e with random signs e. Codes are drawn within their
    level, so that what is estimated of them is a lower bound. It is an estimate: `standard_error` holds the spread over
    the probes and the gap to half as many steps, and neither the gap between the flow and the chain nor x's own
    distance from z_1.

    Parameters:
        steps: at most how many.
        probes: draws of e (and of where in its level a code is) for each row.
    """

    steps: int = 100
    probes: int = 8

    def __post_init__(self) -> None:
        for name, value, least in (("steps", self.steps, 2), ("probes", self.probes, 2)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        if not offers(model, Flowing):
            raise TypeError(f"{name_of(model)} has no probability flow: leave the method out")
        path = model.flow_path(self.steps)
        running, coarse = Mean(), Mean()
        for _ in range(self.probes):
            fine, rough = _in_blocks(path, x, context)
            running.add(fine.unsqueeze(0))
            coarse.add(rough.unsqueeze(0))
        values, spread = running.result()
        gap = (values - coarse.result()[0]) / 3  # Richardson's, of a second-order method
        values = values + gap
        error = gap.abs() if spread is None else torch.hypot(spread, gap)
        how = f"probability flow, {len(path.positions) - 1} Heun steps, {self.probes} probes"
        return LogLikelihood(values, error, "estimate", measure_of(model, x, context), how)


def _in_blocks(path: Any, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    size = blocks(1, len(x), x[0].numel(), x.device.type)[1]
    found = []
    for start in range(0, len(x), size):
        given = None if context is None else context[start : start + size]
        z, log_volume = path.enter(x[start : start + size])
        signs = torch.randint_like(z, 2) * 2 - 1
        found.append([_along(each, z, signs, given) + log_volume for each in (path, path.coarser())])
    fine, coarse = (torch.cat(parts) for parts in zip(*found, strict=True))
    return fine.double(), coarse.double()


def _along(path: Any, z: Tensor, signs: Tensor, context: Tensor | None) -> Tensor:
    """log p(z), [N]: that of the noise the flow makes of it, and what its divergence adds up to."""
    positions, total = path.positions, 0.0
    for k in range(len(positions) - 1):
        length = positions[k + 1] - positions[k]
        here, spread = _velocity(path, z, k, signs, context)
        there, spread_there = _velocity(path, z + length * here, k + 1, signs, context)
        z, total = z + 0.5 * length * (here + there), total + 0.5 * length * (spread + spread_there)
    return path.leave(z) + total


def _velocity(path: Any, z: Tensor, k: int, signs: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The flow at level k, and Hutchinson's estimate of its divergence, [N]."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        flow = path.velocity(z, k, context)
        (slope,) = torch.autograd.grad(flow, z, signs)
    return flow.detach(), (slope * signs).flatten(1).sum(1)
