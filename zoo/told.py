"""What a conditioner is: how a context comes to be known to a network, for some rows of a batch or for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Told(NamedTuple):
    """What a network is told of each row's context."""

    vector: Tensor | None = None
    """[N, width], added to the embedding of the time."""
    beside: Tensor | None = None
    """[N, planes, height, width of the image], joined to its channels."""
    tokens: Tensor | None = None
    """[N, length, width], to be attended to."""


NOTHING = Told()


class Conditioner(nn.Module, ABC):
    """(context or None, given [N] or None, N) -> `Told`; `given` says which rows' context is known."""

    planes: int = 0
    """How many planes it puts beside an image."""
    attended: bool = False
    """Whether it gives tokens to attend to."""

    @abstractmethod
    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        """What the network is told."""


def known(told: Tensor | None, instead: Tensor, given: Tensor | None, rows: int) -> Tensor:
    """The rows of `told` whose context is given, and `instead`, of the shape of one row, for the others."""
    if told is None:
        return instead.expand(rows, *instead.shape)
    if given is None:
        return told
    return torch.where(given.view(-1, *[1] * instead.dim()), told, instead)


def as_image(shape: torch.Size, what: str) -> torch.Size:
    """The shape of an image as [channels, height, width]."""
    if len(shape) not in (2, 3):
        raise ValueError(f"{what} is an image, [channels, height, width] or [height, width], not {list(shape)}")
    return shape if len(shape) == 3 else torch.Size([1, *shape])
