"""Log densities known in closed form, with the methods that the package asks for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class Known:
    """log p(q) given as a function of rows; slopes and curvature by autograd."""

    def __init__(self, dim: int, log_density: Callable[[Tensor], Tensor], radius: float = 2.0) -> None:
        self.dim, self.log_density, self.radius = dim, log_density, radius
        self.names = [f"q[{i}]" for i in range(dim)]

    def __call__(self, q: Tensor) -> Tensor:
        return self.log_density(q)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            q = q.detach().requires_grad_()
            value = self.log_density(q)
            (slope,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), slope

    def hessian(self, q: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.func.jacrev(torch.func.grad(lambda one: self.log_density(one[None])[0]))(q)

    def constrain(self, q: Tensor) -> dict[str, Tensor]:
        return {"q": q}

    def start(self, chains: int) -> Tensor:
        return self.radius * (2 * torch.rand(chains, self.dim, dtype=torch.float64) - 1)


def gaussian(mean: Tensor, covariance: Tensor, log_evidence: float = 0.0) -> Known:
    """exp(log_evidence) times a normal."""
    normal = torch.distributions.MultivariateNormal(mean, covariance)
    return Known(len(mean), lambda q: normal.log_prob(q) + log_evidence)


def two_modes(gap: float, share: float) -> Known:
    """share N(0, 1) + (1 - share) N(gap, 1), one number."""

    def log_density(q: Tensor) -> Tensor:
        first, second = (-0.5 * (q[:, 0] - place) ** 2 - 0.5 * math.log(2 * math.pi) for place in (0.0, gap))
        return torch.logaddexp(first + math.log(share), second + math.log1p(-share))

    return Known(1, log_density, radius=1.5 * gap)


def covariance(dim: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    """A covariance with correlations and, by `spread`, unequal scales."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    scales = torch.linspace(-spread, spread, dim, dtype=torch.float64).exp()
    return scales[:, None] * (root @ root.T / dim + 0.3 * torch.eye(dim, dtype=torch.float64)) * scales
