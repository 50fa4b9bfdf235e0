"""A normal distribution cut into levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.distributions import RowDistribution


def scaled(codes: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Codes 0..levels-1 as numbers from -1 to 1."""
    return codes.to(dtype) * (2 / (levels - 1)) - 1


def nearest(value: Tensor, levels: int) -> Tensor:
    """The level whose interval of [-1, 1] a number lies in."""
    return ((value + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).long()


class DiscretisedNormal(RowDistribution):
    """Codes 0..levels-1, each the mass of its interval of a normal over [-1, 1], the ends all beyond them.

    The masses sum to one, so that a likelihood under it is a mass. loc and log_scale broadcast to [N, *event_shape].
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int, event_dim: int = 1) -> None:
        self.loc, self.log_scale, self.levels = loc, log_scale, levels
        split = loc.dim() - event_dim
        super().__init__(loc.shape[:split], loc.shape[split:])

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.levels - 1), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The sum over the levels k > 0 of P(code >= k)."""
        edges = torch.arange(1, self.levels, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        above = self.loc.unsqueeze(-1) - scaled(edges, self.levels, self.loc.dtype)
        return torch.special.ndtr(above * (-self.log_scale).exp().unsqueeze(-1)).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
            return nearest(torch.addcmul(self.loc, self.log_scale.exp(), noise), self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.cell_log_prob(value).sum(self._axes)

    def cell_log_prob(self, value: Tensor) -> Tensor:
        gap, inverse = 2 / (self.levels - 1), (-self.log_scale).exp()
        above = (scaled(value, self.levels, self.loc.dtype) + 0.5 * gap - self.loc) * inverse
        below = above - gap * inverse
        # the interval mirrored into the lower tail, where the difference of two masses keeps its digits
        mirrored = above + below > 0
        first, last = value == 0, value == self.levels - 1
        high = torch.special.log_ndtr(torch.where(last | (mirrored & ~first), -below, above))
        low = torch.special.log_ndtr(torch.where(mirrored, -above, below))
        gap = (low - high).masked_fill(first | last, -torch.inf)
        return high + (-torch.expm1(gap)).log()


def within(value: Tensor) -> Tensor:
    """Clamped to [-1, 1]; the gradient passes, or nothing would bring back a number that is out of range."""
    return _Within.apply(value)


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad
