"""Rows drawn by their weights."""

from __future__ import annotations

import torch
from torch import Tensor


def systematic(weights: Tensor, offset: Tensor) -> Tensor:
    """Which row each of N places goes to [..., N]: to row i as often as N times its weight [..., N], up to rounding.

    `offset` [..., 1] is one uniform number for all places, which makes the expected number exact.
    """
    size = weights.shape[-1]
    places = (torch.arange(size, dtype=weights.dtype, device=weights.device) + offset) / size
    ends = weights.cumsum(-1)
    return torch.searchsorted(ends / ends[..., -1:], places, right=True).clamp(max=size - 1)


def by_seed(weights: Tensor, seed: int) -> Tensor:
    """The same of weights [N], with the offset that a seed gives, in double precision."""
    offset = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return systematic(weights.cpu().double(), offset).to(weights.device)
