"""Convolutional generators of images of any size: DCGAN's and the residual one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape, as_shape
from zoo.conditioners import Declared
from zoo.convolutional import sides
from zoo.gan_networks import fixed, vector_of
from zoo.normalisation import Norm, NormSlot, Reference, norm_of
from zoo.self_attention import AttentionAfter
from zoo.told import as_image

SMALLEST = 4
"""The side to which images are halved, twice at least, unless told how often."""


class ImageGenerator(nn.Module, ABC):
    """(noise [N, latent], context) -> [N, *event_shape], unbounded: convolutions from a coarse image to a fine one.

    The noise, and what a conditioner tells of the context, become the coarsest map by a linear layer.

    Parameters:
        channels: of the maps, one more halving each, the finest first; unless told 32 and twice as many at each
            halving, of which there are two or as many as leave a side of at most 4.
        norm: of the maps, "batch", "virtual", "layer" or "none", or of the weights, "spectral".
        attention: after which halving a block of self-attention stands; there is none unless told.
        conditioner: what tells the context, {"kind": "linear", "vector", "classes" or "tokens", ...}.
        width: of what the conditioner tells.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int,
        channels: Sequence[int] | None = None,
        norm: NormSlot = "batch",
        attention: int | None = None,
        conditioner: Declared = "linear",
        width: int = 32,
    ) -> None:
        super().__init__()
        self.event_shape, context, normed = fixed(event_shape), as_shape(context_shape), norm_of(norm)
        self.image = as_image(self.event_shape, "what a convolutional generator makes")
        self.channels = widths(self.image, channels)
        self.sizes = sides(self.image, len(self.channels))
        self.conditioner = None if context is None else vector_of(conditioner, context, self.event_shape, width)
        told = 0 if context is None else width
        self.coarsest = torch.Size([self.channels[-1], *self.sizes[-1]])
        self.first = nn.Linear(latent + told, self.coarsest.numel())
        self.reference = Reference(normed.reference, torch.Size([latent]), context)
        self.build(normed, told)
        self.attention = AttentionAfter(attention, self.channels)
        normed.dress(self)

    def refer(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take the contexts of virtual batch norm's reference batch, whose noise is there already."""
        self.reference.start(None, context)

    def forward(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        z, context = self.reference.before(noise, context)
        told = None if self.conditioner is None else self.conditioner(context, None, len(z)).vector
        h = self.first(z if told is None else torch.cat([z, told], 1)).unflatten(1, self.coarsest)
        return self.reference.cut(self.grow(h, told)).reshape(len(noise), *self.event_shape)

    @abstractmethod
    def build(self, norm: Norm, told: int) -> None:
        """The layers."""

    @abstractmethod
    def grow(self, h: Tensor, told: Tensor | None) -> Tensor:
        """From the coarsest map to the image, [N, colours, height, width]."""


class DCGANGenerator(ImageGenerator):
    """Transposed convolutions of side 4, each doubling the sides; where these are odd, what is too much is cut off.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
        (Radford, Metz and Chintala, 2016), https://arxiv.org/abs/1511.06434
    """

    def build(self, norm: Norm, told: int) -> None:
        self.normed = nn.ModuleList(nn.Sequential(*norm.after(c), nn.ReLU(inplace=True)) for c in self.channels[::-1])
        steps = pairwise([*self.channels[::-1], self.image[0]])
        self.layers = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in steps)

    def grow(self, h: Tensor, told: Tensor | None) -> Tensor:
        for level, (normed, layer) in enumerate(zip(self.normed, self.layers, strict=True)):
            halving = len(self.channels) - level
            height, width = self.sizes[halving - 1]
            h = layer(self.attention(normed(h), halving))[:, :, :height, :width]
        return h


class ResidualGenerator(ImageGenerator):
    """Residual blocks that double the sides; what is told of the context also scales and moves each block's maps.

    References:
        Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), appendix B.4,
        https://arxiv.org/abs/1802.05957
        cGANs with Projection Discriminator (Miyato and Koyama, 2018), https://arxiv.org/abs/1802.05637
    """

    def build(self, norm: Norm, told: int) -> None:
        steps = pairwise([*self.channels[::-1], self.channels[0]])
        self.blocks = nn.ModuleList(Grown(a, b, norm, told) for a, b in steps)
        self.normed = nn.Sequential(*norm.after(self.channels[0]), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(self.channels[0], self.image[0], 3, padding=1)

    def grow(self, h: Tensor, told: Tensor | None) -> Tensor:
        for level, block in enumerate(self.blocks):
            halving = len(self.channels) - level
            h = block(self.attention(h, halving), told, self.sizes[halving - 1])
        return self.last(self.normed(h))


class Grown(nn.Module):
    """A residual block whose map has twice the sides: each pixel repeated, then convolutions of side 3."""

    def __init__(self, before: int, after: int, norm: Norm, told: int) -> None:
        super().__init__()
        self.moved1, self.moved2 = Moved(before, norm, told), Moved(after, norm, told)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.short = nn.Conv2d(before, after, 1)

    def forward(self, h: Tensor, told: Tensor | None, size: tuple[int, int]) -> Tensor:
        inner = self.conv1(grown(self.moved1(h, told).relu(), size))
        return grown(self.short(h), size) + self.conv2(self.moved2(inner, told).relu())


class Moved(nn.Module):
    """A map normalised, then scaled and moved, a channel at a time, as what is told of the row's context has it."""

    def __init__(self, channels: int, norm: Norm, told: int) -> None:
        super().__init__()
        self.normed = nn.Sequential(*norm.after(channels))
        self.by = nn.Linear(told, 2 * channels) if told else None

    def forward(self, h: Tensor, told: Tensor | None) -> Tensor:
        h = self.normed(h)
        if self.by is None:
            return h
        scale, shift = self.by(told)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(h + shift, h, scale)


def grown(h: Tensor, size: tuple[int, int]) -> Tensor:
    """Each pixel repeated, to an image of this size."""
    return F.interpolate(h, size, mode="nearest")


def widths(image: torch.Size, channels: Sequence[int] | None) -> list[int]:
    """Channels by halving, as given, or 32 and twice as many each time, twice or until a side is at most `SMALLEST`."""
    if channels is None:
        halvings = 2
        while min(sides(image, halvings)[-1]) > SMALLEST:
            halvings += 1
        return [32 * 2**k for k in range(halvings)]
    if not channels or min(channels) < 1:
        raise ValueError(f"channels must be widths of at least 1, the finest map's first, not {list(channels)}")
    return list(channels)
