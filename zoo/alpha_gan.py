"""alpha-GAN."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.base import Shape
from zoo.coding import CodeNetwork, Network, built
from zoo.critics import CriticNetwork
from zoo.gan import GAN
from zoo.gan_networks import Part


class AlphaGAN(GAN):
    """alpha-GAN: x = g(z, context), z ~ N(0, I), of a GAN, with an encoder z = f(x) and a critic of codes.

    The generator is to rebuild each row from its code as well as to be taken for real, so that no mode of the data may
    be left out; the codes are to be taken for draws of N(0, I), so that draws decode as codes do. Likelihood and
    posterior are both implicit, a critic standing for the density ratio of either: there is no likelihood.
    `critic(x[, context])` gives logits [N] of "x is real", `code_critic(z[, context])` of "z is a draw of N(0, I)".

    Shapes: z is [N, latent], x is [N, *event_shape], context [N, *context_shape].

    Parameters:
        encoder: a module (x[, context]) -> [N, latent], or what builds one from (event_shape, context_shape=...,
            latent=...); a perceptron unless told.
        code_gain: the steepest that the default code critic's logit may be, per unit of z.
        code_critic: a module (z[, context]) -> logits, or what builds one from (event_shape, context_shape=...);
            a perceptron with spectral normalisation unless told.
        latent, hidden, gain, bounds, generator, critic: as `zoo.gan.GAN` says.

    Reproducible: digits scaled to [0, 1], `AlphaGAN(64, bounds=(0, 1))` and `inference.fit` with steps=2800,
    batch_size=64, lr={"encoder": 1e-3, "generator": 5e-4, "critic": 2e-3, "code_critic": 1e-3}, Adam of betas (0, 0.9)
    and seed 0: on the 450 held-out rows a Frechet distance of 2.9 and coverage 0.87 in the 32 features of a classifier,
    recall 0.96 and precision 0.78, in 55 CPU seconds; `GAN` with its own settings 7.1, 0.86, 0.80 and 0.84, in 22. The
    objective's weight is of 0.3, 1, 3 and 10 the one that covered most of 270 validation rows.

    References:
        Variational Approaches for Auto-Encoding Generative Adversarial Networks (Rosca et al., 2017),
        https://arxiv.org/abs/1706.04987
    """

    capabilities = GAN.capabilities | {"encode", "reconstruct"}

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        gain: float = 12.0,
        code_gain: float = 10.0,
        bounds: tuple[float, float] | None = None,
        generator: Part | None = None,
        critic: Part | None = None,
        encoder: Network | None = None,
        code_critic: Network | None = None,
    ) -> None:
        super().__init__(
            event_shape,
            context_shape=context_shape,
            latent=latent,
            hidden=hidden,
            gain=gain,
            bounds=bounds,
            generator=generator,
            critic=critic,
        )
        if not code_gain > 0:
            raise ValueError(f"code_gain must be above 0, not {code_gain}")
        shapes: dict[str, Any] = {"context_shape": self.context_shape}
        reader = partial(CodeNetwork, hidden=hidden)
        self.encoder_model = built(encoder or reader, "encoder", self.event_shape, latent=latent, **shapes)
        judge = partial(CriticNetwork, hidden=hidden, gain=code_gain)
        self.code_critic = built(code_critic or judge, "code_critic", torch.Size([latent]), **shapes)

    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """z = f(x), [N, latent]."""
        return self.encoder_model(x) if context is None else self.encoder_model(x, context)

    @torch.no_grad()
    def encode(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """The code of each row, [N, latent]."""
        self.check(x, context)
        return self.code(x, context)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """What the generator makes of each row's code."""
        self.check(x, context)
        return self.generate(self.code(x, context), context)
