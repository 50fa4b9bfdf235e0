"""The deterministic path from rows to noise along which they have the density of a diffusion's noisy rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.distributions import LOG_2PI
from zoo.noising import NoiseLevels

if TYPE_CHECKING:
    from zoo.diffusion import Diffusion


@dataclass(frozen=True)
class FlowPath:
    """dz/du = alpha (alpha z - x'(z)) along u = log(sigma / alpha), from z_1 to z_T, at levels k = 0, 1, ...

    x' is what the network takes z for, not kept within any range, so that the path is smooth.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456
    """

    model: Diffusion
    levels: NoiseLevels

    @classmethod
    def of(cls, model: Diffusion, steps: int) -> FlowPath:
        """At most so many steps, as even in u as the model's own levels allow."""
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        at = -model.noise_levels().log_snr.detach().double()
        even = torch.linspace(0, 1, steps + 1, dtype=at.dtype, device=at.device) * (at[-1] - at[0]) + at[0]
        after = torch.searchsorted(at, even).clamp(1, max(1, len(at) - 1))
        nearer = after - (even - at[after - 1] < at[after.clamp(max=len(at) - 1)] - even).long()
        return cls(model, model.noise_levels(nearer.clamp(max=len(at) - 1).unique() + 1))

    def coarser(self) -> FlowPath:
        """Half as many steps between the same ends."""
        last = len(self.positions) - 1
        kept = [*range(0, last, 2), last]
        return FlowPath(self.model, type(self.levels)(*(values[kept] for values in self.levels)))

    @property
    def positions(self) -> Tensor:
        """u at each level, [K]."""
        return -0.5 * self.levels.log_snr

    def velocity(self, z: Tensor, k: int, context: Tensor | None = None) -> Tensor:
        at = self.levels.one(k)
        guess = self.model.predicts.clean(self.model.told(z, at, context)[:, 0], z, at)
        return at.alpha * (at.alpha * z - guess)

    def enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_1 = alpha_1 x, and the log volume [N] by which the densities differ; codes are drawn within their level."""
        alpha, numbers = self.levels.alpha[0], self.model.features
        clean, log_volume = self.model.scaled(x), alpha.log() * numbers
        if self.model.levels is not None:
            gap = 2 / (self.model.levels - 1)
            clean = clean + (torch.rand_like(clean) - 0.5) * gap
            log_volume = log_volume + alpha.new_tensor(gap).log() * numbers
        return alpha * clean, log_volume.expand(len(x))

    def leave(self, z: Tensor) -> Tensor:
        """log p(z_T), [N] nats."""
        return z.square().flatten(1).sum(1) * -0.5 - 0.5 * LOG_2PI * self.model.features
