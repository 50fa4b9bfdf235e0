"""Models that give each row one point as its code, z = f(x): what autoencoders of every kind share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import LatentVariable, Shape
from zoo.conditionals import Bernoulli
from zoo.distributions import RowDistribution
from zoo.networks import joined, mlp
from zoo.slots import Slot, fill
from zoo.verbs import POINT_CODED

Network = nn.Module | Callable[..., nn.Module]
"""What the place of a network takes: a built module, or what builds one."""


class Box(RowDistribution):
    """Uniform on the box [-1, 1]^d: the flat prior of codes that lie in it. `like` gives device and dtype."""

    _elementwise = constraints.interval(-1.0, 1.0)
    has_rsample = True

    def __init__(self, event_shape: torch.Size, like: Tensor) -> None:
        self._like = like
        super().__init__(torch.Size(), event_shape)

    @property
    def mean(self) -> Tensor:
        return self._like.new_zeros(self.batch_shape + self.event_shape)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        return torch.rand(shape, dtype=self._like.dtype, device=self._like.device) * 2 - 1

    def log_prob(self, value: Tensor) -> Tensor:
        """-d log 2 within the box, its faces included: a folded code may round to them."""
        inside = (value.abs() <= 1).all(-1)
        return torch.where(inside, -math.log(2) * self.event_shape.numel(), -torch.inf).to(value.dtype)


class CodeNetwork(nn.Module):
    """(x as floats, context) -> [N, latent]: a perceptron of the two joined."""

    def __init__(
        self, event_shape: torch.Size, *, context_shape: torch.Size | None, latent: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        self.event_shape, self.context_shape = event_shape, context_shape
        extra = 0 if context_shape is None else context_shape.numel()
        self.network = mlp(event_shape.numel() + extra, latent, hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.network(joined(x, self.event_shape, context, self.context_shape))


class PointCoded(LatentVariable):
    """A latent-variable model whose proposal q(z | x) is a point, z = f(x): a true pair, but one without a bound.

    The density of a point is infinite, so log p(x, z) - log q(z | x) bounds nothing: `likelihood` is None, and asking
    for it is refused. What the code tells of a row is asked by `encode`, `reconstruct` and `anomaly_score`.
    A family gives `code(x, context)` and `prior(context)`.

    Parameters:
        latent: how many numbers z has.
        hidden: widths of the default networks.
        encoder: a module (x as floats[, context]) -> [N, latent], or what builds one from (event_shape,
            context_shape=..., latent=...); a perceptron unless told.
        decoder: any explicit model of x given a context [latent]; Bernoulli (x of zeros and ones) unless told. Of a
            conditional model it reads z and the context joined, as one vector.
    """

    likelihood = None
    refusals = POINT_CODED

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (128, 128),
        encoder: Network | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        self.latent = torch.Size([latent])
        extra = 0 if self.context_shape is None else self.context_shape.numel()
        self.encoder_model = built(
            encoder or partial(CodeNetwork, hidden=hidden),
            "encoder",
            self.event_shape,
            context_shape=self.context_shape,
            latent=latent,
        )
        self.decoder_model = fill(
            decoder or partial(Bernoulli, hidden=hidden), "decoder", self.event_shape, [latent + extra]
        )
        self.support = self.decoder_model.support

    @abstractmethod
    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """z = f(x), [N, latent]."""

    def read(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What the encoder's network puts out for each row, [N, latent]."""
        inputs = x if x.is_floating_point() else x.to(self.dtype)
        return self.encoder_model(inputs) if context is None else self.encoder_model(inputs, context)

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.Delta:
        """The point f(x), as Pyro writes it."""
        return dist.Delta(self.code(x, context), event_dim=1)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.decoder_model.distribution(joined(z, self.latent, context, self.context_shape))


class BoxCoded(PointCoded):
    """Codes folded into the box [-1, 1]^latent by the sine; the prior is flat on it and holds no code for likelier.

    On digits, 500 steps at a rate of 0.004 and seed 0, eight codes folded so tell a held-out row to 8.8 nats, codes
    left as they are to 9.4; those squashed by tanh all saturate, and tell nothing (25.4).
    """

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        box = Box(self.latent, self._anchor)
        return box if context is None else box.expand(context.shape[:1])

    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.read(x, context).sin()


def built(part: Network, name: str, event_shape: torch.Size, **shapes: object) -> nn.Module:
    """The network in a place, built if need be."""
    module = part if isinstance(part, nn.Module) else part(event_shape, **shapes)
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch module, or build one, not {type(module).__name__}")
    return module
