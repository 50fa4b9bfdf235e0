"""Densities of angles: splines of the circle onto itself, each angle given those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.networks import mlp
from zoo.splines import LARGEST, SMALLEST, UNIT, denominator, fraction_at, log_slope_at


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi]."""
    return (torch.remainder(angle + math.pi, 2 * math.pi) - math.pi).clamp(-math.pi, math.pi)


def circular_spline(angle: Tensor, free: Tensor, *, backward: bool) -> tuple[Tensor, Tensor]:
    """A rational-quadratic spline of the circle onto itself, and the log of its slope; `backward`, its inverse.

    `free` [..., 3 K] holds K widths, heights and slopes at knots, unconstrained; zeros give the identity. The slope
    at -pi is the slope at pi, and so the density that comes of it has no seam.

    Shapes: angle [...], within [-pi, pi]; both results [...].
    """
    widths, heights, slopes = free.chunk(3, -1)
    x, y = _knots(widths), _knots(heights)
    slopes = SMALLEST + F.softplus((slopes + UNIT).clamp(max=LARGEST))
    slopes = torch.cat([slopes, slopes[..., :1]], -1)
    found = (y if backward else x)[..., 1:-1].contiguous()
    at = torch.searchsorted(found, angle.detach().unsqueeze(-1).contiguous(), right=True)
    left, right, low, high, slope, last = (
        knots.gather(-1, at + step).squeeze(-1) for knots in (x, y, slopes) for step in (0, 1)
    )
    width, height = right - left, high - low
    rise = height / width
    t = fraction_at((angle - low) / height, rise, slope, last) if backward else (angle - left) / width
    between = t - t * t
    level = denominator(between, rise, slope, last)
    log_slope = log_slope_at(t, between, level, rise, slope, last)
    if backward:
        return left + width * t, -log_slope
    return low + height * (slope * between + rise * t * t) / level, log_slope


def _knots(free: Tensor) -> Tensor:
    """K + 1 knots from -pi to pi, no bin narrower than `SMALLEST` of the circle."""
    bins = SMALLEST + (1 - SMALLEST * free.shape[-1]) * free.softmax(-1)
    inner = bins.cumsum(-1)[..., :-1] * (2 * math.pi) - math.pi
    end = torch.full_like(free[..., :1], math.pi)
    return torch.cat([-end, inner, end], -1)


class Torus(nn.Module):
    """K angles, each given the ones before it and further numbers: p(a | r) = prod_k p(a_k | a_<k, r).

    Each factor is `layers` times a rotation and a circular spline, towards the uniform density of the circle. The
    rotations start at random, so that no two splines have their ends at one place.

    Shapes: angles [..., K], given [..., G] or None; log-densities [...].

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428
    """

    rotations: Tensor

    def __init__(self, angles: int, given: int, bins: int, layers: int, hidden: Sequence[int]) -> None:
        super().__init__()
        if bins < 2 or layers < 1:
            raise ValueError(f"a circle needs 2 bins and 1 layer at least, not {bins} and {layers}")
        if bins * SMALLEST >= 0.5:
            raise ValueError(f"bins must be below {0.5 / SMALLEST:g}, not {bins}")
        self.angles, self.layers, self.size = angles, layers, 3 * bins + 1
        self.register_buffer("rotations", torch.rand(angles, layers) * 2 * math.pi)
        outputs = layers * self.size
        self.factors = nn.ModuleList(_Factor(given + 2 * k, outputs, hidden) for k in range(angles))

    def log_prob(self, angles: Tensor, given: Tensor | None) -> Tensor:
        total = angles.new_zeros(angles.shape[:-1])
        for k, angle in enumerate(angles.unbind(-1)):
            free, rotations = self._parameters_of(k, angles[..., :k], given, angle.shape)
            for layer in range(self.layers):
                angle, log_slope = circular_spline(
                    wrapped(angle + rotations[..., layer]), free[..., layer, :], backward=False
                )
                total = total + log_slope
        return total - self.angles * math.log(2 * math.pi)

    def draw(self, uniform: Tensor, given: Tensor | None) -> Tensor:
        """Angles from as many uniform numbers in [0, 1), one after another."""
        drawn: list[Tensor] = []
        for k, angle in enumerate((uniform * 2 * math.pi - math.pi).unbind(-1)):
            before = torch.stack(drawn, -1) if drawn else uniform[..., :0]
            free, rotations = self._parameters_of(k, before, given, angle.shape)
            for layer in reversed(range(self.layers)):
                angle, _ = circular_spline(angle, free[..., layer, :], backward=True)
                angle = wrapped(angle - rotations[..., layer])
            drawn.append(angle)
        return torch.stack(drawn, -1)

    def _parameters_of(self, k: int, before: Tensor, given: Tensor | None, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Of angle k: its splines' numbers [..., layers, 3 K], and its rotations [..., layers]."""
        inputs = torch.cat([before.cos(), before.sin(), *([] if given is None else [given])], -1)
        numbers = self.factors[k](inputs).unflatten(-1, (self.layers, self.size))
        numbers = numbers.expand(*shape, *numbers.shape[-2:])
        return numbers[..., :-1], self.rotations[k] + numbers[..., -1]


class _Factor(nn.Module):
    """Numbers put out by a network, its last layer zero at first; free where there is nothing to read."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        if inputs:
            self.network = mlp(inputs, outputs, hidden)
            for parameter in self.network[-1].parameters():
                nn.init.zeros_(parameter)
        else:
            self.free = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs) if inputs.shape[-1] else self.free
