"""Generative adversarial network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.utils.parametrizations import spectral_norm

from zoo.base import Implicit, Shape
from zoo.networks import joined, mlp

Part = nn.Module | Callable[..., nn.Module]
"""What a part of a GAN takes: a built module, or what builds one."""


class GeneratorNetwork(nn.Module):
    """(noise [N, latent], context) -> [N, *event_shape], unbounded: a perceptron of the two joined."""

    def __init__(
        self, event_shape: torch.Size, *, context_shape: torch.Size | None, latent: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        self.latent, self.event_shape, self.context_shape = torch.Size([latent]), event_shape, context_shape
        extra = 0 if context_shape is None else context_shape.numel()
        self.network = mlp(latent + extra, event_shape.numel(), hidden)

    def forward(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.network(joined(noise, self.latent, context, self.context_shape))
        return x.unflatten(-1, self.event_shape)


class _Leaky(nn.LeakyReLU):
    def __init__(self) -> None:
        super().__init__(0.2)


class CriticNetwork(nn.Module):
    """(x, context) -> [N], the logit of "x is real": gain times a perceptron whose layers have spectral norm 1.

    The logit moves by no more than `gain` for a unit of distance in x.
    """

    def __init__(
        self, event_shape: torch.Size, *, context_shape: torch.Size | None, hidden: Sequence[int], gain: float
    ) -> None:
        super().__init__()
        self.event_shape, self.context_shape, self.gain = event_shape, context_shape, gain
        extra = 0 if context_shape is None else context_shape.numel()
        self.network = mlp(event_shape.numel() + extra, 1, hidden, _Leaky)
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                spectral_norm(layer)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.network(joined(x, self.event_shape, context, self.context_shape)).squeeze(-1) * self.gain


class GAN(Implicit):
    """Generative adversarial network: x = g(z, context), z ~ N(0, I), trained against a critic.

    Shapes: z is [N, latent], x is [N, *event_shape], context [N, *context_shape]. There is no likelihood.
    `critic(x, context)` gives logits [N] of "x is real".

    Parameters:
        latent: how many numbers z has.
        hidden: widths of the default networks, the generator's and the critic's.
        gain: the steepest that the default critic's logit may be, per unit of x.
        bounds: (low, high) between which every number of x lies, kept by a sigmoid; real numbers unless told.
        generator: a module (noise[, context]) -> x before the bounds, or what builds one from
            (event_shape, context_shape=..., latent=...); a perceptron unless told.
        critic: a module (x[, context]) -> logits, or what builds one from (event_shape, context_shape=...);
            a perceptron with spectral normalisation unless told. One that is passed brings its own.

    Reproduce: digits scaled to [0, 1], `GAN(64, bounds=(0, 1))` and `inference.fit` with
    steps=2800, batch_size=64, lr={"critic": 2e-3, "generator": 5e-4} and Adam of betas (0, 0.9): digits that one
    can read after 20 CPU seconds (the best of eleven settings tried, one seed each; several others covered far less).

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
        default = partial(GeneratorNetwork, hidden=hidden)
        self.generator = _built(generator or default, "generator", self.event_shape, latent=latent, **shapes)
        judge = partial(CriticNetwork, hidden=hidden, gain=gain)
        self.critic = _built(critic or judge, "critic", self.event_shape, **shapes)
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent, device=self.like.device, dtype=self.like.dtype)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.generator(noise) if context is None else self.generator(noise, context)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * x.sigmoid()


def _built(part: Part, name: str, event_shape: torch.Size, **shapes: Any) -> nn.Module:
    module = part if isinstance(part, nn.Module) else part(event_shape, **shapes)
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch module, or build one, not {type(module).__name__}")
    return module
