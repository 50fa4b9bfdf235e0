"""Whether samples look like data, and whether data is found among the samples: by nearest neighbours.

With B(a) the ball around a row a that reaches to its k-th nearest neighbour in a's own set:

    precision   the share of samples within some B(row of data)
    recall      the share of data within some B(sample)
    density     the number of B(row of data) that a sample is within, over k, mean over the samples
    coverage    the share of data whose B(row of data) has a sample within

References:
    Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019), 1904.06991
    Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), https://arxiv.org/abs/2002.09797
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from inference.quality.estimates import Estimate, around, share

BLOCK = 1024


class Fidelity(NamedTuple):
    """Precision and density say how good the samples are, recall and coverage how much of the data they reach.

    The intervals are those of means over independent rows; that the balls are of few rows too is not in them.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def fidelity(data: Tensor, samples: Tensor, *, k: int = 5) -> Fidelity:
    """Precision, recall, density and coverage of samples beside data, [N, D] and [M, D] in the same features."""
    data, samples = (rows.detach().double() for rows in (data, samples))
    if data.dim() != 2 or samples.dim() != 2 or data.shape[1] != samples.shape[1]:
        raise ValueError(f"two sets of rows [N, D] are compared, not {list(data.shape)} and {list(samples.shape)}")
    if not 1 <= k < min(len(data), len(samples)):
        raise ValueError(f"k must be at least 1 and below the {min(len(data), len(samples))} rows, not {k}")
    reach, reach_of_samples = _reach(data, k), _reach(samples, k)
    within, reached = samples.new_zeros(len(samples)), data.new_zeros(len(data), dtype=torch.bool)
    recalled = torch.zeros_like(reached)
    for start in range(0, len(samples), BLOCK):
        part = slice(start, start + BLOCK)
        gaps = torch.cdist(samples[part], data, compute_mode="donot_use_mm_for_euclid_dist")
        inside = gaps <= reach
        within[part] = inside.sum(1).double()
        reached |= inside.any(0)
        recalled |= (gaps <= reach_of_samples[part].unsqueeze(1)).any(0)
    precision, recall, coverage = (share(int(hits.sum()), len(hits)) for hits in (within > 0, recalled, reached))
    density = (within / k).mean().item(), (within / k).std().item() / len(within) ** 0.5
    return Fidelity(precision, recall, around(*density, len(within)), coverage)


def _reach(rows: Tensor, k: int) -> Tensor:
    """The distance of each row to its k-th nearest neighbour, itself not counted."""
    gaps = (torch.cdist(part, rows, compute_mode="donot_use_mm_for_euclid_dist") for part in rows.split(BLOCK))
    return torch.cat([part.kthvalue(k + 1, 1).values for part in gaps])
