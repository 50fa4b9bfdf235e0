"""Generative moment matching network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Implicit, Shape
from zoo.coding import Network, built
from zoo.gan import GeneratorNetwork


class GMMN(Implicit):
    """Generative moment matching network: x = g(z, context), z ~ N(0, I), held to the data by moments, not by a critic.

    Shapes: z is [N, latent], x is [N, *event_shape], context [N, *context_shape]. There is no likelihood.

    Parameters:
        latent: how many numbers z has.
        hidden: widths of the default generator.
        bounds: (low, high) between which every number of x lies, kept by a sigmoid; real numbers unless told.
        generator: a module (noise[, context]) -> x before the bounds, or what builds one from
            (event_shape, context_shape=..., latent=...); a perceptron unless told.

    References:
        Generative Moment Matching Networks (Li, Swersky and Zemel, 2015), https://arxiv.org/abs/1502.02761
        Training generative neural networks via Maximum Mean Discrepancy optimization (Dziugaite et al., 2015),
        https://arxiv.org/abs/1505.03906
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        bounds: tuple[float, float] | None = None,
        generator: Network | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low below high, not {bounds}")
        self.latent, self.bounds = latent, bounds
        if bounds is not None:
            self.support = constraints.interval(*bounds)
        self.generator = built(
            generator or partial(GeneratorNetwork, hidden=hidden),
            "generator",
            self.event_shape,
            context_shape=self.context_shape,
            latent=latent,
        )
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent, device=self.like.device, dtype=self.like.dtype)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.generator(noise) if context is None else self.generator(noise, context)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * x.sigmoid()
