"""Monotone rational-quadratic splines: smooth maps of a number, with an inverse in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.elementwise import Elementwise

SMALLEST = 1e-3
"""The smallest bin, as a fraction of the box, and the smallest slope at a knot."""


LARGEST = 1e3
"""The largest slope at a knot: a network that sees an outlier may put out anything."""
UNIT = math.log(math.expm1(1 - SMALLEST))
"""What gives a slope of one."""


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
        self.bins, self.outputs = bins, 3 * bins - 1
        self.bound = float(torch.tensor(bound))  # the last knot to the bit, in float32 as in float64
        # A knot is the sum of the sizes before it: one product with triangles of ones. The last knot is exact.
        sums = torch.ones(bins + 1, bins).tril(-1) * (2 * bound * (1 - SMALLEST * bins))
        starts = torch.arange(bins + 1) * (2 * bound * SMALLEST) - bound
        sums[-1], starts[-1] = 0, bound
        self.register_buffer("sums", torch.block_diag(sums, sums), persistent=False)
        self.register_buffer("starts", starts.repeat(2), persistent=False)

    def forward_and_log_slope(self, x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # At an end of the box the piece is the identity, and so is what is added for a number beyond it.
        inside = x.clamp(-self.bound, self.bound)
        left, width, low, height, rise, slope, last = self._piece(inside, values, 0)
        t = (inside - left) / width
        square = t * t
        between = t - square
        level = denominator(between, rise, slope, last)
        part = (slope * between + rise * square) / level
        return torch.addcmul(low, height, part) + (x - inside), log_slope_at(t, between, level, rise, slope, last)

    def inverse_and_log_slope(self, y: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        inside = y.clamp(-self.bound, self.bound)
        left, width, low, height, rise, slope, last = self._piece(inside, values, 1)
        t = fraction_at((inside - low) / height, rise, slope, last)
        between = t - t * t
        level = denominator(between, rise, slope, last)
        return torch.addcmul(left, width, t) + (y - inside), -log_slope_at(t, between, level, rise, slope, last)

    def _piece(self, inside: Tensor, values: Tensor, axis: int) -> tuple[Tensor, ...]:
        """The piece that a number is in: left, width, low, height, its mean slope and those at its two ends."""
        sizes, slopes = values.split([2 * self.bins, self.bins - 1], -1)
        sizes = sizes.unflatten(-1, (2, self.bins)).softmax(-1).flatten(-2)
        knots = F.linear(sizes, self.sums, self.starts).unflatten(-1, (2, self.bins + 1))
        with torch.no_grad():
            index = (inside.unsqueeze(-1) >= knots[..., axis, 1:-1]).sum(-1, keepdim=True)
            index = torch.cat([index, index + 1], -1).unsqueeze(-2)
        start, end = knots.gather(-1, index.expand(*index.shape[:-2], 2, 2)).unbind(-1)
        left, low = start.unbind(-1)
        width, height = (end - start).unbind(-1)
        # Only the two slopes that are read are worked out; a zero stands for the slope one of both ends.
        chosen = F.pad(slopes, (1, 1)).gather(-1, index.squeeze(-2)) + UNIT
        slope, last = (F.softplus(chosen.clamp(max=LARGEST)) + SMALLEST).unbind(-1)
        return left, width, low, height, height / width, slope, last


# Sums of what is positive: nothing cancels, however far apart the slopes are.


def denominator(between: Tensor, rise: Tensor, slope: Tensor, last: Tensor) -> Tensor:
    """The denominator at the fraction t of a piece, between = t (1 - t)."""
    return torch.addcmul(rise * (1 - (between + between)), slope + last, between)


def log_slope_at(t: Tensor, between: Tensor, level: Tensor, rise: Tensor, slope: Tensor, last: Tensor) -> Tensor:
    """log dy/dx at the fraction t of a piece."""
    ratio, rest = rise / level, 1 - t
    return (ratio * ratio * (last * t * t + (rise + rise) * between + slope * rest * rest)).log()


def fraction_at(part: Tensor, rise: Tensor, slope: Tensor, last: Tensor) -> Tensor:
    """The t in [0, 1] where a piece reaches this part of its height: a root of a t^2 + b t = c.

    Of its two formulas, the one that doesn't subtract: in float32 the other loses digits.
    """
    c, shift = rise * part, (slope + last - (rise + rise)) * part
    a, b = rise - slope + shift, slope - shift
    larger = (b * b + 4 * a * c).clamp(min=torch.finfo(c.dtype).tiny).sqrt() + b.abs()
    up = b >= 0
    return (torch.where(up, c + c, larger) / torch.where(up, larger, a + a)).clamp(0, 1)
