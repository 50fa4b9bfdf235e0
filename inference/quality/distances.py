"""Distances between two sets of rows [N, D], in float64, each with its standard error by the jackknife.

References:
    GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
    A Kernel Two-Sample Test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1024
GROUPS = 10
PIVOTS = 1000


class Distance(NamedTuple):
    """A distance and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.2g}"


def frechet_distance(a: Tensor, b: Tensor) -> Distance:
    """|mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)), between normals fitted to each set.

    It is biased upwards, by about the number of features over that of rows: compare it at equal numbers of
    rows, and with the distance between two sets of data.
    """
    a, b = _checked(a, b)
    groups = min(GROUPS, len(a) // 2, len(b) // 2)
    value = _frechet(a, b)
    left_out = [_frechet(_without(a, g, groups), _without(b, g, groups)) for g in range(groups)]
    kept = torch.stack(left_out)
    error = ((groups - 1) * (kept - kept.mean()).square().mean()).sqrt()
    return Distance(value.item(), error.item())


def kernel_mmd(a: Tensor, b: Tensor, *, bandwidth: float | None = None) -> Distance:
    """The unbiased squared maximum mean discrepancy with the kernel exp(-|x - y|^2 / (2 bandwidth^2)).

    Zero in expectation for two sets of one distribution, so it can be negative. The bandwidth is the median
    distance between rows of both sets unless given; memory grows with the rows, not with their square.
    """
    a, b = _checked(a, b)
    scale = median_distance(torch.cat([a, b])) if bandwidth is None else bandwidth
    within_a, within_b = _row_sums(a, a, scale) - 1, _row_sums(b, b, scale) - 1
    a_to_b, b_to_a = _row_sums(a, b, scale), _row_sums(b, a, scale)
    n, m, across = len(a), len(b), a_to_b.sum()
    aa, bb = within_a.sum() / (n * (n - 1)), within_b.sum() / (m * (m - 1))
    value = aa + bb - 2 * across / (n * m)
    variance = value.new_zeros(())
    for count, other, within, between, rest in ((n, m, within_a, a_to_b, bb), (m, n, within_b, b_to_a, aa)):
        without = (within.sum() - 2 * within) / ((count - 1) * (count - 2))
        without = without + rest - 2 * (across - between) / ((count - 1) * other)
        variance = variance + (count - 1) / count * (without - without.mean()).square().sum()
    return Distance(value.item(), variance.sqrt().item())


def median_distance(rows: Tensor) -> float:
    """The median distance between rows, at most PIVOTS of them, evenly spread; 1 where all are alike."""
    some = rows[:: max(1, -(-len(rows) // PIVOTS))]
    median = torch.pdist(some).median().item()
    return median if median > 0 else 1.0


def _frechet(a: Tensor, b: Tensor) -> Tensor:
    cov_a, cov_b = (torch.atleast_2d(torch.cov(rows.T)) for rows in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return (means + cov_a.trace() + cov_b.trace() - 2 * shared).clamp(min=0)


def _without(rows: Tensor, group: int, groups: int) -> Tensor:
    return rows[torch.arange(len(rows), device=rows.device) % groups != group]


def _row_sums(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The sum over b of the kernel with each row of a, [N]; squares are expanded, so a block is one product."""
    centre = b.mean(0)
    a, b = (a - centre) / scale, (b - centre) / scale
    squares = b.square().sum(1)
    parts = []
    for rows in a.split(BLOCK):
        distances = rows.square().sum(1, keepdim=True) + squares - 2 * rows @ b.T
        parts.append((-0.5 * distances.clamp(min=0)).exp().sum(1))
    return torch.cat(parts)


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    for name, rows in (("a", a), ("b", b)):
        if rows.dim() != 2 or len(rows) < 4:
            raise ValueError(f"{name} must be features [N, D] of at least 4 rows, not {list(rows.shape)}")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} features, but b has {b.shape[1]}")
    return a.double(), b.double()
