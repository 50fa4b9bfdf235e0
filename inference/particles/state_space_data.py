"""Data of a state-space model as a distribution in a Pyro program: drawn by simulation, scored by particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from inference.particles.task import Task, alike, moments
from inference.protocols import StateSpace, name_of

AT_ONCE = 2**20
"""Particles in memory."""


class StateSpaceData(TorchDistribution):
    """What is seen of a state at times, [T, *shape], one event.

        def outbreak(cases=None):
            beta = pyro.sample("beta", dist.LogNormal(0.0, 1.0))
            pyro.sample("cases", StateSpaceData(sir, {"beta": beta}, times=range(1, 15), begin=0), obs=cases)

    `log_prob` is the log of an unbiased estimate of the likelihood, nats, another one at each call and without a slope:
    `particle_mcmc` draws from the posterior all the same. Many values of the parameters are one batch under `vmap`.

    Parameters:
        states: has `draw_start`, `advance` and `log_observation`; to be drawn, `draw_observation`
            (`inference.protocols.StateSpace`).
        parameters: what it is given, {name: a number or [*shape]}.
        times, begin: as `particle_filter` has them.
        shape: of one observation.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        states: StateSpace,
        parameters: Mapping[str, Any],
        times: Any,
        *,
        begin: float | None = None,
        shape: Sequence[int] = (),
        particles: int = 1000,
    ) -> None:
        self.states, self.particles = states, particles
        self.names, self.values = tuple(parameters), tuple(alike(parameters).values())
        self.times, self.begin = moments(times, begin)
        super().__init__(torch.Size(), torch.Size([len(self.times), *shape]), validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def parameters(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.values, strict=True))

    def log_prob(self, value: Tensor) -> Tensor:
        """[] nats."""
        return _Scored.apply(self, value, *(given[None] for given in self.values))[0]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """[*sample_shape, T, *shape]."""
        shape = torch.Size(sample_shape)
        noise = torch.rand(())  # under vmap it differs from row to row, and so do draws of parameters that do not
        drawn = _Drawn.apply(self, shape.numel(), noise, *(given[None] for given in self.values))
        return drawn.reshape(*shape, *self.event_shape)

    def task(self, parameters: dict[str, Tensor], data: Tensor) -> Task:
        """The filter of parameters {name: [B, *shape]} and data [T, *shape]."""
        return Task.of(self.states, parameters, data, self.times, self.begin, self.particles)

    def scores(self, data: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Of parameters [B, *shape] each, [B] nats, so many at once as memory holds."""
        rows = max(1, AT_ONCE // self.particles)
        parts = zip(*(value.split(rows) for value in values), strict=True)
        return torch.cat([self.task(dict(zip(self.names, part, strict=True)), data).log_likelihood() for part in parts])

    def drawn(self, n: int, values: Sequence[Tensor]) -> Tensor:
        """n sets of data of each of B parameters, [B, n, T, *shape]."""
        parameters = dict(zip(self.names, values, strict=True))
        state = self.states.draw_start(parameters, n)
        return continued(self.states, parameters, state, self.begin, self.times)[1]


def continued(
    model: Any, parameters: Mapping[str, Tensor], state: Tensor, now: float, times: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """States [B, n, T, ...] at times from one [B, n, ...] on, and what is seen of them, [B, n, T, *shape]."""
    if not hasattr(model, "draw_observation"):
        raise TypeError(f"a {name_of(model)} has no draw_observation(parameters, state), and draws no data without")
    states, seen = [], []
    for t in times:
        state = model.advance(parameters, state, now, t) if t > now else state
        now = t
        states.append(state)
        seen.append(model.draw_observation(parameters, state))
    return torch.stack(states, 2), torch.stack(seen, 2)


class _Scored(torch.autograd.Function):
    """[B] nats of parameters [B, *shape] each. Under vmap, which knows no rule for some draws, all are one batch."""

    @staticmethod
    def forward(site: StateSpaceData, data: Tensor, *values: Tensor) -> Tensor:
        return site.scores(data, values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        raise ValueError(
            "a likelihood estimated by particles has no slope, which this asks for: use particle_mcmc, which does "
            "without"
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, site: StateSpaceData, data: Tensor, *values: Tensor) -> tuple[Tensor, int]:
        rows = _rows(info.batch_size, in_dims[2:], values)
        if in_dims[1] is None:
            found = _Scored.apply(site, data, *(value.flatten(0, 1) for value in rows))
            return found.unflatten(0, (info.batch_size, -1)), 0
        each = zip(data.movedim(in_dims[1], 0), *rows, strict=True)
        return torch.stack([_Scored.apply(site, own, *row) for own, *row in each]), 0


class _Drawn(torch.autograd.Function):
    """Data [B, n, T, *shape] of parameters [B, *shape] each; under vmap likewise."""

    @staticmethod
    def forward(site: StateSpaceData, n: int, noise: Tensor, *values: Tensor) -> Tensor:
        return site.drawn(n, values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return (None,) * len(ctx.needs_input_grad)

    @staticmethod
    def vmap(info: Any, in_dims: Any, site: StateSpaceData, n: int, noise: Tensor, *values: Tensor) -> Any:
        rows = _rows(info.batch_size, in_dims[3:], values)
        found = _Drawn.apply(site, n, noise.flatten()[0], *(value.flatten(0, 1) for value in rows))
        return found.unflatten(0, (info.batch_size, -1)), 0


def _rows(count: int, dims: Sequence[int | None], values: Sequence[Tensor]) -> list[Tensor]:
    """Values with vmap's axis in front."""
    pairs = zip(dims, values, strict=True)
    return [v.expand(count, *v.shape) if dim is None else v.movedim(dim, 0) for dim, v in pairs]
