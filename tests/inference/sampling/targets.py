"""Densities of closed form with exact draws, and what must hold of draws that a kernel has moved."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Target:
    """A log density by autograd, with the methods that kernels ask for."""

    dim: int

    def __call__(self, q: Tensor) -> Tensor:
        raise NotImplementedError

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            q = q.detach().requires_grad_()
            value = self(q)
            (slope,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), slope


class Gaussian(Target):
    """N(mean, covariance), normalised."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.dim = len(mean)
        self.distribution = torch.distributions.MultivariateNormal(mean.double(), covariance.double())

    @classmethod
    def correlated(cls, dim: int, seed: int = 0) -> Gaussian:
        """Scales from 0.1 to 10, and correlations."""
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim) + torch.eye(dim)
        scale = torch.logspace(-1, 1, dim, dtype=torch.float64)
        return cls(torch.arange(dim) - 1.0, scale[:, None] * (root @ root.T) * scale)

    def __call__(self, q: Tensor) -> Tensor:
        return self.distribution.log_prob(q)

    def draw(self, n: int) -> Tensor:
        return self.distribution.sample((n,))


class Banana(Target):
    """x standard normal and y = x^2 + 0.5 times another: the slope's size changes over the space."""

    dim = 2

    def __call__(self, q: Tensor) -> Tensor:
        x, y = q.unbind(-1)
        return -0.5 * x.square() - 0.5 * ((y - x.square()) / 0.5).square() - math.log(2 * math.pi * 0.5)

    def draw(self, n: int) -> Tensor:
        x, e = torch.randn(2, n, dtype=torch.float64)
        return torch.stack([x, x.square() + 0.5 * e], -1)

    def normal(self, q: Tensor) -> Tensor:
        """The two standard normal numbers that q is made of."""
        x, y = q.unbind(-1)
        return torch.stack([x, (y - x.square()) / 0.5], -1)


class Mixture(Target):
    """Two Gaussians of unit covariance in `dim` dimensions, at -apart / 2 and apart / 2 of the first axis."""

    def __init__(self, dim: int, apart: float, weight: float) -> None:
        self.dim, self.weight = dim, weight
        self.at = torch.zeros(2, dim, dtype=torch.float64)
        self.at[:, 0] = torch.tensor([-apart / 2, apart / 2])

    def __call__(self, q: Tensor) -> Tensor:
        squares = (q[:, None] - self.at).square().sum(-1)
        weights = torch.tensor([1 - self.weight, self.weight], dtype=torch.float64).log()
        return (weights - 0.5 * squares).logsumexp(-1) - 0.5 * self.dim * math.log(2 * math.pi)


def moment_scores(normal: Tensor) -> Tensor:
    """Z scores of the means, the mean products and the mean fourth powers of rows [N, dim] of standard normals."""
    n, dim = normal.shape
    rows, columns = torch.triu_indices(dim, dim)
    products = normal[:, rows] * normal[:, columns]
    spread = torch.where(rows == columns, math.sqrt(2), 1.0)
    means = normal.mean(0) * math.sqrt(n)
    seconds = (products.mean(0) - (rows == columns).double()) / spread * math.sqrt(n)
    fourths = (normal.pow(4).mean(0) - 3) / math.sqrt(96) * math.sqrt(n)
    return torch.cat([means, seconds, fourths])
