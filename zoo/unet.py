"""A small U-Net for images that hold noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape, as_shape
from zoo.conditioners import Declared, conditioner_of
from zoo.score_networks import Attention, TimeEmbedding, zeroed
from zoo.told import NOTHING, as_image


class Block(nn.Module):
    """h + two convolutions of it; between them the embedding scales and moves the channels."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = normed(channels), normed(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.moved = zeroed(nn.Linear(embedding, 2 * channels))

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.moved(e)[:, :, None, None].chunk(2, 1)
        inner = self.norm2(self.conv1(F.silu(self.norm1(h))))
        return h + self.conv2(F.silu(torch.addcmul(inner + shift, inner, scale)))


class Middle(nn.Module):
    """Attention among the places of an image, and to tokens where there are any, each added to what it reads."""

    def __init__(self, channels: int, heads: int, memory: int | None) -> None:
        super().__init__()
        self.places = Attention(channels, heads)
        self.tokens = None if memory is None else Attention(channels, heads, memory)

    def forward(self, h: Tensor, tokens: Tensor | None) -> Tensor:
        flat = h.permute(0, 2, 3, 1).flatten(1, 2)
        flat = flat + self.places(flat)
        if self.tokens is not None:
            flat = flat + self.tokens(flat, tokens)
        return flat.unflatten(1, h.shape[2:]).permute(0, 3, 1, 2)


class Hourglass(nn.Module):
    """Levels of blocks down to a coarse image and up again, each joined to the same one on the way down by a sum."""

    def _levels(self, channels: Sequence[int], blocks: int, heads: int, width: int, memory: int | None = None) -> None:
        """Its layers, [N, channels[0], height, width] to the same, moved by an embedding [N, width]."""
        self.down = nn.ModuleList(levels(channels, blocks, width))
        self.coarser = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.middle = Middle(channels[-1], heads, memory)
        self.up = nn.ModuleList(levels(channels, blocks, width))
        self.finer = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(channels))

    def _body(self, h: Tensor, e: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Down and up again, [N, channels, height, width] of the finest level."""
        seen: list[Tensor] = []
        for i, level in enumerate(self.down):
            h = through(level, h if not i else self.coarser[i - 1](h), e)
            seen.append(h)
        h = through(self.up[-1], self.middle(seen.pop(), tokens), e)
        for level, finer in zip(list(self.up)[-2::-1], list(self.finer)[::-1], strict=True):
            h = through(level, seen.pop() + colours_last(F.pixel_shuffle(finer(h), 2)), e)
        return h


class UNet(Hourglass):
    """A U-Net: down to a coarse image and up again, each level joined to the same one on the way down by a sum.

    Shapes: z is [N, channels, height, width] or [N, height, width], both sides divisible by 2 for each level but one.

    Parameters:
        channels: of each level, the finest first; a level has half the sides of the one before.
        blocks: residual blocks of each level, on the way down and again on the way up.
        heads: of the attention among the places of the coarsest level, which all its channels share.
        width: of the embedding of time and context.
        outputs: how many images to put out for each.
        conditioner: a table {"kind": "vector", "image", "tokens" or "attended", ...}, or a
            `zoo.told.Conditioner`; unless told, a context with the axes of an image beside z, any other as a vector.

    Reproducible: 8 x 8 grey digits, `benchmarks/latent_tasks/diffusion.py`, 960 steps of 65 rows: 1,000 images by DDIM
    in 50 steps at a Frechet distance of 4.9 from the 450 held out with seed 0, 6.1 and 5.7 with seeds 1 and 2 (means of
    three draws, each with a standard error of 2), coverage 0.97 to 0.98, precision 0.87 to 0.88, recall 0.97 to 0.98,
    in about 0.9 of the compute in which diffusers' UNet2DModel makes 225 steps.

    References:
        U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015),
        https://arxiv.org/abs/1505.04597
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        outputs: int = 1,
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        heads: int = 4,
        width: int = 128,
        conditioner: Declared | None = None,
    ) -> None:
        super().__init__()
        shape, context = as_shape(event_shape), as_shape(context_shape)
        self.event_shape, self.outputs = shape or torch.Size(), outputs
        self.image = as_image(self.event_shape, "what a UNet reads")
        self._check(channels, blocks)
        default = "image" if context is not None and len(context) in (2, 3) else "vector"
        self.conditioner = conditioner_of(
            conditioner, context, event_shape=self.event_shape, width=width, default=default
        )
        beside = 0 if self.conditioner is None else self.conditioner.planes
        memory = width if self.conditioner is not None and self.conditioner.attended else None
        self.time = TimeEmbedding(width)
        self.first = nn.Conv2d(self.image[0] + beside, channels[0], 3, padding=1)
        self._levels(channels, blocks, heads, width, memory)
        self.norm = normed(channels[0])
        self.last = zeroed(nn.Conv2d(channels[0], outputs * self.image[0], 3, padding=1))

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        told = NOTHING if self.conditioner is None else self.conditioner(context, given, len(z))
        e, x = self.time(time, told.vector), z.reshape(-1, *self.image)
        h = self.first(x if told.beside is None else torch.cat([x, told.beside], 1))
        h = self._body(colours_last(h), e, told.tokens)
        h = self.last(F.silu(self.norm(h)))
        return h.reshape(len(z), self.outputs, *self.event_shape)

    def _check(self, channels: Sequence[int], blocks: int) -> None:
        if not channels or min(channels) < 1 or blocks < 1 or self.outputs < 1:
            raise ValueError(
                f"UNet needs channels, blocks and outputs of at least 1, "
                f"not channels {list(channels)}, blocks {blocks}, outputs {self.outputs}"
            )
        check_halving(self.event_shape, self.image[1:], channels)


def normed(channels: int) -> nn.GroupNorm:
    """All channels normalised together, several times as quick on a CPU as in groups."""
    return nn.GroupNorm(1, channels)


def check_halving(shape: torch.Size, sides: Sequence[int], channels: Sequence[int]) -> None:
    """Refuse an image whose sides can't be halved from one level to the next."""
    if any(side % 2 ** (len(channels) - 1) for side in sides):
        raise ValueError(
            f"a UNet of {len(channels)} levels halves the sides of an image {len(channels) - 1} times, "
            f"but {list(shape)} can't be: give channels for fewer levels"
        )


def levels(channels: Sequence[int], blocks: int, embedding: int) -> list[nn.ModuleList]:
    """The residual blocks of each level, the finest first."""
    return [nn.ModuleList(Block(width, embedding) for _ in range(blocks)) for width in channels]


def through(level: nn.Module, h: Tensor, e: Tensor) -> Tensor:
    """h after the blocks of a level."""
    assert isinstance(level, nn.ModuleList)
    for block in level:
        h = block(h, e)
    return h


def colours_last(h: Tensor) -> Tensor:
    """The same image with the channels of a place side by side in memory: convolutions on a CPU are quicker."""
    return h.contiguous(memory_format=torch.channels_last)
