"""Generative moment matching network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Implicit, Shape
from zoo.coding import built
from zoo.gan_networks import GeneratorNetwork, Part, as_generator


class GMMN(Implicit):
    """Generative moment matching network: x = g(z, context), z ~ N(0, I), held to the data by moments, not by a critic.

    Shapes: z is [N, latent], x is [N, *event_shape], context [N, *context_shape]. There is no likelihood.

    Parameters:
        latent: how many numbers z has.
        hidden: widths of the default generator.
        bounds: (low, high) between which every number of x lies, kept by a sigmoid; real numbers unless told.
        generator: a module (noise[, context]) -> x before the bounds, or what builds one from
            (event_shape, context_shape=..., latent=...), or a table such as {"kind": "dcgan"}; a perceptron
            unless told.

    Reproducible: digits scaled to [0, 1], `GMMN(64, bounds=(0, 1))` and `inference.fit` with steps=3060,
    batch_size=256, lr=6e-3, schedule=cosine(3060, warmup=50), average=0.99 and seed 0: on the 450 held-out rows a
    Frechet distance of 3.2 and coverage 0.95 in the 32 features of a classifier, precision 0.81, recall 0.97, in 16
    CPU seconds. The rate is, of 0.001, 0.003 and 0.006, the one that covered most of 450 validation rows (0.75, 0.86
    and 0.92); bandwidths from half to 1.4 times the median distance hardly differ.

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
        generator: Part | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low below high, not {bounds}")
        self.latent, self.bounds = latent, bounds
        if bounds is not None:
            self.support = constraints.interval(*bounds)
        writer = partial(GeneratorNetwork, hidden=hidden) if generator is None else as_generator(generator)
        shapes: dict[str, Any] = {"context_shape": self.context_shape, "latent": latent}
        self.generator = built(writer, "generator", self.event_shape, **shapes)
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """A generator with virtual batch norm takes its reference batch, once, of the first rows."""
        refer: Any = getattr(self.generator, "refer", None)
        if refer is not None:
            refer(x, context)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent, device=self.like.device, dtype=self.like.dtype)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.generator(noise) if context is None else self.generator(noise, context)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * x.sigmoid()
