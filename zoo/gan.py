"""Generative adversarial network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Implicit, Shape
from zoo.coding import built
from zoo.critics import CriticNetwork
from zoo.gan_networks import GeneratorNetwork, Part, as_critic, as_generator


class GAN(Implicit):
    """Generative adversarial network: x = g(z, context), z ~ N(0, I), trained against a critic.

    Shapes: z is [N, latent], x is [N, *event_shape], context [N, *context_shape]. There is no likelihood.
    `critic(x, context)` gives logits [N] of "x is real".

    Parameters:
        latent: how many numbers z has.
        hidden: widths of the default networks, the generator's and the critic's.
        gain: the steepest that the default critic's logit may be, per unit of x.
        bounds: (low, high) between which every number of x lies, kept by a sigmoid; real numbers unless told.
        generator: a module (noise[, context]) -> x before the bounds, what builds one from (event_shape,
            context_shape=..., latent=...), or a table {"kind": "mlp", "dcgan" or "residual", ...} with the parameters
            of a class of `zoo.gan_networks` or `zoo.image_generators`, or its kind; a perceptron unless told.
        critic: a module (x[, context]) -> logits, what builds one from (event_shape, context_shape=...), or a table
            of the same kinds, for a class of `zoo.critics` or `zoo.image_critics`; a perceptron with spectral
            normalisation unless told. One that looks at the rows of a call together says so by `compares_rows`.

    Reproducible: digits scaled to [-1, 1], `GAN(64, latent=32, bounds=(-1, 1), critic={"kind": "mlp", "norm": "none",
    "gain": 1.0})`, `Wasserstein(generator_every=5, penalty=GradientPenalty())`, steps=3140, batch_size=65, lr=2e-3,
    Adam of betas (0, 0.9) and average=0.998: on the 450 held-out rows a Frechet distance of 3.1, coverage 0.93, recall
    0.95 and precision 0.85 in 22 CPU seconds, the mean of three seeds (`benchmarks.implicit_tasks.digits`).

    Reproducible: the digits as images, `GAN((1, 8, 8), bounds=(0, 1), generator="dcgan", critic={"kind": "dcgan",
    "norm": "none", "gain": 1.0})`, `NonSaturating(penalty=R1(1.0))`, steps=1600, batch_size=64, both rates 1e-3, Adam
    of betas (0.5, 0.99), average=0.99 and seed 0: on the 450 held-out rows a Frechet distance of 4.9, coverage 0.87,
    recall 0.99 and precision 0.75 in 35 CPU seconds.
    Chosen of seven settings of convolutions on 270 validation rows, where hinge loss and residual blocks did worse.
    The same told of classes, `context_shape=()` and "conditioner": {"kind": "classes", "levels": 10} in both tables,
    steps=1200: 3.0, 0.97, 0.80 and 0.97 in 27 seconds; a classifier of pixels takes 0.98 of what is made for the class
    that was asked for, as of held-out rows.

    References:
        Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
        Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018),
        https://arxiv.org/abs/1802.05957
    """

    capabilities = Implicit.capabilities | {"critic"}

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        gain: float = 12.0,
        bounds: tuple[float, float] | None = None,
        generator: Part | None = None,
        critic: Part | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        if not gain > 0:
            raise ValueError(f"gain must be above 0, not {gain}")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low below high, not {bounds}")
        self.latent, self.bounds = latent, bounds
        if bounds is not None:
            self.support = constraints.interval(*bounds)
        shapes: dict[str, Any] = {"context_shape": self.context_shape}
        writer = partial(GeneratorNetwork, hidden=hidden) if generator is None else as_generator(generator)
        self.generator = built(writer, "generator", self.event_shape, latent=latent, **shapes)
        judge = partial(CriticNetwork, hidden=hidden, gain=gain) if critic is None else as_critic(critic)
        self.critic = built(judge, "critic", self.event_shape, **shapes)
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Networks with virtual batch norm take their reference batch, once, of the first rows."""
        for part in (self.generator, self.critic):
            refer: Any = getattr(part, "refer", None)
            if refer is not None:
                refer(x, context)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent, device=self.like.device, dtype=self.like.dtype)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bounded(self.generator(noise) if context is None else self.generator(noise, context))

    def bounded(self, x: Tensor) -> Tensor:
        """Real numbers moved between the bounds, where there are any."""
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * x.sigmoid()
