"""The kernel distance of images' features ("KID"): it compares means, spreads and skews, and is unbiased.

torchmetrics computes it, too, on the network of its own choice and without an interval: it is not needed here.

References:
    Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.quality.estimates import Estimate, around, rows_of

GROUPS = 10
BLOCK = 1024


def kernel_distance(a: Tensor, b: Tensor) -> Estimate:
    """The unbiased squared MMD of the kernel (x . y / D + 1)^3, between sets [N, D] and [M, D] in the same features.

    Zero in expectation for two sets of one distribution whatever the number of rows, where the Frechet distance is
    not; so it can be negative. The interval is by the jackknife over groups of rows of both sets.
    """
    a, b = rows_of(a=a, b=b)
    groups = min(GROUPS, len(a) // 2, len(b) // 2)
    keep_a, keep_b = (torch.arange(len(rows), device=rows.device) % groups for rows in (a, b))
    left_out = torch.stack([_cubic(a[keep_a != g], b[keep_b != g]) for g in range(groups)])
    error = ((groups - 1) * (left_out - left_out.mean()).square().mean()).sqrt()
    return around(_cubic(a, b).item(), error.item(), len(a), len(b))


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    within = [(_total(rows, rows) - _kernel(rows.square().sum(1), rows.shape[1]).sum()) for rows in (a, b)]
    n, m = len(a), len(b)
    return within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * _total(a, b) / (n * m)


def _total(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([_kernel(part @ b.T, a.shape[1]).sum() for part in a.split(BLOCK)]).sum()


def _kernel(products: Tensor, size: int) -> Tensor:
    return (products / size + 1) ** 3
