"""Maps from real numbers onto the support of a latent, with their volume."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import IndependentTransform, Transform


def map_of(support: Any) -> Transform:
    """The map from all real numbers onto a support, one to one: torch's and Pyro's, and two for matrices they lack.

    Raises:
        NotImplementedError: the support has none, as that of discrete values or of a sphere.
    """
    if isinstance(support, constraints.independent):
        inner = map_of(support.base_constraint)
        return IndependentTransform(inner, support.reinterpreted_batch_ndims)
    for kind, made in _MATRICES:
        if isinstance(support, kind):
            return made()
    return biject_to(support)


class LowerCholesky(Transform):
    """D (D + 1) / 2 numbers, row by row, as a lower triangular matrix, those of its diagonal as logarithms."""

    domain = constraints.real_vector
    codomain: Any = constraints.lower_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        size = int((8 * x.shape[-1] + 1) ** 0.5) // 2
        rows, columns = torch.tril_indices(size, size, device=x.device)
        numbers = torch.where(rows == columns, x.exp(), x)
        at = torch.zeros(size * size, dtype=torch.long, device=x.device)
        at = at.scatter(0, rows * size + columns, torch.arange(len(rows), device=x.device))
        return numbers[..., at].reshape(*x.shape[:-1], size, size).tril()

    def _inverse(self, y: Tensor) -> Tensor:
        rows, columns = torch.tril_indices(y.shape[-1], y.shape[-1], device=y.device)
        numbers = y[..., rows, columns]
        return torch.where(rows == columns, numbers.abs().log(), numbers)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return y.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def inverse_shape(self, shape: Any) -> torch.Size:
        return torch.Size((*shape[:-2], shape[-1] * (shape[-1] + 1) // 2))


class PositiveDefinite(LowerCholesky):
    """A positive definite matrix by its Cholesky factor; its volume is that of its lower triangle."""

    codomain: Any = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = super()._call(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return super()._inverse(torch.linalg.cholesky(y))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        logs = LowerCholesky()(x).diagonal(dim1=-2, dim2=-1).log()
        size = logs.shape[-1]
        return size * torch.tensor(2.0).log() + (torch.arange(size + 1, 1, -1, device=x.device) * logs).sum(-1)


_MATRICES = [
    (type(constraints.positive_definite), PositiveDefinite),
    (type(constraints.lower_cholesky), LowerCholesky),
]
