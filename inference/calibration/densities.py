"""Densities for chains of many data sets: each chain its own data, each data set its own units."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from inference.program import Program
from inference.sampling.density import LogDensity
from inference.sampling.kernel import Density

RADIUS, TRIES = 2.0, 100
"""Starts are uniform so near to zero; how many are tried."""
SHRINK, TINY = 1.0, 1e-12


class SeparateData:
    """A density of q [C, dim] whose chains have data of their own, {name: [C, *shape]}: chain c is asked of row c."""

    def __init__(self, program: Program, observed: dict[str, Tensor]) -> None:
        self.program, self.observed = program, observed
        self.plain = LogDensity.of(program)
        self.dim = self.plain.dim
        self.evaluations = 0
        self._traced: torch.nn.Module | None = None

    def __call__(self, q: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.vmap(self._one)(q, self.observed)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        if self._traced is None:
            both = torch.vmap(torch.func.grad_and_value(self._one))
            self._traced = make_fx(lambda q: both(q, self.observed))(q)
        slope, value = self._traced(q)
        return value, slope

    def start(self) -> Tensor:
        """q of finite density and slope for every chain, uniform around zero."""
        chains = len(next(iter(self.observed.values())))
        q = torch.zeros(chains, self.dim, dtype=self.program.precision, device=self.program.device)
        missing = torch.ones(chains, dtype=torch.bool, device=q.device)
        for _ in range(TRIES):
            tried = RADIUS * (2 * torch.rand_like(q) - 1)
            value, slope = self.value_and_grad(tried)
            found = missing & value.isfinite() & slope.isfinite().all(-1)
            q[found] = tried[found]
            missing &= ~found
            if not missing.any():
                return q
        raise ValueError(f"{self.program.name}: no start of finite density for {int(missing.sum())} of {chains} chains")

    def _one(self, q: Tensor, observed: dict[str, Tensor]) -> Tensor:
        return LogDensity.of(self.program.with_observed(observed))._single(q)


class Whitened:
    """A density whose chains, in groups of equal size, each see their own posterior as round and of unit size.

    q = centre + scale u, with centre [S, dim] and scale [S, dim, dim] of each group, learnt of its positions.
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

    def __call__(self, u: Tensor) -> Tensor:
        return self.density(self.back(u))

    def value_and_grad(self, u: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.density.value_and_grad(self.back(u))
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
