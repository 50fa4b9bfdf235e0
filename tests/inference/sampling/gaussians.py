"""Closed-form densities with the methods of a program's."""

from __future__ import annotations

import torch
from torch import Tensor


class Gaussian:
    """N(mean, covariance) up to a constant."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.covariance = mean, covariance
        self.precision = torch.linalg.inv(covariance)
        self.dim = len(mean)
        self.evaluations = 0

    def __call__(self, q: Tensor) -> Tensor:
        off = q - self.mean
        return -0.5 * ((off @ self.precision) * off).sum(-1)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        return self(q), -(q - self.mean) @ self.precision


class Quartic:
    """-sum q^4 / 4 - q_0 q_1 / 2: not Gaussian, with a known slope."""

    dim = 3

    def __call__(self, q: Tensor) -> Tensor:
        return -0.25 * (q**4).sum(-1) - 0.5 * q[:, 0] * q[:, 1]

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        cross = torch.stack([q[:, 1], q[:, 0], torch.zeros_like(q[:, 0])], -1)
        return self(q), -(q**3) - 0.5 * cross


class TwoModes:
    """N(0, I) and, with a weight of exp(-500), N(30, I)."""

    dim = 2

    def __call__(self, q: Tensor) -> Tensor:
        return torch.logaddexp(-0.5 * q.square().sum(-1), -500 - 0.5 * (q - 30).square().sum(-1))

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        free = q.detach().requires_grad_()
        with torch.enable_grad():
            value = self(free)
            (slope,) = torch.autograd.grad(value.sum(), free)
        return value.detach(), slope


def skewed(dim: int, condition: float, seed: int = 0) -> Gaussian:
    """A Gaussian with variances from 1 / condition to 1 along directions that are no coordinates."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator)).Q
    variances = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), dim, dtype=torch.float64)
    mean = torch.linspace(-3, 3, dim, dtype=torch.float64)
    return Gaussian(mean, (directions * variances) @ directions.mT)
