"""One step of a diffusion's bound, each row at a step of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from zoo.discretised import DiscretisedNormal, scaled
from zoo.distributions import LOG_2PI, DiagonalNormal
from zoo.noising import NoiseLevels

if TYPE_CHECKING:
    from zoo.diffusion import Diffusion


@dataclass(frozen=True)
class NoisingStep:
    """What the network told of z_t = alpha_t x + sigma_t e, and what it costs.

    Parameters:
        model: the diffusion.
        levels: the levels of its chain, [T].
        x, clean: rows as they are given, and scaled, [N, *event_shape].
        t: the step of each row, [N], 1..T.
        noise, z: e and z_t.
        at: the levels of each row's step, [N, 1, ...].
        told: the network's output, [N, outputs, *event_shape].
    """

    model: Diffusion
    levels: NoiseLevels
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
        clean, levels = model.scaled(x), model.noise_levels()
        noise = torch.randn_like(clean) if noise is None else noise
        at = levels.at(t - 1, clean.dim() - 1)
        z = at.alpha * clean + at.sigma * noise
        return cls(model, levels, x, clean, t, noise, z, at, model.told(z, at, context, given))

    @property
    def steps(self) -> int:
        return self.model.steps

    def error(self) -> Tensor:
        """The square error of the noise e, the mean over the row's numbers, [N]."""
        predicts = self.model.predicts
        error = (self.told[:, 0] - predicts.target(self.clean, self.noise, self.at)).square().flatten(1).mean(1)
        return predicts.noise_error(error.view(self.at.alpha.shape), self.at).flatten()

    def divergence(self) -> Tensor:
        """KL(q(z_(t-1) | z_t, x) || p(z_(t-1) | z_t)), [N] nats; at t = 1 what -log p(x | z_1) is above `read_off`."""
        return self._divergence(self.model.clean(self.told, self.z, self.at))

    def variance_divergence(self) -> Tensor:
        """The same, its gradient to the variances alone: the mean is taught by something else."""
        return self._divergence(self.model.clean(self.told, self.z, self.at).detach())

    def settled(self) -> Tensor:
        """What of -ELBO needs no network, [N] nats: KL(q(z_T | x) || p(z_T)), and `read_off`."""
        return settled(self.model, self.clean, self.levels)

    def _divergence(self, guess: Tensor) -> Tensor:
        at = self.at
        log_variance = self.model.variance(at, self.told)
        ratio = at.log_small - log_variance
        gap = (at.pull * (self.clean - guess)).square() * (-log_variance).exp()
        kl = 0.5 * (gap + ratio.expm1() - ratio).flatten(1).sum(1)
        first = (self.t == 1).nonzero()[:, 0]
        return kl.index_copy(0, first, self._first(guess, log_variance, first)) if len(first) else kl

    def _first(self, guess: Tensor, log_variance: Tensor, rows: Tensor) -> Tensor:
        """What those rows, at t = 1, add to `read_off`."""
        guess = guess.index_select(0, rows)
        spread = (0.5 * log_variance.index_select(0, rows)).expand_as(guess)
        decoded = self.model.written(DiagonalNormal(guess, spread, guess.dim() - 1)).log_prob(self.x[rows])
        return -decoded - read_off(self.model, self.clean[rows], self.levels)


def settled(model: Diffusion, clean: Tensor, levels: NoiseLevels) -> Tensor:
    """KL(q(z_T | x) || p(z_T)) and `read_off`, [N] nats, of scaled rows."""
    alpha, sigma = levels.alpha[-1], levels.sigma[-1]
    gap = (alpha * clean).square() - alpha.square() - 2 * sigma.log()
    return 0.5 * gap.flatten(1).sum(1) + read_off(model, clean, levels)


def read_off(model: Diffusion, clean: Tensor, levels: NoiseLevels) -> Tensor:
    """E[-log N(x; z_1 / alpha_1, sigma_1^2 / alpha_1^2)] over q(z_1 | x), [N] nats: the decoder without a network.

    Of codes, the normal is cut into levels, and the mean is by the trapezoid rule, which is exact to rounding here.
    """
    log_scale = 0.5 * levels.log_large[0]
    if model.levels is None:
        return (0.5 + 0.5 * LOG_2PI + log_scale) * clean.shape[1:].numel() + clean.new_zeros(len(clean))
    nodes = torch.linspace(-8, 8, 129, dtype=torch.float64, device=clean.device).view(-1, 1, 1)
    codes = torch.tensor([[0], [1 if model.levels > 2 else 0]], device=clean.device).expand(len(nodes), 2, 1)
    loc = scaled(codes, model.levels, nodes.dtype) + log_scale.double().exp() * nodes
    masses = DiscretisedNormal(loc, log_scale.double().expand_as(loc), model.levels).log_prob(codes)
    end, inner = -(torch.softmax(-0.5 * nodes[..., 0].square(), 0) * masses).sum(0).to(clean.dtype)
    ends = (clean.abs() > 1 - 1 / (model.levels - 1)).flatten(1).sum(1)
    return ends * end + (clean.shape[1:].numel() - ends) * inner
