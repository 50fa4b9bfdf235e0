"""Kernels of the squared distance of two rows, and discrepancies of two sets of rows, which are means over pairs.

A kernel gives `value(squares)`, elementwise and differentiable, and `slope(squares)`, minus its derivative by the
squared distance, worked out in the memory that it is given.

References:
    A Kernel Two-Sample Test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
    Equivalence of distance-based and RKHS-based statistics (Sejdinovic et al., 2013), https://arxiv.org/abs/1207.6076
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

TINY = 1e-12
"""A square distance below this share of the typical one is rounding, and has no direction."""


class Kernel(Protocol):
    def value(self, squares: Tensor) -> Tensor: ...
    def slope(self, squares: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Gaussians:
    """The mean of exp(-|x - y|^2 / (2 h^2)) over the bandwidths h: 1 where x is y."""

    bandwidths: Sequence[float]

    def value(self, squares: Tensor) -> Tensor:
        parts = [(squares * (-0.5 / h**2)).exp() for h in self.bandwidths]
        return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]

    def slope(self, squares: Tensor) -> Tensor:
        rates = [0.5 / h**2 for h in self.bandwidths]
        return torch.stack([rate * (squares * -rate).exp() for rate in rates]).mean(0)


@dataclass(frozen=True)
class Octaves:
    """`Gaussians` of bandwidths h with h^2 = widest^2 / 2^k, k < count: one exponential, the others by squaring it."""

    widest: float
    count: int

    @property
    def bandwidths(self) -> list[float]:
        return [self.widest / math.sqrt(2) ** k for k in range(self.count)]

    def value(self, squares: Tensor) -> Tensor:
        power = (squares * (-0.5 / self.widest**2)).exp()
        total = power
        for _ in range(self.count - 1):
            power = power.square()
            total = total + power
        return total / self.count

    def slope(self, squares: Tensor) -> Tensor:
        rate = 0.5 / self.widest**2
        power = squares.mul_(-rate).exp_()
        total = power.clone()
        for k in range(1, self.count):
            power.square_()
            total.add_(power, alpha=2.0**k)
        return total.mul_(rate / self.count)


@dataclass(frozen=True)
class Distances:
    """-|x - y|, whose discrepancy is the energy distance."""

    def value(self, squares: Tensor) -> Tensor:
        apart = squares > TINY * squares.detach().mean()
        return -torch.where(apart, squares, 1.0).sqrt() * apart

    def slope(self, squares: Tensor) -> Tensor:
        apart = squares > TINY * squares.mean()
        return torch.where(apart, squares, 1.0).rsqrt_().mul_(0.5).mul_(apart)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2, [N, M], by one product; a and b best lie around 0, as squares are expanded."""
    squares = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
    return (squares + a.square().sum(1, keepdim=True)).clamp(min=0)


def discrepancy(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    """The unbiased mean of k(a_i, a_j) + k(b_i, b_j) - 2 k(a_i, b_j) over i != j, of two sets of N rows each.

    Leaving the pairs (a_i, b_i) out too keeps it unbiased where the two depend on each other, as rows of one context.
    """
    n, centre = len(a), b.detach().mean(0)
    a, b = a - centre, b - centre
    total = _off_diagonal(kernel, a, a) + _off_diagonal(kernel, b, b) - 2 * _off_diagonal(kernel, a, b)
    return total / (n * (n - 1))


@torch.no_grad()
def discrepancy_gradient(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    """The gradient of `discrepancy` by a, [N, D], in one pass over the pairs; those of b with b have no part in it."""
    n, centre = len(a), b.mean(0)
    rows = torch.cat([a, b]) - centre
    weights = kernel.slope(squared_distances(rows[:n], rows))
    weights[:, n:].neg_().diagonal().zero_()
    pulled = torch.addmm(weights.sum(1, keepdim=True) * rows[:n], weights, rows, beta=-1)
    return pulled.mul_(4 / (n * (n - 1)))


def _off_diagonal(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    values = kernel.value(squared_distances(a, b))
    return values.sum() - values.diagonal().sum()


def quantile_gaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """How far the quantile functions of each column of a [N, P] and b [M, P] are apart: (gaps [Q, P], shares [Q])."""
    a, b = a.sort(0).values, b.sort(0).values
    n, m = len(a), len(b)
    if n == m:
        return a - b, a.new_full((n,), 1 / n)
    ends = torch.cat([torch.arange(1, n + 1, device=a.device) * m, torch.arange(1, m + 1, device=a.device) * n])
    ends = ends.sort().values
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    last = (ends - 1).clamp(min=0)  # of a step of no width, whichever row: its share is 0
    return a[last // m] - b[last // n], (ends - starts) / a.new_tensor(n * m)


def directions(count: int, size: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Unit vectors drawn evenly from the sphere, [size, count]."""
    drawn = torch.randn(size, count, generator=generator, dtype=like.dtype, device=like.device)
    return drawn / drawn.norm(dim=0)
