"""The four forms that a mixture's covariances take, each an object behind its plain name.

A form holds the factor A of the precision, A' A = inverse covariance, A lower triangular with
exp(log_diagonal) on its diagonal. Any numbers are a positive definite matrix,
so gradients may move them freely. K components
have G factors, G = K or, where they share one, 1. Closed-form updates are made in float64.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Covariance(nn.Module, ABC):
    """K covariances of d numbers, by the factors of their precisions.

    A "second moment" is what an update is made from: [K, d, d] for dense forms, [K, d] for axis-aligned ones.
    """

    log_diagonal: nn.Parameter

    def __init__(self, components: int, features: int) -> None:
        super().__init__()
        self.components, self.features = components, features

    @abstractmethod
    def whiten(self, gaps: Tensor) -> Tensor:
        """A (x - mean) for gaps [K, N, d]."""

    @abstractmethod
    def colour(self, noise: Tensor, component: int) -> Tensor:
        """Standard normal rows [n, d] turned into rows of one component's covariance."""

    @abstractmethod
    def half_log_det(self) -> Tensor:
        """Half the log-determinant of each precision, [G]."""

    @abstractmethod
    def precision(self, scale: Tensor) -> Tensor:
        """Precisions of x / scale in float64: [G, d, d], or their diagonals [G, d]."""

    @abstractmethod
    def covariances(self) -> Tensor:
        """The covariance matrices, [K, d, d]."""

    @property
    @abstractmethod
    def products(self) -> int:
        """How many products of two numbers of a row `write_products` gives."""

    @abstractmethod
    def write_products(self, x: Tensor, out: Tensor) -> None:
        """The products of rows x [N, d] that quadratic forms are made of, into out [N, products]."""

    @abstractmethod
    def quadratic(self, precision: Tensor) -> Tensor:
        """-1/2 x' P x as coefficients of the products, [G, products]."""

    @abstractmethod
    def times(self, precision: Tensor, means: Tensor) -> Tensor:
        """P m for each component, [K, d]."""

    @abstractmethod
    def unpack(self, products: Tensor) -> Tensor:
        """Sums of products [K, products] as second moments."""

    @abstractmethod
    def second(self, gaps: Tensor, weights: Tensor) -> Tensor:
        """Second moments of gaps [K, N, d] weighted by [K, N]."""

    @abstractmethod
    def outer(self, vector: Tensor) -> Tensor:
        """Second moments of single vectors [K, d]."""

    @abstractmethod
    def update(self, second: Tensor, weights: Tensor, ridge: float) -> None:
        """Set the covariances to second moments [K, ...], averaged by weights where shared, plus a ridge."""


class Dense(Covariance):
    """Factors with an entry for every pair of numbers."""

    def __init__(self, components: int, features: int, groups: int) -> None:
        super().__init__(components, features)
        self.log_diagonal = nn.Parameter(torch.zeros(groups, features))
        if features > 1:
            self.below = nn.Parameter(torch.zeros(groups, features * (features - 1) // 2))

    def factor(self) -> Tensor:
        """A, [G, d, d]."""
        factor = torch.diag_embed(self.log_diagonal.exp())
        if self.features == 1:
            return factor
        row, column = torch.tril_indices(self.features, self.features, -1, device=factor.device)
        return factor.index_put((slice_of(factor), row, column), self.below)

    def whiten(self, gaps: Tensor) -> Tensor:
        return gaps @ self.factor().mT

    def colour(self, noise: Tensor, component: int) -> Tensor:
        factor = self.factor()[component % len(self.log_diagonal)]
        return torch.linalg.solve_triangular(factor, noise.mT, upper=False).mT

    def half_log_det(self) -> Tensor:
        return self.log_diagonal.sum(-1)

    def precision(self, scale: Tensor) -> Tensor:
        factor = self.factor().double() * scale
        return factor.mT @ factor

    def covariances(self) -> Tensor:
        factor = self.factor()
        root = torch.linalg.solve_triangular(factor, torch.eye(self.features).to(factor), upper=False)
        return (root @ root.mT).expand(self.components, -1, -1)

    @property
    def products(self) -> int:
        return self.features * (self.features + 1) // 2

    def write_products(self, x: Tensor, out: Tensor) -> None:
        begin = 0
        for i in range(self.features):
            torch.mul(x[:, i : i + 1], x[:, : i + 1], out=out[:, begin : begin + i + 1])
            begin += i + 1

    def quadratic(self, precision: Tensor) -> Tensor:
        row, column = torch.tril_indices(self.features, self.features, device=precision.device)
        return torch.where(row == column, -0.5, -1.0).to(precision) * precision[:, row, column]

    def times(self, precision: Tensor, means: Tensor) -> Tensor:
        return (precision @ means.unsqueeze(-1)).squeeze(-1)

    def unpack(self, products: Tensor) -> Tensor:
        row, column = torch.tril_indices(self.features, self.features, device=products.device)
        square = products.new_zeros(len(products), self.features, self.features)
        square[:, row, column] = products
        square[:, column, row] = products
        return square

    def second(self, gaps: Tensor, weights: Tensor) -> Tensor:
        return (gaps * weights.unsqueeze(-1)).mT @ gaps

    def outer(self, vector: Tensor) -> Tensor:
        return vector.unsqueeze(-1) * vector.unsqueeze(-2)

    def store(self, covariances: Tensor, ridge: float) -> None:
        """Set the factors to those of covariances [G, d, d], to which the ridge has been added."""
        root, failed = torch.linalg.cholesky_ex(covariances)
        if failed.any() and ridge > 0:
            # No eigenvalue is below the ridge but by rounding, which a floor takes back.
            values, vectors = torch.linalg.eigh(covariances)
            floored = (vectors * values.clamp(min=ridge).unsqueeze(-2)) @ vectors.mT
            covariances = torch.where((failed > 0).reshape(-1, 1, 1), floored, covariances)
            root, failed = torch.linalg.cholesky_ex(covariances)
        if failed.any():
            raise ValueError(
                f"the covariance of component {int(torch.nonzero(failed)[0])} is not positive definite: "
                "take fewer components, another covariance form, or a larger ridge"
            )
        eye = torch.eye(self.features, dtype=root.dtype, device=root.device)
        factor = torch.linalg.solve_triangular(root, eye, upper=False)
        self.log_diagonal.copy_(factor.diagonal(dim1=-2, dim2=-1).log())
        if self.features > 1:
            row, column = torch.tril_indices(self.features, self.features, -1, device=root.device)
            self.below.copy_(factor[:, row, column])


class Full(Dense):
    """A covariance matrix for each component."""

    def __init__(self, components: int, features: int) -> None:
        super().__init__(components, features, components)

    def update(self, second: Tensor, weights: Tensor, ridge: float) -> None:
        self.store(second + ridge * torch.eye(self.features).to(second), ridge)


class Tied(Dense):
    """One covariance matrix that all components share."""

    def __init__(self, components: int, features: int) -> None:
        super().__init__(components, features, 1)

    def update(self, second: Tensor, weights: Tensor, ridge: float) -> None:
        shared = torch.einsum("k,kij->ij", weights, second) / weights.sum()
        self.store((shared + ridge * torch.eye(self.features).to(second)).unsqueeze(0), ridge)


class Axes(Covariance):
    """Covariances along the axes: the numbers of a row are independent within a component."""

    def __init__(self, components: int, features: int, widths: int) -> None:
        super().__init__(components, features)
        self.log_diagonal = nn.Parameter(torch.zeros(components, widths))

    def _log_diagonal(self) -> Tensor:
        return self.log_diagonal.expand(-1, self.features)

    def whiten(self, gaps: Tensor) -> Tensor:
        return gaps * self.log_diagonal.exp().unsqueeze(1)

    def colour(self, noise: Tensor, component: int) -> Tensor:
        return noise * (-self.log_diagonal[component]).exp()

    def half_log_det(self) -> Tensor:
        return self._log_diagonal().sum(-1)

    def precision(self, scale: Tensor) -> Tensor:
        return (2 * self._log_diagonal().double()).exp() * scale.square()

    def covariances(self) -> Tensor:
        return torch.diag_embed((-2 * self._log_diagonal()).exp())

    @property
    def products(self) -> int:
        return self.features

    def write_products(self, x: Tensor, out: Tensor) -> None:
        torch.mul(x, x, out=out)

    def quadratic(self, precision: Tensor) -> Tensor:
        return -0.5 * precision

    def times(self, precision: Tensor, means: Tensor) -> Tensor:
        return precision * means

    def unpack(self, products: Tensor) -> Tensor:
        return products

    def second(self, gaps: Tensor, weights: Tensor) -> Tensor:
        return (gaps.square() * weights.unsqueeze(-1)).sum(1)

    def outer(self, vector: Tensor) -> Tensor:
        return vector.square()

    def update(self, second: Tensor, weights: Tensor, ridge: float) -> None:
        # Rounding alone makes a variance negative.
        variances = self.pool(second).clamp(min=0) + ridge
        if not (variances > 0).all():
            raise ValueError("a variance of a component is zero: take fewer components, or a larger ridge")
        self.log_diagonal.copy_(-0.5 * variances.log())

    @abstractmethod
    def pool(self, variances: Tensor) -> Tensor:
        """The variances [K, d] averaged as the form shares them."""


class Diagonal(Axes):
    """A variance for each number of a row and each component."""

    def __init__(self, components: int, features: int) -> None:
        super().__init__(components, features, features)

    def pool(self, variances: Tensor) -> Tensor:
        return variances


class Spherical(Axes):
    """One variance for each component."""

    def __init__(self, components: int, features: int) -> None:
        super().__init__(components, features, 1)

    def pool(self, variances: Tensor) -> Tensor:
        return variances.mean(-1, keepdim=True)


FORMS: dict[str, type[Covariance]] = {
    "full": Full,
    "tied": Tied,
    "diagonal": Diagonal,
    "spherical": Spherical,
}


def covariance_of(name: str, components: int, features: int) -> Covariance:
    """The form of this name; an unknown name is refused with the nearest ones."""
    if name not in FORMS:
        near = difflib.get_close_matches(str(name), FORMS, cutoff=0.3) or list(FORMS)
        raise ValueError(f"covariance {name!r} is unknown: take one of {', '.join(FORMS)} (nearest: {', '.join(near)})")
    return FORMS[name](components, features)


def slice_of(groups: Tensor) -> Tensor:
    """The index of every group, [G, 1], to write into all of them at once."""
    return torch.arange(len(groups), device=groups.device).unsqueeze(-1)
