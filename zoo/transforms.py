"""Invertible maps, and the distribution of what they make of a base.

A `Transform` takes rows of a base, x, to rows of data, y = f(x; context), and back. Each direction is one
method that returns the value and its log-determinant together, so that the two cannot disagree:

    y, log_det = transform.forward_and_log_det(x, context)      log_det = log |det dy/dx|
    x, log_det = transform.inverse_and_log_det(y, context)      log_det = log |det dx/dy|

Sampling goes forward, scoring goes backward. A map that is cheap one way only (autoregressive ones) says so in
its docstring; couplings cost the same both ways.

Shapes: x and y are [..., *event_shape], log_det is [...]. A context [N, *context_shape] belongs to the
last batch axis: x may be [N, ...] or carry further axes before it, [K, N, ...].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from zoo.distributions import RowDistribution


class Transform(nn.Module, ABC):
    """An invertible, differentiable map between rows of the same shape, given a context or not."""

    @abstractmethod
    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y = f(x; context) and log |det dy/dx|."""

    @abstractmethod
    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x = f^-1(y; context) and log |det dx/dy|."""


class Inverse(Transform):
    """Another map, the other way round."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.forward_and_log_det(y, context)


class FlowDistribution(RowDistribution):
    """The distribution of y = f(x), x from a base: log p(y) = log p(x) + log |det dx/dy|.

    Its batch shape is the base's: [] without a context, [N] with one of N rows. Nothing is remembered from one
    call to the next (torch's transform cache goes stale when parameters move), so a draw whose density is wanted
    too is asked for with `rsample_and_log_prob`, which goes through the map once and never inverts it.
    """

    has_rsample = True

    def __init__(self, base: dist.TorchDistribution, transform: Transform, context: Tensor | None = None) -> None:
        self.base, self.transform, self.context = base, transform, context
        super().__init__(base.batch_shape, base.event_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        new = super().expand(batch_shape)
        new.base = self.base.expand(new.batch_shape)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        x, log_det = self.transform.inverse_and_log_det(value, self.context)
        return self.base.log_prob(x) + log_det

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.transform.forward_and_log_det(self.base.rsample(sample_shape), self.context)[0]

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Reparameterised draws and their log-density, [*sample_shape, *batch_shape]."""
        x = self.base.rsample(sample_shape)
        y, log_det = self.transform.forward_and_log_det(x, self.context)
        return y, self.base.log_prob(x) - log_det
