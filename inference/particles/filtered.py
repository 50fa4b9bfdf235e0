"""What particles say of a state that is not seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inference.seeding import seeded


@dataclass(frozen=True, eq=False, repr=False)
class Filtered:
    """Particles at T times for B values of the parameters, n of each.

    Attributes:
        times: [T].
        terms: log p(y_t | the observations before), estimated, [B, T] nats; 0 where y_t is missing.
        states: [B, T, n, ...].
        log_weights: of each given the data up to its time, [B, T, n]; they sum to one.
        ancestors: [B, T, n], which particle at the time before each comes from.
    """

    times: Tensor
    terms: Tensor
    states: Tensor
    log_weights: Tensor
    ancestors: Tensor

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(data | parameters), estimated, [B] nats: unbiased before the log. -inf where all particles failed."""
        return self.terms.sum(1)

    @cached_property
    def ess(self) -> Tensor:
        """What the weights are worth at each time, in particles, [B, T]; none from where all failed."""
        return torch.where(self._alive, 1 / self.log_weights.exp().square().sum(-1), 0.0)

    @cached_property
    def lost(self) -> Tensor:
        """The time [B] at which no particle could have made the observation; NaN where there is none."""
        failed = self.terms == -math.inf
        return torch.where(failed.any(1), self.times.to(failed.device)[failed.to(torch.uint8).argmax(1)], math.nan)

    @property
    def _alive(self) -> Tensor:
        return (self.terms != -math.inf).cummin(1).values

    def mean(self, of: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """E[state_t | data up to t], [B, T, ...], or of a function of states; NaN from where all particles failed."""
        return _where(self._alive, _weighed(self.states if of is None else of(self.states), self.log_weights.exp()))

    def smoothed(self, of: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """E[state_t | all data], [B, T, ...]: of the last particles' ancestors, of whom few are left long before."""
        weights = self.log_weights[:, -1].exp()
        shares = [weights]
        for t in range(self.states.shape[1] - 1, 0, -1):
            shares.append(torch.zeros_like(weights).scatter_add_(1, self.ancestors[:, t], shares[-1]))
        mean = _weighed(self.states if of is None else of(self.states), torch.stack(shares[::-1], 1))
        return _where(self.log_likelihood != -math.inf, mean)

    def draws(self, n: int, seed: int = 0) -> Tensor:
        """States given the data up to their time, [B, n, T, ...]: each time by itself; NaN from where all failed."""
        with seeded(seed, self.states.device):
            index = self.log_weights.exp().flatten(0, 1).multinomial(n, replacement=True)
        index = index.unflatten(0, self.terms.shape)
        return _where(self._alive, self._at(index)).transpose(1, 2)

    def paths(self, n: int, seed: int = 0) -> Tensor:
        """Courses of the state given all data, [B, n, T, ...]: last particles by their weight, with their ancestors.

        NaN of parameter values for which all particles failed.
        """
        with seeded(seed, self.states.device):
            index = self.log_weights[:, -1].exp().multinomial(n, replacement=True)
        found = [index]
        for t in range(self.states.shape[1] - 1, 0, -1):
            found.append(self.ancestors[:, t].gather(1, found[-1]))
        return _where(self.log_likelihood != -math.inf, self._at(torch.stack(found[::-1], 1))).transpose(1, 2)

    def _at(self, index: Tensor) -> Tensor:
        """The particles of these numbers [B, T, m]."""
        rows, times, n = self.states.shape[:3]
        first = n * torch.arange(rows * times, device=index.device).reshape(rows, times, 1)
        return self.states.flatten(0, 2)[index + first]

    def __repr__(self) -> str:
        rows, times, n = self.states.shape[:3]
        ends = sorted({f"{end:.2f}" for end in (self.log_likelihood.min(), self.log_likelihood.max())}, key=float)
        return (
            f"{n} particles at {times} times for {rows} parameter value{'s' if rows > 1 else ''}: log likelihood "
            f"{' to '.join(ends)} nats, at least {float(self.ess.min()):.0f} effective particles"
        )


def _weighed(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of [B, T, n, ...] by weights [B, T, n]."""
    return (values * _wide(weights, values)).sum(2)


def _where(known: Tensor, values: Tensor) -> Tensor:
    """Values, NaN in the rows (and times) that are not known."""
    return torch.where(_wide(known, values), values, math.nan)


def _wide(given: Tensor, like: Tensor) -> Tensor:
    return given.reshape(*given.shape, *[1] * (like.dim() - given.dim()))
