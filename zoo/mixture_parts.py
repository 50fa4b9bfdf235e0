"""Parts of a mixture of Gaussians: some of its numbers, alone or given others, in closed form.

Given x_B, component k has weight w_k N(x_B; k), and of it x_A is normal with mean m_A + C_AB C_BB^-1 (x_B - m_B) and
covariance C_AA - C_AB C_BB^-1 C_BA.

References:
    Pattern Recognition and Machine Learning (Bishop, 2006), section 2.3
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index

import pyro.distributions as dist
import torch
from torch import Tensor


def positions(dims: int | Sequence[int], features: int) -> Tensor:
    """Checked places among a row's numbers; negative ones count from the end."""
    several = list(dims) if isinstance(dims, Iterable) else [dims]
    try:
        found = [index(d) for d in several]
    except TypeError:  # no whole numbers
        found = []
    bad = any(isinstance(d, bool) for d in several) or any(not -features <= d < features for d in found)
    if not found or bad or len({d % features for d in found}) < len(found):
        raise ValueError(f"dims are different places among the {features} numbers of a row, not {dims}")
    return torch.tensor([d % features for d in found])


def conditional(
    log_weights: Tensor, means: Tensor, covariances: Tensor, known: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log-weights [N, K], means [N, K, m] and covariances [K, m, m] of the rest given values [N, b]; log p(values).

    `known` [b] are the places of the values among the numbers; the rest keep their order.
    """
    rest = torch.tensor([d for d in range(means.shape[1]) if d not in set(known.tolist())], device=means.device).long()
    known = known.to(means.device)
    root = torch.linalg.cholesky(covariances[:, known[:, None], known])
    gaps = values.unsqueeze(1) - means[:, known]
    standard = torch.linalg.solve_triangular(root, gaps.movedim(0, -1), upper=False)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = log_weights - log_det - 0.5 * len(known) * torch.log(torch.tensor(2 * torch.pi, dtype=means.dtype))
    joint = constant - 0.5 * standard.square().sum(1).mT
    across = torch.linalg.solve_triangular(root, covariances[:, known[:, None], rest], upper=False)
    shifted = means[:, rest] + (across.mT @ standard).movedim(-1, 0)
    left = covariances[:, rest[:, None], rest] - across.mT @ across
    evidence = joint.logsumexp(-1)
    return joint - evidence.unsqueeze(-1), shifted, left, evidence


def mixture(log_weights: Tensor, means: Tensor, covariances: Tensor) -> dist.MixtureSameFamily:
    """A mixture with its own weights and means for each row, [N, K] and [N, K, m]."""
    root = torch.linalg.cholesky(covariances)
    parts = dist.MultivariateNormal(means, scale_tril=root.expand(*means.shape[:-1], -1, -1))
    return dist.MixtureSameFamily(dist.Categorical(logits=log_weights), parts)
