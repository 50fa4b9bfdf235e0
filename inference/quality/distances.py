"""Distances between two sets of rows [N, D], in float64, each with its standard error by the jackknife.

References:
    GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
    A Kernel Two-Sample Test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inference.kernels import Distances, Gaussians, Kernel, directions, quantile_gaps, squared_distances

TILE = 512
"""Rows by rows whose pairs are held at a time: 2 MB."""
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
    return _jackknifed(_frechet, *_checked(a, b))


def kernel_mmd(a: Tensor, b: Tensor, *, bandwidth: float | Sequence[float] | None = None) -> Distance:
    """The unbiased squared maximum mean discrepancy with the kernel exp(-|x - y|^2 / (2 bandwidth^2)).

    Zero in expectation for two sets of one distribution, so it can be negative. The bandwidth is the median
    distance between rows of both sets unless given; of several bandwidths the kernel is the mean of theirs.
    Memory does not grow with the pairs of rows: a tile of them is held at a time.
    """
    a, b = _checked(a, b)
    given = median_distance(torch.cat([a, b])) if bandwidth is None else bandwidth
    scales = [float(scale) for scale in (given if isinstance(given, Sequence) else [given])]
    if not scales or not min(scales) > 0:
        raise ValueError(f"a bandwidth must be above 0, and there must be one, not {given}")
    return _discrepancy(Gaussians(scales), a, b)


def energy_distance(a: Tensor, b: Tensor) -> Distance:
    """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased, in units of the rows: 0 just for one distribution.

    It is the discrepancy of the kernel -|x - y|, needs no bandwidth, and can be negative as `kernel_mmd` can.

    References:
        Energy statistics: A class of statistics based on distances (Székely and Rizzo, 2013),
        https://doi.org/10.1016/j.jspi.2013.03.018
    """
    return _discrepancy(Distances(), *_checked(a, b))


def sliced_wasserstein(a: Tensor, b: Tensor, *, slices: int = 200, seed: int = 0) -> Distance:
    """The Wasserstein distance W1 of rows seen along one direction, mean over directions drawn from the sphere.

    In units of the rows. It is biased upwards, by about the spread of rows over the root of their number: compare it
    at equal numbers of rows, and with the distance between two sets of data. The error is that of other rows, along
    the same directions.

    References:
        Sliced and Radon Wasserstein Barycenters of Measures (Bonneel et al., 2015),
        https://doi.org/10.1007/s10851-014-0506-3
    """
    a, b = _checked(a, b)
    if slices < 1:
        raise ValueError(f"slices must be at least 1 direction, not {slices}")
    along = directions(slices, a.shape[1], a, torch.Generator(a.device).manual_seed(seed))
    return _jackknifed(_sliced, a @ along, b @ along)


def median_distance(rows: Tensor) -> float:
    """The median distance between rows, at most PIVOTS of them, evenly spread; 1 where all are alike."""
    some = rows[:: max(1, -(-len(rows) // PIVOTS))]
    median = torch.pdist(some).median().item()
    return median if median > 0 else 1.0


def _jackknifed(statistic: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Distance:
    """A statistic of two sets of rows, and its error from leaving out a group of each at a time."""
    groups = min(GROUPS, len(a) // 2, len(b) // 2)
    left_out = [statistic(_without(a, g, groups), _without(b, g, groups)) for g in range(groups)]
    kept = torch.stack(left_out)
    error = ((groups - 1) * (kept - kept.mean()).square().mean()).sqrt()
    return Distance(statistic(a, b).item(), error.item())


def _discrepancy(kernel: Kernel, a: Tensor, b: Tensor) -> Distance:
    """E k(a, a') + E k(b, b') - 2 E k(a, b) over pairs of different rows, and its error by leaving out each row."""
    n, m = len(a), len(b)
    own = kernel.value(a.new_zeros(1))  # of a row with itself
    within_a, within_b = (_row_sums(kernel, rows, rows)[0] - own for rows in (a, b))
    a_to_b, b_to_a = _row_sums(kernel, a, b)
    across = a_to_b.sum()
    aa, bb = within_a.sum() / (n * (n - 1)), within_b.sum() / (m * (m - 1))
    value = aa + bb - 2 * across / (n * m)
    variance = value.new_zeros(())
    for count, other, within, between, rest in ((n, m, within_a, a_to_b, bb), (m, n, within_b, b_to_a, aa)):
        without = (within.sum() - 2 * within) / ((count - 1) * (count - 2))
        without = without + rest - 2 * (across - between) / ((count - 1) * other)
        variance = variance + (count - 1) / count * (without - without.mean()).square().sum()
    return Distance(value.item(), variance.sqrt().item())


def _row_sums(kernel: Kernel, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel summed over b for each row of a, [N], and over a for each row of b, [M], a tile of pairs at a time.

    Within one set of rows a tile stands for its mirror image too.
    """
    centre, one_set = b.mean(0), a is b
    rows, columns = (a - centre).split(TILE), (b - centre).split(TILE)
    over_b, over_a = ([a.new_zeros(len(part)) for part in parts] for parts in (rows, columns))
    for i, some in enumerate(rows):
        for j in range(i if one_set else 0, len(columns)):
            values = kernel.value(squared_distances(some, columns[j]))
            over_b[i] += values.sum(1)
            if not one_set:
                over_a[j] += values.sum(0)
            elif j > i:
                over_b[j] += values.sum(0)
    return torch.cat(over_b), torch.cat(over_b if one_set else over_a)


def _sliced(a: Tensor, b: Tensor) -> Tensor:
    """W1 of each column, mean over the columns."""
    gaps, shares = quantile_gaps(a, b)
    return shares @ gaps.abs().mean(1)


def _frechet(a: Tensor, b: Tensor) -> Tensor:
    cov_a, cov_b = (torch.atleast_2d(torch.cov(rows.T)) for rows in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return (means + cov_a.trace() + cov_b.trace() - 2 * shared).clamp(min=0)


def _without(rows: Tensor, group: int, groups: int) -> Tensor:
    return rows[torch.arange(len(rows), device=rows.device) % groups != group]


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    for name, rows in (("a", a), ("b", b)):
        if rows.dim() != 2 or len(rows) < 4:
            raise ValueError(f"{name} must be features [N, D] of at least 4 rows, not {list(rows.shape)}")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} features, but b has {b.shape[1]}")
    return a.double(), b.double()
