"""One step of a diffusion's bound, each row at a step of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from zoo.distributions import LOG_2PI, DiagonalNormal
from zoo.noising import NoiseLevels

if TYPE_CHECKING:
    from zoo.diffusion import Diffusion


@dataclass(frozen=True)
class NoisingStep:
    """What the network told of z_t = alpha_t x + sigma_t e, and what it costs.

    Parameters:
        model: the diffusion.
        x, clean: rows as they are given, and scaled, [N, *event_shape].
        t: the step of each row, [N], 1..T.
        noise, z: e and z_t.
        at: the levels of noise, [N, 1, ...].
        told: the network's output, [N, outputs, *event_shape].
    """

    model: Diffusion
    x: Tensor
    clean: Tensor
    t: Tensor
    noise: Tensor
    z: Tensor
    at: NoiseLevels
    told: Tensor

    @classmethod
    def of(
        cls,
        model: Diffusion,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        given: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Self:
        clean = model.scaled(x)
        noise = torch.randn_like(clean) if noise is None else noise
        at = model.noise_levels().at(t - 1, clean.dim() - 1)
        z = at.alpha * clean + at.sigma * noise
        return cls(model, x, clean, t, noise, z, at, model.told(z, at, context, given))

    @property
    def steps(self) -> int:
        return self.model.steps

    def error(self) -> Tensor:
        """The square error of the noise e, the mean over the row's numbers, [N]."""
        predicts = self.model.predicts
        error = (self.told[:, 0] - predicts.target(self.clean, self.noise, self.at)).square().flatten(1).mean(1)
        return predicts.noise_error(error.view(self.at.alpha.shape), self.at).flatten()

    def divergence(self) -> Tensor:
        """KL(q(z_(t-1) | z_t, x) || p(z_(t-1) | z_t)), [N] nats; at t = 1 what the network adds to -log p(x | z_1)."""
        return self._divergence(self.model.clean(self.told, self.z, self.at))

    def variance_divergence(self) -> Tensor:
        """The same, its gradient to the variances alone: the mean is taught by something else."""
        return self._divergence(self.model.clean(self.told, self.z, self.at).detach())

    def _divergence(self, guess: Tensor) -> Tensor:
        model, at = self.model, self.at
        log_variance = model.variance(at, self.told)
        ratio = at.log_small - log_variance
        gap = (at.pull * (self.clean - guess)).square() * (-log_variance).exp()
        kl = 0.5 * (gap + ratio.expm1() - ratio).flatten(1).sum(1)
        first = self.t == 1
        # rows at another step stand in with their own x, so that nothing of theirs overflows
        loc = torch.where(at.keep == 0, guess, self.clean)
        spread = (0.5 * log_variance).expand_as(loc)
        decoded = model.written(DiagonalNormal(loc, spread, loc.dim() - 1)).log_prob(self.x)
        return torch.where(first, -decoded - read_off(model, self.x, self.clean, self.noise), kl)


def read_off(model: Any, x: Tensor, clean: Tensor, noise: Tensor | None) -> Tensor:
    """-log p(x | z_1) were z_1 / alpha_1 all that is known, [N] nats; its mean, of real numbers and no noise given."""
    log_scale = 0.5 * model.noise_levels().log_large[0]
    if noise is None and model.levels is None:
        return (0.5 + 0.5 * LOG_2PI + log_scale) * clean[0].numel() + clean.new_zeros(len(clean))
    noise = torch.randn_like(clean) if noise is None else noise
    read = DiagonalNormal(clean + log_scale.exp() * noise, log_scale.expand_as(clean), clean.dim() - 1)
    return -model.written(read).log_prob(x)
