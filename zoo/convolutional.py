"""Networks that a conditional distribution may put in the place of its perceptron: convolutions, to or from images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.declared import declared
from zoo.networks import unflat

BuildsNetwork = Callable[[torch.Size, torch.Size, int], nn.Module]
"""(context_shape, event_shape, count) -> a module that makes of a context [N, *context_shape] `count` parameters for
each number of a row, [N, count, *event_shape]."""
NetworkSlot = Mapping[str, Any] | str | BuildsNetwork
"""What the place of a network takes: what builds one, or a table such as {"kind": "convolutional", "channels": [32]}"""


class Convolutional:
    """Convolutions of side 3, each halving an image: they read one that is the context, or write one that is x.

    Reading ends, and writing begins, with a linear layer. Sides need not be even.

    Parameters:
        channels: features at each halving, from the image's own size down.
    """

    def __init__(self, channels: Sequence[int] = (32, 64)) -> None:
        if not channels or not all(isinstance(width, int) and width > 0 for width in channels):
            raise ValueError(f"channels must be widths of at least 1, from the image down, not {channels!r}")
        self.channels = list(channels)

    def __call__(self, context_shape: torch.Size, event_shape: torch.Size, count: int) -> nn.Module:
        images = len(context_shape) == 3, len(event_shape) == 3
        if images == (True, False):
            return ImageReader(context_shape, torch.Size([count, *event_shape]), self.channels)
        if images == (False, True):
            return ImageWriter(context_shape.numel(), event_shape, count, self.channels)
        raise ValueError(
            "a convolutional network goes from an image [colours, height, width] to numbers, or back, "
            f"but here from {list(context_shape)} to {list(event_shape)}"
        )


class ImageReader(nn.Module):
    """[N, colours, height, width] to [N, *shape]."""

    def __init__(self, image: torch.Size, shape: torch.Size, channels: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = []
        for before, after in pairwise([image[0], *channels]):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        inner = channels[-1] * math.prod(sides(image, len(channels))[-1])
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inner, shape.numel()))

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).unflatten(-1, self.shape)


class ImageWriter(nn.Module):
    """[N, inputs] to [N, count, colours, height, width]."""

    def __init__(self, inputs: int, image: torch.Size, count: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.shape = torch.Size([count, image[0]])
        shapes = sides(image, len(channels))
        self.inner = torch.Size([channels[-1], *shapes[-1]])
        self.first = nn.Linear(inputs, self.inner.numel())
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        widths = [*channels[::-1], channels[0]]
        for (before, after), (small, large) in zip(pairwise(widths), pairwise(shapes[::-1]), strict=True):
            even = large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1
            layers.append(nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=even))
            layers.append(nn.ReLU(inplace=True))
        self.rest = nn.Sequential(*layers, nn.Conv2d(channels[0], self.shape.numel(), 3, padding=1))

    def forward(self, values: Tensor) -> Tensor:
        image = self.rest(self.first(values.flatten(1)).unflatten(-1, self.inner))
        return image.unflatten(1, self.shape)


def sides(image: torch.Size, halvings: int) -> list[tuple[int, int]]:
    """Height and width of an image, and after each halving, rounded up."""
    found = [(image[1], image[2])]
    for _ in range(halvings):
        height, width = found[-1]
        found.append(((height + 1) // 2, (width + 1) // 2))
    return found


KINDS = {"convolutional": Convolutional}


def network_of(written: NetworkSlot) -> BuildsNetwork:
    """What builds a network, as it stands, or the one that a name or a table declares."""
    return written if callable(written) else declared("network", written, KINDS)()


Arrangement = Callable[[Tensor, int], Tensor]
"""(values [N, count, *event_shape], axes of the event) -> one vector a row."""


def by_parameter(values: Tensor, axes: int) -> Tensor:
    """The first parameter of every number, then the second: [N, count * features]."""
    return values.flatten(-axes - 1)


def by_number(values: Tensor, axes: int) -> Tensor:
    """All parameters of the first number, then those of the next: [N, features * count]."""
    return values.movedim(-axes - 1, -1).flatten(-axes - 1)


class Arranged(nn.Module):
    """A built network as a perceptron would stand in its place, from one vector a row to one vector a row."""

    def __init__(
        self, network: nn.Module, context_shape: torch.Size, event_shape: torch.Size, count: int, to: Arrangement
    ) -> None:
        super().__init__()
        self.network, self.to_vector = network, to
        self.context_shape, self.shape = context_shape, torch.Size([count, *event_shape])

    def forward(self, context: Tensor) -> Tensor:
        batch = context.shape[:-1]
        values = self.network(unflat(context.reshape(-1, context.shape[-1]), self.context_shape))
        if values.shape[1:] != self.shape:
            raise ValueError(f"network puts out {list(values.shape[1:])} a row, but {list(self.shape)} fits here")
        vectors = self.to_vector(values, len(self.shape) - 1)
        return vectors.reshape(*batch, vectors.shape[-1])
