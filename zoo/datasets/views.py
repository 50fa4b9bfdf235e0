"""Changes of variables between the raw data and the space a model is trained in.

Each is a frozen object with `apply`, forwards, and `undo`, which takes points back and gives with them the
nats a row to add to a log-likelihood for it to speak of the space before: log |d after / d before| for a
bijection, the log volume of a level for noise added to levels. Tensors are [N, *event_shape].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

MARGIN = 2.0**-12
"""Noise keeps this far (in levels) from a level's edges, so that single precision finds the level again."""


class Step(ABC):
    """One change of variables, from any space that it `takes` to the one it `gives` (None: the same)."""

    takes: ClassVar[frozenset[str]]
    gives: ClassVar[str | None]
    needs: ClassVar[str]

    @abstractmethod
    def apply(self, x: Tensor, seed: int) -> Tensor:
        """The rows in the space after."""

    @abstractmethod
    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The rows in the space before, and the nats [N] that take a log-likelihood there."""

    def range(self, before: tuple[float, float]) -> tuple[float, float]:
        """The least and the greatest value in the space after."""
        return (0.0, 1.0)


def _nothing(y: Tensor) -> Tensor:
    return torch.zeros(len(y), dtype=floating(y).dtype, device=y.device)


def floating(x: Tensor) -> Tensor:
    """x as floats: of torch's default precision where it holds whole numbers."""
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


@dataclass(frozen=True)
class Dequantise(Step):
    """v = (x + u) / levels with u uniform on (0, 1): each level becomes a cell of volume 1 / levels.

    Of a density p(v), log P(x) >= E_u log p(v) - D log(levels), in nats a row of D numbers.

    References:
        A note on the evaluation of generative models (Theis et al., 2016), https://arxiv.org/abs/1511.01844
    """

    levels: int
    takes = frozenset({"levels"})
    gives = "unit"
    needs = "raw levels"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        rows = floating(x)
        noise = torch.rand(rows.shape, dtype=rows.dtype, generator=torch.Generator().manual_seed(seed))
        return (rows + noise.clamp(MARGIN, 1 - MARGIN).to(rows.device)) / self.levels

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        levels = (y * self.levels).floor().clamp(0, self.levels - 1)
        return levels, _nothing(y) - y[:1].numel() * math.log(self.levels)


@dataclass(frozen=True)
class Logit(Step):
    """y = logit(alpha + (1 - 2 alpha) v), a bijection of the unit cube into the reals.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), appendix D
    """

    alpha: float
    takes = frozenset({"unit"})
    gives = "real"
    needs = "a view in the unit cube: take dequantised() first"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        return torch.logit(self.alpha + (1 - 2 * self.alpha) * x)

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        slope = math.log1p(-2 * self.alpha) + F.softplus(y) + F.softplus(-y)
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha), slope.reshape(len(y), -1).sum(-1)

    def range(self, before: tuple[float, float]) -> tuple[float, float]:
        edge = math.log1p(-self.alpha) - math.log(self.alpha) if self.alpha else math.inf
        return (-edge, edge)


@dataclass(frozen=True)
class Binarise(Step):
    """1. where x is above the threshold, 0. elsewhere: another, coarser variable, with a mass of its own."""

    threshold: float
    takes = frozenset({"levels"})
    gives = "bits"
    needs = "raw levels"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        return (x > self.threshold).to(floating(x[:0]).dtype)

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y, _nothing(y)


@dataclass(frozen=True)
class Unit(Step):
    """v = x / (levels - 1), floats from 0 to 1 that still lie on levels."""

    levels: int
    takes = frozenset({"levels"})
    gives = "grid"
    needs = "raw levels"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        return floating(x) / (self.levels - 1)

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        top = self.levels - 1
        return (y * top).round().clamp(0, top), _nothing(y) - y[:1].numel() * math.log(top)


@dataclass(frozen=True, eq=False)
class Standardise(Step):
    """y = (x - mean) / scale, column by column; mean and scale are [*event_shape]."""

    mean: Tensor
    scale: Tensor
    takes = frozenset({"real", "unit"})
    gives = "real"
    needs = "real numbers: take dequantised() first"

    @classmethod
    def of(cls, x: Tensor) -> Standardise:
        """Standardise by the rows x, [N, *event_shape]; a column without spread is only centred."""
        rows = x.double()
        scale = rows.std(0, correction=0)
        return cls(rows.mean(0), torch.where(scale > 0, scale, 1.0))

    def apply(self, x: Tensor, seed: int) -> Tensor:
        return ((x.double() - self.mean.to(x.device)) / self.scale.to(x.device)).to(x.dtype)

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x = y.double() * self.scale.to(y.device) + self.mean.to(y.device)
        return x.to(y.dtype), _nothing(y) - float(self.scale.double().log().sum())

    def range(self, before: tuple[float, float]) -> tuple[float, float]:
        low, high = ((edge - self.mean) / self.scale for edge in before)
        return (float(low.min()), float(high.max()))


@dataclass(frozen=True)
class Flatten(Step):
    """The event's axes joined to one, in a volume that stays as it is."""

    shape: torch.Size
    takes = frozenset({"levels", "codes", "bits", "grid", "unit", "real"})
    gives = None
    needs = "any view"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        return x.reshape(len(x), self.shape.numel())

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y.reshape(len(y), *self.shape), _nothing(y)

    def range(self, before: tuple[float, float]) -> tuple[float, float]:
        return before
