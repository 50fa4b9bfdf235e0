"""Monotone rational-quadratic splines: smooth maps of a number, with an inverse in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.elementwise import Elementwise

SMALLEST = 1e-3
"""The smallest bin, as a fraction of the box, and the smallest slope at a knot."""


class Spline(Elementwise):
    """An increasing map of [-bound, bound] onto itself in `bins` rational-quadratic pieces, the identity outside.

    A number's 3 * bins - 1 values are the pieces' widths and heights, as logits, and the slopes at the knots within.
    The slope at the ends is one, hence the map and its slope are continuous everywhere.

    Parameters:
        bins: how many pieces.
        bound: half the side of the box within which numbers move.

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032
    """

    sums: Tensor
    starts: Tensor

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__()
        if not 1 <= bins <= 500:
            raise ValueError(f"bins must be from 1 to 500, not {bins}")
        if not bound > 0:
            raise ValueError(f"bound must be above 0, not {bound}")
        self.bins, self.bound, self.outputs = bins, bound, 3 * bins - 1
        # Knots are sums of the sizes before them: one product with a triangle of ones, the last of them exact.
        sums = torch.ones(bins + 1, bins).tril(-1) * (2 * bound * (1 - SMALLEST * bins))
        starts = torch.arange(bins + 1) * (2 * bound * SMALLEST) - bound
        sums[-1], starts[-1] = 0, bound
        self.register_buffer("sums", sums, persistent=False)
        self.register_buffer("starts", starts, persistent=False)
        self.unit = math.log(math.expm1(1 - SMALLEST))

    def forward_and_log_slope(self, x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # At an end of the box the piece is the identity, and so is what is added for a number beyond it.
        inside = x.clamp(-self.bound, self.bound)
        left, width, low, height, slope, rise, bend = self._piece(inside, values, 0)
        t = (inside - left) / width
        u = t * (1 - t)
        part = (slope * u + rise * t * t) / (rise + bend * u)
        return torch.addcmul(low, height, part) + (x - inside), _log_slope(t, u, slope, rise, bend)

    def inverse_and_log_slope(self, y: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        inside = y.clamp(-self.bound, self.bound)
        left, width, low, height, slope, rise, bend = self._piece(inside, values, 1)
        t = _root((inside - low) / height, slope, rise, bend)
        return torch.addcmul(left, width, t) + (y - inside), -_log_slope(t, t * (1 - t), slope, rise, bend)

    def _piece(self, inside: Tensor, values: Tensor, axis: int) -> tuple[Tensor, ...]:
        """The piece a number is in: left, width, low, height, the slope at its left, its mean slope and its bend."""
        sizes, slopes = values.split([2 * self.bins, self.bins - 1], -1)
        knots = F.linear(sizes.unflatten(-1, (2, self.bins)).softmax(-1), self.sums, self.starts)
        slopes = F.pad(F.softplus(slopes + self.unit) + SMALLEST, (1, 1), value=1.0)
        with torch.no_grad():
            index = (inside.unsqueeze(-1) >= knots[..., axis, 1:-1]).sum(-1, keepdim=True)
            index = torch.cat([index, index + 1], -1)
        start, end = knots.gather(-1, index.unsqueeze(-2).expand(*index.shape[:-1], 2, 2)).unbind(-1)
        left, low = start.unbind(-1)
        width, height = (end - start).unbind(-1)
        slope, last = slopes.gather(-1, index).unbind(-1)
        rise = height / width
        return left, width, low, height, slope, rise, slope + last - 2 * rise


def _log_slope(t: Tensor, u: Tensor, slope: Tensor, rise: Tensor, bend: Tensor) -> Tensor:
    """log dy/dx at the fraction t of a piece, u = t (1 - t)."""
    ratio = rise / (rise + bend * u)
    return (ratio * ratio * (slope + t * (2 * (rise - slope) + t * bend))).log()


def _root(part: Tensor, slope: Tensor, rise: Tensor, bend: Tensor) -> Tensor:
    """The t in [0, 1] where a piece reaches this part of its height: a root of a t^2 + b t = c.

    The one of its two formulas is taken that subtracts nothing of the same sign: in float32 the other loses digits.
    """
    c, shift = rise * part, bend * part
    a, b = rise - slope + shift, slope - shift
    root = (b * b + 4 * a * c).clamp(min=torch.finfo(c.dtype).tiny).sqrt()
    up = b >= 0
    larger = b.abs() + root
    return (torch.where(up, 2 * c, larger) / torch.where(up, larger, 2 * a)).clamp(0, 1)
