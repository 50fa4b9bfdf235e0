"""Normal approximations along a path of optimisation: a diagonal and a few directions, in closed form.

References:
    Pathfinder: Parallel quasi-Newton variational inference (Zhang, Carpenter, Gelman and Vehtari, 2022),
    https://arxiv.org/abs/2108.03782
    Representations of quasi-Newton matrices and their use in limited memory methods (Byrd, Nocedal and Schnabel, 1994)
    Some numerical experiments with variable-storage quasi-Newton algorithms (Gilbert and Lemarechal, 1989)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CURVED = 1e-12
"""A step tells of curvature where s'z is more than this share of z'z."""


@dataclass(frozen=True)
class History:
    """What the last J steps of each of K paths told: s and z [K, J, dim], zeros where none yet, alpha [K, dim].

    s is a step, z the fall of the gradient of the log density along it; alpha the diagonal that L-BFGS starts from.
    """

    s: Tensor
    z: Tensor
    alpha: Tensor

    @staticmethod
    def begin(slope: Tensor, size: int) -> History:
        """Of paths that have not moved; their first step would be one long at most."""
        none = slope.new_zeros(len(slope), size, slope.shape[-1])
        return History(none, none, (1 / slope.norm(dim=-1, keepdim=True)).clamp(max=1.0).expand_as(slope))

    def after(self, s: Tensor, z: Tensor) -> History:
        """With a step more, [K, dim] each, of those paths on which the density curves downwards along it."""
        told = ((s * z).sum(-1) > CURVED * (z * z).sum(-1))[:, None]
        alpha = torch.where(told, _diagonal(self.alpha, s, z), self.alpha)
        pushed_s, pushed_z = (torch.cat([old[:, 1:], new[:, None]], 1) for old, new in ((self.s, s), (self.z, z)))
        return History(
            torch.where(told[..., None], pushed_s, self.s), torch.where(told[..., None], pushed_z, self.z), alpha
        )

    def normal(self, q: Tensor, slope: Tensor) -> Normal:
        """The normals that the paths' last points [K, dim] and what they saw make."""
        s_z = self.s @ self.z.mT
        r = s_z.triu()
        r = r + torch.diag_embed((r.diagonal(dim1=-2, dim2=-1) == 0).to(r))  # a one for each step not yet made
        scaled = self.alpha[:, None] * self.z
        beta = torch.cat([scaled, self.s], 1).mT
        inverse = torch.linalg.solve_triangular(r, torch.eye(r.shape[-1]).to(r).expand_as(r), upper=True)
        eta = torch.diag_embed(s_z.diagonal(dim1=-2, dim2=-1))
        corner = inverse.mT @ (eta + self.z @ scaled.mT) @ inverse
        gamma = torch.cat([torch.cat([torch.zeros_like(r), -inverse], -1), torch.cat([-inverse.mT, corner], -1)], -2)
        return Normal.of(q, slope, self.alpha, beta, gamma)


def _diagonal(alpha: Tensor, s: Tensor, z: Tensor) -> Tensor:
    """The diagonal of the inverse Hessian that a step asks for."""
    a, b, c = ((x * y).sum(-1, keepdim=True) for x, y in ((z * alpha, z), (z, s), (s / alpha, s)))
    return 1 / (a / (b * alpha) + z**2 / b - a * s**2 / (b * c * alpha**2))


@dataclass(frozen=True)
class Normal:
    """K normals of covariance diag(alpha) + beta gamma beta', their square root by a thin factor.

    The root is alpha^(1/2) (I + basis (cholesky - I) basis'): basis [K, dim, r] orthonormal, cholesky [K, r, r].
    """

    mean: Tensor
    alpha: Tensor
    basis: Tensor
    cholesky: Tensor

    @staticmethod
    def of(q: Tensor, slope: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor) -> Normal:
        """The normals a Newton step from points q of slope [K, dim] away."""
        root = alpha.sqrt()[..., None]
        basis, upper = torch.linalg.qr(beta / root)
        inner = torch.eye(basis.shape[-1]).to(alpha) + upper @ gamma @ upper.mT
        cholesky, _ = torch.linalg.cholesky_ex((inner + inner.mT) / 2)
        made = Normal(q, alpha, basis, cholesky)
        return Normal(q + made.times(slope), alpha, basis, cholesky)

    @property
    def sound(self) -> Tensor:
        """Which of the K have a covariance, [K]."""
        heights = self.cholesky.diagonal(dim1=-2, dim2=-1)
        return (heights > 0).all(-1) & torch.isfinite(self.cholesky).flatten(1).all(-1) & (self.alpha > 0).all(-1)

    def root(self, noise: Tensor) -> Tensor:
        """The square root of the covariances times noise [n, K, dim]."""
        inside = torch.einsum("kdr,nkd->nkr", self.basis, noise)
        moved = torch.einsum("kij,nkj->nki", self.cholesky, inside) - inside
        return self.alpha.sqrt() * (noise + torch.einsum("kdr,nkr->nkd", self.basis, moved))

    def times(self, vector: Tensor) -> Tensor:
        """The covariances times vectors [K, dim]."""
        root = self.alpha.sqrt()
        inside = torch.einsum("kdr,kd->kr", self.basis, root * vector)
        twice = torch.einsum("kij,klj,kl->ki", self.cholesky, self.cholesky, inside) - inside
        return root * (root * vector + torch.einsum("kdr,kr->kd", self.basis, twice))

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Draws [n, K, dim] by torch's generator, and their log density [n, K], nats."""
        noise = torch.randn(n, *self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        log_prob = -0.5 * (noise**2).sum(-1) - 0.5 * noise.shape[-1] * math.log(2 * math.pi) - self.log_volume
        return self.mean + self.root(noise), log_prob

    @property
    def log_volume(self) -> Tensor:
        """Half the log determinant of the covariances, [K]."""
        return 0.5 * self.alpha.log().sum(-1) + self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def variance(self) -> Tensor:
        """The diagonals of the covariances, [K, dim]."""
        return self.covariance().diagonal(dim1=-2, dim2=-1)

    def covariance(self) -> Tensor:
        """[K, dim, dim]."""
        eye = torch.eye(self.mean.shape[-1]).to(self.mean)
        root = self.root(eye[:, None].expand(-1, len(self.mean), -1)).permute(1, 2, 0)
        return root @ root.mT

    def tril(self) -> Tensor:
        """The covariances' Cholesky factors, [K, dim, dim]."""
        return torch.linalg.cholesky(self.covariance())

    def where(self, mask: Tensor, other: Normal) -> Normal:
        """These where mask [K] says so, the others elsewhere."""

        def pick(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)

        return Normal(
            pick(self.mean, other.mean),
            pick(self.alpha, other.alpha),
            pick(self.basis, other.basis),
            pick(self.cholesky, other.cholesky),
        )

    def part(self, index: Tensor) -> Normal:
        """Some of the K."""
        return Normal(self.mean[index], self.alpha[index], self.basis[index], self.cholesky[index])
