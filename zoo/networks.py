"""Shared torch blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

_relu = partial(nn.ReLU, inplace=True)


def mlp(
    inputs: int,
    outputs: int,
    hidden: Sequence[int] = (128, 128),
    activation: Callable[[], nn.Module] = _relu,
) -> nn.Sequential:
    """A multi-layer perceptron on the last axis, its last layer linear."""
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def flat(x: Tensor, event_shape: torch.Size) -> Tensor:
    """x with its event axes joined to one."""
    return x if len(event_shape) == 1 else x.flatten(x.dim() - len(event_shape))


def unflat(x: Tensor, event_shape: torch.Size) -> Tensor:
    """The opposite of `flat`."""
    return x if len(event_shape) == 1 else x.unflatten(-1, event_shape)


def joined(first: Tensor, shape: torch.Size, second: Tensor | None, second_shape: torch.Size | None) -> Tensor:
    """Two inputs of a network as one vector a row; without a second, the first."""
    first = flat(first, shape)
    if second is None or second_shape is None:
        return first
    return torch.cat([first, flat(second, second_shape)], -1)
