"""Densities for chains of many data sets: each chain its own data, each data set its own units."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.program import Program
from inference.sampling.density import LogDensity
from inference.sampling.kernel import Density

SHRINK, TINY = 1.0, 1e-12
"""Positions a dimension at which correlations are half believed; the least variance."""


class SeparateData(LogDensity):
    """The density of q [C, dim] where chain c is asked of data of its own, row c of {name: [C, *shape]}."""

    def __init__(self, program: Program, observed: dict[str, Tensor]) -> None:
        super().__init__(program)
        self.observed = observed

    def of_all(self, q: Tensor) -> Tensor:
        return self.each(self._of_its_own, {"": q, **self.observed})

    def _of_its_own(self, row: dict[str, Tensor]) -> Tensor:
        observed = {name: row[name] for name in self.observed}
        return LogDensity.of(self.program.with_observed(observed)).single(row[""])


class Whitened:
    """A density whose chains, in groups of equal size, each see their own posterior as round and of unit size.

    It is asked of u, and gives the density of q = centre + scale u over that of `level` [S]: centre [S, dim] and scale
    [S, dim, dim] of each group are learnt of its positions. Kernels compare chains by their density, so that `level`
    should bring those of all groups to one.
    """

    def __init__(self, density: Density, level: Tensor, centre: Tensor, scale: Tensor) -> None:
        self.density, self.dim = density, density.dim
        self.level, self.centre, self.scale = level, centre, scale

    @classmethod
    def plain(cls, density: Density, level: Tensor) -> Whitened:
        """In the density's own units."""
        unit = torch.eye(density.dim, dtype=level.dtype, device=level.device)
        return cls(density, level, level.new_zeros(len(level), density.dim), unit.expand(len(level), -1, -1))

    @classmethod
    def by(cls, density: Density, level: Tensor, q: Tensor, slope: Tensor | None) -> Whitened:
        """In units in which the positions q and the slopes [S, n, dim] of each group vary alike.

        Without slopes, those in which positions vary by one. The fewer rows there are, the less their correlations are
        believed.
        """
        square = _covariance(q) if slope is None else geometric_means(_covariance(q), _covariance(slope))
        return cls(density, level, q.mean(1), torch.linalg.cholesky(square))

    def __call__(self, q: Tensor) -> Tensor:
        return self._levelled(self.density(self.back(q)))

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.density.value_and_grad(self.back(q))
        return self._levelled(value), (self._grouped(slope) @ self.scale).flatten(0, 1)

    def slope_there(self, slope: Tensor) -> Tensor:
        """The density's own slope of the slope in u, both [C, dim]."""
        return torch.linalg.solve_triangular(self.scale, self._grouped(slope), upper=False, left=False).flatten(0, 1)

    def back(self, u: Tensor) -> Tensor:
        """q of u, both [C, dim]."""
        return (self.centre.unsqueeze(1) + self._grouped(u) @ self.scale.mT).flatten(0, 1)

    def there(self, q: Tensor) -> Tensor:
        """u of q."""
        away = (self._grouped(q) - self.centre.unsqueeze(1)).mT
        return torch.linalg.solve_triangular(self.scale, away, upper=False).mT.flatten(0, 1)

    def _levelled(self, value: Tensor) -> Tensor:
        return (self._grouped(value) - self.level.unsqueeze(1)).flatten()

    def _grouped(self, q: Tensor) -> Tensor:
        return q.unflatten(0, (len(self.centre), -1))


def _covariance(rows: Tensor) -> Tensor:
    """Of rows [S, n, dim], [S, dim, dim]."""
    n = rows.shape[1]
    away = rows - rows.mean(1, keepdim=True)
    covariance = away.mT @ away / n
    own = covariance.diagonal(dim1=1, dim2=2).clamp(min=TINY).diag_embed()
    believed = n / (n + SHRINK * rows.shape[2])
    return believed * covariance + (1 - believed) * own


def geometric_means(spread: Tensor, steepness: Tensor) -> Tensor:
    """The S of S steepness S = spread, of each of [groups, dim, dim]: `adaptation.geometric_mean` of many."""
    root = torch.linalg.cholesky(steepness)
    values, vectors = torch.linalg.eigh(root.mT @ spread @ root)
    half = (vectors * values.clamp(min=TINY).sqrt().unsqueeze(-2)) @ vectors.mT
    unroot = torch.linalg.inv(root)
    mean = unroot.mT @ half @ unroot
    return (mean + mean.mT) / 2
