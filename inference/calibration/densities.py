"""Densities for chains of many data sets: each chain its own data, each data set its own units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    def _each(self, one: Callable[[Any], Any], rows: Any) -> Any:
        if one != self._single:  # maps of values to and fro, which read no data
            return super()._each(one, rows)
        return torch.vmap(self._of_its_own)(rows, self.observed)

    def _of_its_own(self, q: Tensor, observed: dict[str, Tensor]) -> Tensor:
        return LogDensity.of(self.program.with_observed(observed))._single(q)


class Whitened:
    """A density whose chains, in groups of equal size, each see their own posterior as round and of unit size.

    It is asked of u, and gives the density of q = centre + scale u: centre [S, dim] and scale [S, dim, dim] of each
    group are learnt of its positions.
    """

    def __init__(self, density: Density, centre: Tensor, scale: Tensor) -> None:
        self.density, self.dim = density, density.dim
        self.centre, self.scale = centre, scale

    @classmethod
    def by(cls, density: Density, q: Tensor, size: Tensor) -> Whitened:
        """By the positions q [S, n, dim] of each group; the fewer there are, the less their correlations are believed.

        `size` [S] is how large a unit is: a group whose density bends sharply needs small ones.
        """
        n = q.shape[1]
        away = q - q.mean(1, keepdim=True)
        covariance = away.mT @ away / n
        own = covariance.diagonal(dim1=1, dim2=2).clamp(min=TINY).diag_embed()
        believed = n / (n + SHRINK * q.shape[2])
        scale = torch.linalg.cholesky(believed * covariance + (1 - believed) * own)
        return cls(density, q.mean(1), scale * size[:, None, None])

    def __call__(self, q: Tensor) -> Tensor:
        return self.density(self.back(q))

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.density.value_and_grad(self.back(q))
        return value, (self._grouped(slope) @ self.scale).flatten(0, 1)

    def back(self, u: Tensor) -> Tensor:
        """q of u, both [C, dim]."""
        return (self.centre.unsqueeze(1) + self._grouped(u) @ self.scale.mT).flatten(0, 1)

    def there(self, q: Tensor) -> Tensor:
        """u of q."""
        away = (self._grouped(q) - self.centre.unsqueeze(1)).mT
        return torch.linalg.solve_triangular(self.scale, away, upper=False).mT.flatten(0, 1)

    def _grouped(self, q: Tensor) -> Tensor:
        return q.unflatten(0, (len(self.centre), -1))
