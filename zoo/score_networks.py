"""Networks that read a noisy row: (z, time, context, given) -> [N, outputs, *event_shape], and what they share.

z is [N, *event_shape], time [N] in (0, 1], context [N, *context_shape] or None. `given`, [N] bool or None, says whose
context is known; a conditional network that is given no context is told nothing of any row's.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape, as_shape
from zoo.conditioners import Declared, conditioner_of
from zoo.told import NOTHING, Told

Layer = TypeVar("Layer", bound=nn.Module)
WAVES = 32
"""How many frequencies the time is shown at."""


class TimeEmbedding(nn.Module):
    """Times [N], and a vector told of the context, to [N, width]: waves of 1 to 1000 radians, and a small network.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = torch.linspace(0.0, math.log(1000.0), WAVES, dtype=torch.float64).exp()
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()), persistent=False)
        self.first, self.last = nn.Linear(2 * WAVES, width), nn.Linear(width, width)

    def forward(self, time: Tensor, vector: Tensor | None = None) -> Tensor:
        angles = time.to(self.frequencies.dtype)[:, None] * self.frequencies
        h = self.last(F.silu(self.first(torch.cat([angles.sin(), angles.cos()], 1))))
        return F.silu(h if vector is None else h + vector)


class Attention(nn.Module):
    """What places [N, P, width] find among themselves, or among tokens [N, L, memory]; begun at zero.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    """

    def __init__(self, width: int, heads: int, memory: int | None = None) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must be at least 1 and divide the width {width}, not {heads}")
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.asked, self.kept = nn.Linear(width, width), nn.Linear(memory or width, 2 * width)
        self.gathered = zeroed(nn.Linear(width, width))

    def forward(self, h: Tensor, tokens: Tensor | None = None) -> Tensor:
        asked = self.norm(h)
        kept = self.kept(asked if tokens is None else tokens)
        query, key, value = (self._split(part) for part in (self.asked(asked), *kept.chunk(2, -1)))
        found = F.scaled_dot_product_attention(query, key, value)
        return self.gathered(found.transpose(1, 2).flatten(2))

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def zeroed(layer: Layer) -> Layer:
    """A layer whose parameters begin at zero, so that a residual block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual(nn.Module):
    """h + a small network of it, whose hidden units the embedding scales and moves."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, width)
        self.moved = zeroed(nn.Linear(embedding, 2 * width))
        self.down = zeroed(nn.Linear(width, width))

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.moved(e).chunk(2, -1)
        inner = self.up(self.norm(h))
        return h + self.down(F.silu(inner + inner * scale + shift))


class ScoreMLP(nn.Module):
    """A residual perceptron of rows of any shape, taken as vectors.

    Parameters:
        width, blocks: of the residual blocks.
        outputs: how many rows to put out for each.
        conditioner: a table {"kind": "vector" or "tokens", ...}, or a `zoo.told.Conditioner` that tells a
            vector; the context as a vector unless told.

    References:
        Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        outputs: int = 1,
        width: int = 128,
        blocks: int = 3,
        conditioner: Declared | None = None,
    ) -> None:
        super().__init__()
        shape = as_shape(event_shape)
        if shape is None or min(width, outputs) < 1 or blocks < 0:
            raise ValueError(
                f"ScoreMLP needs an event_shape, width and outputs of at least 1 and blocks of at least 0, "
                f"not width {width}, outputs {outputs}, blocks {blocks}"
            )
        self.event_shape, self.outputs = shape, outputs
        self.conditioner = conditioner_of(conditioner, as_shape(context_shape), event_shape=shape, width=width)
        if self.conditioner is not None and (self.conditioner.planes or self.conditioner.attended):
            raise ValueError(
                f"ScoreMLP takes a context as one vector, which {type(self.conditioner).__name__} does not tell; "
                'take a conditioner of kind "vector" or "tokens", or a UNet'
            )
        self.time = TimeEmbedding(width)
        self.first = nn.Linear(shape.numel(), width)
        self.blocks = nn.ModuleList(Residual(width, width) for _ in range(blocks))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, outputs * shape.numel())

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        told: Told = NOTHING if self.conditioner is None else self.conditioner(context, given, len(z))
        e, h = self.time(time, told.vector), self.first(z.flatten(1))
        for block in self.blocks:
            h = block(h, e)
        return self.last(F.silu(self.norm(h))).view(len(z), self.outputs, *self.event_shape)
