"""A normal whose covariance is of low rank but for the noise: x = loc + W z + noise, z and the noise normal.

    x ~ N(loc, W W' + diag(scale^2)),   z | x ~ N(M^-1 A' r, M^-1)

with A = W / scale, r = (x - loc) / scale and M = I + A' A: only matrices of K numbers a side are factorised (Woodbury).
NaN in a row is summed out: its terms are left out of A' r and of the row's own M.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.distributions import LOG_2PI, RowDistribution

NUMBERS = 2**22
"""How many numbers the precisions of rows that lack cells may hold at a time."""


class Posterior(NamedTuple):
    """p(z | x) of rows: mean [N, K], a root of its precision [N or 1, K, K], and log p(x), [N]."""

    mean: Tensor
    root: Tensor
    log_prob: Tensor

    @property
    def covariance(self) -> Tensor:
        return torch.cholesky_inverse(self.root)


def posterior_of(gaps: Tensor, loadings: Tensor, log_scale: Tensor) -> Posterior:
    """z of rows whose gaps from loc, [N, F], may hold NaN; loadings [F, K], log_scale [F]."""
    unknown = gaps.isnan()
    # filled before anything is multiplied by it: a gradient of zero times NaN would be NaN
    standard = torch.where(unknown, 0.0, gaps) * (-log_scale).exp()
    white = loadings * (-log_scale).exp().unsqueeze(-1)
    latent = loadings.shape[1]
    if unknown.any():
        known = (~unknown).to(white)
        products = (white.unsqueeze(-1) * white.unsqueeze(-2)).flatten(1)
        precision = (known @ products).unflatten(-1, (latent, latent))
        noise = known @ (log_scale + 0.5 * LOG_2PI)
    else:
        known, precision = None, (white.mT @ white).unsqueeze(0)
        noise = (log_scale + 0.5 * LOG_2PI).sum()
    root = torch.linalg.cholesky(precision + torch.eye(latent, dtype=white.dtype, device=white.device))
    projected = (standard @ white).unsqueeze(-1)
    mean = torch.cholesky_solve(projected, root).squeeze(-1)
    left = standard - mean @ white.mT
    # both terms are sums of squares: r'r - m'M m would lose its digits where the noise is small
    square = (left if known is None else left * known).square().sum(-1) + mean.square().sum(-1)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return Posterior(mean, root, -0.5 * square - log_det - noise)


class LowRankNormal(RowDistribution):
    """N(loc, W W' + diag(scale^2)) by loc [F], loadings W [F, K] and log_scale [F]; NaN in x is summed out."""

    has_rsample = True

    def __init__(self, loc: Tensor, loadings: Tensor, log_scale: Tensor, event_shape: torch.Size) -> None:
        self.loc, self.loadings, self.log_scale = loc, loadings, log_scale
        super().__init__(torch.Size(), event_shape)

    @property
    def mean(self) -> Tensor:
        return self._whole(self.loc)

    @property
    def variance(self) -> Tensor:
        return self._whole(self.loadings.square().sum(-1) + (2 * self.log_scale).exp())

    @property
    def covariance_matrix(self) -> Tensor:
        """[F, F], of the flattened row."""
        return self.loadings @ self.loadings.mT + (2 * self.log_scale).exp().diag()

    def _whole(self, numbers: Tensor) -> Tensor:
        return numbers.reshape(self.event_shape).expand(self._extended_shape())

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        rows = shape[: len(shape) - len(self.event_shape)]
        z, noise = (self.loc.new_empty(*rows, size).normal_() for size in reversed(self.loadings.shape))
        return (self.loc + z @ self.loadings.mT + self.log_scale.exp() * noise).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        batch = value.shape[: value.dim() - len(self.event_shape)]
        gaps = value.reshape(-1, len(self.loc)) - self.loc
        parts = [posterior_of(b, self.loadings, self.log_scale).log_prob for b in blocks(gaps, self.loadings)]
        return torch.cat(parts).reshape(batch).expand(torch.broadcast_shapes(batch, self.batch_shape))


def blocks(rows: Tensor, loadings: Tensor) -> tuple[Tensor, ...]:
    """Rows in blocks whose precisions fit in NUMBERS; rows that lack nothing share one, and stay together."""
    size = max(1, NUMBERS // loadings.shape[1] ** 2)
    return rows.split(size) if len(rows) > size and rows.isnan().any() else (rows,)
