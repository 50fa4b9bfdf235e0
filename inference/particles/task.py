"""A particle filter, observation by observation.

A particle is one course of the state. Each moves as the model says and is weighed by how likely it makes the next
observation; those of little weight give way to copies of those of much. The mean weight estimates the likelihood.

References:
    Novel Approach to Nonlinear/Non-Gaussian Bayesian State Estimation (Gordon, Salmond and Smith, 1993),
    https://doi.org/10.1049/ip-f-2.1993.0015
    Feynman-Kac Formulae (Del Moral, 2004), https://doi.org/10.1007/978-1-4684-9393-6: the estimate is unbiased
    On Adaptive Resampling Strategies for Sequential Monte Carlo Methods (Del Moral, Doucet and Jasra, 2012),
    https://doi.org/10.3150/10-BEJ335
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.particles.filtered import Filtered
from inference.protocols import StateSpace, lacks, name_of
from inference.resampling import systematic

SHARE = 0.5
"""What the weights are worth, of the particles, below which they are drawn anew."""


@dataclass(frozen=True)
class Step:
    """Particles after an observation: states [B, n, ...], log weights [B, n] that sum to one, their ancestors [B, n]
    among those at the time before, and the log of the estimate of p(y_t | those before), [B].
    """

    state: Tensor
    log_weights: Tensor
    ancestors: Tensor
    term: Tensor


@dataclass(frozen=True)
class Task:
    """What a filter is asked, checked: `times` are those of `data`, `begin` that of the start."""

    model: StateSpace
    parameters: dict[str, Tensor]
    data: Tensor
    times: Sequence[float]
    begin: float
    particles: int

    @classmethod
    def of(
        cls, model: Any, parameters: dict[str, Tensor], data: Any, times: Any, begin: float | None, particles: int
    ) -> Task:
        if missing := lacks(model, StateSpace):
            raise TypeError(f"a {name_of(model)} is no state-space model: it has no {', '.join(missing)}")
        if particles < 2:
            raise ValueError(f"particles is {particles}, and must be 2 or more")
        first = next(iter(parameters.values()), torch.zeros(1, dtype=torch.float64))
        seen = torch.as_tensor(data).to(first.device, first.dtype)
        marks, start = moments(times, begin)
        if seen.dim() < 1 or len(marks) != len(seen):
            raise ValueError(f"the {len(marks)} times are not those of data {list(seen.shape)}, one observation a row")
        return cls(model, parameters, seen, marks, start, particles)

    @property
    def device(self) -> torch.device:
        return self.data.device

    def log_likelihood(self) -> Tensor:
        """[B] nats, by torch's generator: nothing is kept on the way."""
        total: Any = 0.0
        for step in self.run():
            total = total + step.term
        return total

    def filtered(self) -> Filtered:
        """All particles at all times, by torch's generator."""
        found = list(self.run())
        return Filtered(
            torch.as_tensor(self.times, dtype=torch.float64),
            torch.stack([step.term for step in found], 1),
            torch.stack([step.state for step in found], 1),
            torch.stack([step.log_weights for step in found], 1),
            torch.stack([step.ancestors for step in found], 1),
        )

    def run(self) -> Iterator[Step]:
        """Observation by observation, by torch's generator."""
        state, now = self.model.draw_start(self.parameters, self.particles), self.begin
        rows, n = state.shape[:2]
        equal = torch.full((rows, n), -math.log(n), dtype=self.data.dtype, device=state.device)
        log_weights, itself = equal, torch.arange(n, device=state.device).expand(rows, n)
        for t, y in zip(self.times, self.data, strict=True):
            ancestors = itself
            if t > now:
                ancestors, log_weights = chosen(log_weights, itself, equal)
                state = self.model.advance(self.parameters, taken(state, ancestors), now, t)
                now = t
            term = equal.new_zeros(rows)
            if not y.isnan().all():
                joint = log_weights + self._log_observation(state, y)
                term = joint.logsumexp(1)
                log_weights = torch.where((term == -math.inf)[:, None], equal, joint - term[:, None])
            yield Step(state, log_weights, ancestors, term)

    def _log_observation(self, state: Tensor, y: Tensor) -> Tensor:
        found = self.model.log_observation(self.parameters, state, y)
        if found.shape != state.shape[:2]:
            raise ValueError(
                f"{name_of(self.model)}: log_observation gives {list(found.shape)}, not {list(state.shape[:2])}, one "
                "number for each batch row and particle"
            )
        return found


def chosen(log_weights: Tensor, itself: Tensor, equal: Tensor) -> tuple[Tensor, Tensor]:
    """Whom each particle goes on from [B, n], and with which log weight: itself in rows whose weights are even enough.

    The choice to draw anew depends on the weights alone, which leaves the likelihood unbiased.
    """
    weights = log_weights.exp()
    scarce = 1 / weights.square().sum(1, keepdim=True) < SHARE * weights.shape[1]
    if not scarce.any():
        return itself, log_weights
    drawn = systematic(weights, torch.rand_like(weights[:, :1]))
    return torch.where(scarce, drawn, itself), torch.where(scarce, equal, log_weights)


def taken(state: Tensor, index: Tensor) -> Tensor:
    """The particles [B, n, ...] of these numbers [B, m]."""
    rows, n = state.shape[:2]
    flat = index + n * torch.arange(rows, device=index.device)[:, None]
    return state.flatten(0, 1)[flat]


def alike(parameters: Mapping[str, Any]) -> dict[str, Tensor]:
    """All in the widest precision that one of them is given in; double where all are plain numbers."""
    tensors = [value for value in parameters.values() if isinstance(value, Tensor) and value.is_floating_point()]
    dtype = functools.reduce(torch.promote_types, (value.dtype for value in tensors)) if tensors else torch.float64
    return {name: torch.as_tensor(value, dtype=dtype) for name, value in parameters.items()}


def moments(times: Any, begin: float | None) -> tuple[list[float], float]:
    """Times as numbers that grow, and that of the start."""
    marks = torch.as_tensor(times, dtype=torch.float64)
    if marks.dim() != 1 or not len(marks) or not marks.isfinite().all() or not (marks.diff() > 0).all():
        raise ValueError(f"times must be finite and grow, not {marks.flatten()[:8].tolist()}")
    start = float(marks[0]) if begin is None else float(begin)
    if not start <= marks[0]:
        raise ValueError(f"the start, at {start:g}, must not be after the first time, {float(marks[0]):g}")
    return marks.tolist(), start
