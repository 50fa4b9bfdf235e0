"""Corruptions C(x' | x) of a row: what a denoising autoencoder undoes.

Each is a frozen object whose `distribution(x)` is that of the corrupted row given each row of x, batch [N]; what
happens to one number of a row does not depend on the others. A table {"kind": "masking", "rate": 0.3} declares one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.declared import declared
from zoo.distributions import DiagonalNormal, RowDistribution


class Corruption(ABC):
    """C(x' | x), number by number."""

    @abstractmethod
    def distribution(self, x: Tensor) -> dist.TorchDistribution:
        """x' given each row of x, which holds floats."""


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """x' = x + scale e, e ~ N(0, I)."""

    scale: float = 0.5

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")

    def distribution(self, x: Tensor) -> DiagonalNormal:
        return DiagonalNormal(x, x.new_tensor(math.log(self.scale)).expand_as(x), x.dim() - 1)


@dataclass(frozen=True)
class Masking(Corruption):
    """Each number is lost with probability `rate`: it becomes `value`."""

    rate: float = 0.3
    value: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def distribution(self, x: Tensor) -> Replaced:
        return Replaced(x, self.rate, [self.value])


@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Each number becomes, with probability `rate`, `low` or `high`, by a fair coin."""

    rate: float = 0.3
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def distribution(self, x: Tensor) -> Replaced:
        return Replaced(x, self.rate, [self.low, self.high])


class Replaced(RowDistribution):
    """Each number kept with probability 1 - rate, else one of a few values, all equally probable.

    `log_prob` is the logarithm of a mass: given x, a number can be x or one of the values. Where these are the
    same, their masses add.
    """

    def __init__(self, x: Tensor, rate: float, values: Sequence[float]) -> None:
        self.x, self.rate, self.values = x, rate, values
        super().__init__(x.shape[:1], x.shape[1:])

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        uniform = torch.rand(shape, dtype=self.x.dtype, device=self.x.device)
        share, drawn = self.rate / len(self.values), self.x.expand(shape)
        for i, value in enumerate(self.values):
            drawn = torch.where((i * share <= uniform) & (uniform < (i + 1) * share), value, drawn)
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        mass = (value == self.x).to(self.x.dtype) * (1 - self.rate)
        for each in self.values:
            mass = mass + (value == each).to(self.x.dtype) * (self.rate / len(self.values))
        return mass.log().sum(self._axes)


CORRUPTIONS: Mapping[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
}


def as_corruption(written: Corruption | Mapping[str, str | float] | str) -> Corruption:
    """A corruption as it stands, or the one that a name or a table declares."""
    return written if isinstance(written, Corruption) else declared("corruption", written, CORRUPTIONS)()


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise ValueError(f"rate must be between 0 and 1, not {rate}")
