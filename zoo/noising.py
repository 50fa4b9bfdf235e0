"""The two chains of a diffusion: the fixed one that adds noise to a row, and the learned one that takes it away."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.distributions import LOG_2PI, DiagonalNormal, RowDistribution


class NoiseLevels(NamedTuple):
    """The numbers of a chain z_1, ..., z_K at increasing times, each [K], or [N, 1, ...] of each row's own step.

    q(z_k | z_(k-1)) = N(shrink z_(k-1), spread^2) and q(z_(k-1) | z_k, x) = N(keep z_k + pull x, exp(log_small));
    log_large is the other end that the variance of p(z_(k-1) | z_k) may reach, that of a row of which nothing is known.
    At the first step z_0 is x: keep is 0, pull is 1, log_large is the variance of z_1 / alpha_1 around x, and log_small
    that of z_1 / alpha_1 given x and z_2.
    """

    time: Tensor
    log_snr: Tensor
    alpha: Tensor
    sigma: Tensor
    shrink: Tensor
    spread: Tensor
    keep: Tensor
    pull: Tensor
    log_small: Tensor
    log_large: Tensor

    @classmethod
    def of(cls, time: Tensor, log_snr: Tensor) -> Self:
        """The levels at these times, [K] float64, in float64."""
        before = F.pad(log_snr[:-1], (1, 0), value=math.inf)
        new = -torch.expm1(log_snr - before)  # the share of the noise at k that was not yet there at k - 1
        log_alpha, log_sigma = 0.5 * F.logsigmoid(log_snr), 0.5 * F.logsigmoid(-log_snr)
        log_shrink = log_alpha - F.pad(log_alpha[:-1], (1, 0))
        log_spread = log_sigma + 0.5 * new.log()
        pull = F.pad(log_alpha[:-1], (1, 0)).exp() * new
        keep = (log_snr - before - log_shrink).exp()
        small = 2 * log_sigma[:-1] + new[1:].log()
        first = small[:1] - 2 * log_alpha[:1] if len(small) else -log_snr
        large = torch.cat([-log_snr[:1], 2 * log_spread[1:]])
        return cls(
            time, log_snr, log_alpha.exp(), log_sigma.exp(), log_shrink.exp(), log_spread.exp(), keep, pull,
            torch.cat([first, small]), large,
        )  # fmt: skip

    def to(self, like: Tensor) -> Self:
        return type(self)(*(values.to(like) for values in self))

    def at(self, index: Tensor, dims: int) -> Self:
        """The levels of the steps [N], each [N, 1, ...] to broadcast over rows of so many axes."""
        picked = torch.stack(self).index_select(1, index)
        return type(self)(*picked.view(len(self), -1, *[1] * dims).unbind())

    def one(self, k: int) -> Self:
        """The levels of one step, each a number."""
        return type(self)(*(values[k] for values in self))


def posterior_variance(at: NoiseLevels, told: Tensor) -> Tensor:
    """That of q(z_(k-1) | z_k, x), right where x is told exactly; the logarithm, to broadcast over the rows."""
    return at.log_small


def noise_variance(at: NoiseLevels, told: Tensor) -> Tensor:
    """What the step from k - 1 to k added, right where nothing of x is told."""
    return at.log_large


def learned_variance(at: NoiseLevels, told: Tensor) -> Tensor:
    """Between the two as the network's second output says, -1 the smaller and 1 the larger."""
    return torch.lerp(at.log_small, at.log_large, 0.5 * told[:, 1] + 0.5)


class NoisingChain(RowDistribution):
    """q(z_1, ..., z_T | x) of rows x [N, *event]: batch [N], event [T, *event]."""

    has_rsample = True

    def __init__(self, x: Tensor, levels: NoiseLevels) -> None:
        self.x, self.levels = x, levels
        super().__init__(x.shape[:1], levels.time.shape + x.shape[1:])

    def _along(self, values: Tensor) -> Tensor:
        """Values of the steps, to broadcast over z."""
        return values.view(-1, *[1] * (len(self.event_shape) - 1))

    @property
    def mean(self) -> Tensor:
        return self.x.unsqueeze(1) * self._along(self.levels.alpha)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Draws of the chain and their log density, which comes with the noise they are made of."""
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.x.dtype, device=self.x.device)
        alpha = self._along(self.levels.alpha)
        steps = noise * (self._along(self.levels.spread) / alpha)
        z = alpha * (self.x.unsqueeze(1) + steps.cumsum(-len(self.event_shape)))
        return z, self._density(noise)

    def log_prob(self, value: Tensor) -> Tensor:
        axis = value.dim() - len(self.event_shape)
        first = self.x.expand(*value.shape[:axis], *self.event_shape[1:]).unsqueeze(axis)
        before = torch.cat([first, value.narrow(axis, 0, value.shape[axis] - 1)], axis)
        return self._density((value - self._along(self.levels.shrink) * before) / self._along(self.levels.spread))

    def _density(self, noise: Tensor) -> Tensor:
        numbers = self.event_shape[1:].numel()
        constant = self.levels.spread.log().sum() * numbers + 0.5 * LOG_2PI * self.event_shape.numel()
        return noise.square().sum(self._axes) * -0.5 - constant


class ReverseChain(RowDistribution):
    """p(z_T) p(z_(T-1) | z_T) ... p(z_1 | z_2), p(z_T) standard normal; event [T, *event].

    Parameters:
        step: (z [M, *event], which steps k [M], context [M, ...] or None) -> p(z_(k-1) | z_k), batch [M].
        context: [N, ...], or None for batch [].
        like: a tensor whose device and dtype draws have.
        at_once: how many rows `step` is given at once.
    """

    def __init__(
        self,
        step: Callable[[Tensor, Tensor, Tensor | None], DiagonalNormal],
        event_shape: torch.Size,
        context: Tensor | None,
        like: Tensor,
        at_once: int,
    ) -> None:
        self._step, self._context, self._like, self._at_once = step, context, like, at_once
        super().__init__(torch.Size() if context is None else context.shape[:1], event_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        batch, steps, event = torch.Size(sample_shape) + self.batch_shape, self.event_shape[0], self.event_shape[1:]
        like, context = self._like, self._rows_of_context(batch)
        chain = torch.empty(batch.numel(), *self.event_shape, dtype=like.dtype, device=like.device)
        z = chain[:, -1] = torch.randn(batch.numel(), *event, dtype=like.dtype, device=like.device)
        with torch.no_grad():
            for k in range(steps - 1, 0, -1):
                z = self._step(z, torch.full((len(z),), k, device=like.device), context).sample()
                chain[:, k - 1] = z
        return chain.view(*batch, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """All steps at once."""
        steps, event = self.event_shape[0], self.event_shape[1:]
        batch = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        chains = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        total = chains[:, -1].square().flatten(1).sum(1) * -0.5 - 0.5 * LOG_2PI * event.numel()
        if steps > 1 and len(chains):
            total = total + self._transitions(chains, self._rows_of_context(batch))
        return total.view(batch)

    def _transitions(self, chains: Tensor, context: Tensor | None) -> Tensor:
        rows, steps = chains.shape[:2]
        index = torch.arange(1, steps, device=chains.device).expand(rows, -1).reshape(-1)
        before, after = chains[:, :-1].flatten(0, 1), chains[:, 1:].flatten(0, 1)
        given = None if context is None else context.repeat_interleave(steps - 1, 0)
        parts = []
        for block in torch.arange(len(index), device=chains.device).split(self._at_once):
            told = None if given is None else given[block]
            parts.append(self._step(after[block], index[block], told).log_prob(before[block]))
        return torch.cat(parts).view(rows, steps - 1).sum(1)

    def _rows_of_context(self, batch: torch.Size) -> Tensor | None:
        context = self._context
        return None if context is None else context.expand(*batch, *context.shape[1:]).flatten(0, len(batch) - 1)
