"""Bayesian matrix factorisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from zoo.base import Model, Shape
from zoo.distributions import LOG_2PI
from zoo.low_rank import NUMBERS


class BayesianMatrixFactorisation(Model):
    """Bayesian matrix factorisation: rows (users) and columns (items) of a table with gaps as products of factors.

    prod_j N(items_j; 0, diag(spread^2)) prod_n N(z_n; 0, I) prod_known N(x_nj; centre + items_j' (z_n, 1), scale^2).

    The last of an item's numbers is its bias. The posterior is variational, prod_j q(items_j) prod_n q(z_n), all normal
    with full covariances, each update in closed form: `inference.em` climbs the bound, its column `log_posterior`. The
    spreads are learned, so factors that are not needed shrink away. Gaps (NaN) are what is not known; `predict` says
    what may be there.

    Sites: "items" [F, latent + 1]; in the plate "data" the rows' "z" [latent] and "x". A batch counts as `size` rows.

    Shapes: x is [N, F]. `elbo` is in nats a row.

    Parameters:
        size: how many rows the whole table has.
        latent: how many factors at most.

    References:
        Bayesian Probabilistic Matrix Factorization using Markov Chain Monte Carlo (Salakhutdinov and Mnih, 2008), for
            the model
        Variational Bayesian Approach to Movie Rating Prediction (Lim and Teh, 2007), for the updates
    """

    kind = "latent variable"
    likelihood = "lower bound"
    capabilities = Model.capabilities | {"em_start", "prepare", "expect", "maximise"}
    refusals: ClassVar[Mapping[str, str]] = {
        "log_prob": "its likelihood integrates over the items; ask elbo, a lower bound",
        "distribution": "its likelihood integrates over the items; ask elbo, a lower bound",
    }
    missing_code = math.nan

    centre: Tensor

    def __init__(self, event_shape: Shape, *, size: int, context_shape: Shape | None = None, latent: int = 4) -> None:
        if context_shape is not None:
            raise ValueError(
                f"BayesianMatrixFactorisation takes no context, but was given context_shape {context_shape}"
            )
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(f"event_shape must be the number of items, [F], not {list(self.event_shape)}")
        for name, value in (("size", size), ("latent", latent)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.size, self.latent = size, torch.Size([latent])
        self.items_mean = nn.Parameter(0.3 * torch.randn(self.features, latent + 1))
        # a root of q's covariances, with the logarithms of its diagonal in the diagonal's place
        self.items_root = nn.Parameter(torch.eye(latent + 1).mul(-2.0).repeat(self.features, 1, 1))
        self.log_spread = nn.Parameter(torch.zeros(latent + 1))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("centre", torch.zeros(()))

    def extra_repr(self) -> str:
        return f"{self.size} rows x {self.features} items, {self.latent[0]} factors"

    # ---- the pair

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        prior = dist.Normal(torch.zeros_like(self.items_mean), self.log_spread.exp()).to_event(2)
        items = pyro.sample("items", prior)
        count = n if x is None else len(x)
        factor = 1.0 if x is None else self.size / count
        with pyro.poutine.scale(scale=factor), pyro.plate("data", count):
            zeros = torch.zeros_like(self.log_spread[:-1])
            z = pyro.sample("z", dist.Normal(zeros, 1.0).to_event(1))
            cells = dist.Normal(self.centre + z @ items[:, :-1].mT + items[:, -1], self.log_scale.exp())
            if x is None:
                return pyro.sample("x", cells.to_event(1))
            known = ~x.isnan()
            return pyro.sample("x", cells.mask(known).to_event(1), obs=torch.where(known, x, 0.0))

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        self.check(x, context)
        pyro.sample("items", self.items)
        mean, root, _ = self._rows(x - self.centre)
        with pyro.poutine.scale(scale=self.size / len(x)), pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(mean, scale_tril=torch.linalg.cholesky(_inverse(root))))

    @property
    def items(self) -> dist.TorchDistribution:
        """q(items), [F, latent + 1]."""
        return dist.MultivariateNormal(self.items_mean, scale_tril=self._root, validate_args=False).to_event(1)

    @property
    def _root(self) -> Tensor:
        return self.items_root.tril(-1) + self.items_root.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _moments(self) -> tuple[Tensor, Tensor]:
        """E[items_j] and E[items_j items_j'], [F, K+1] and [F, K+1, K+1]."""
        mean, root = self.items_mean, self._root
        return mean, mean.unsqueeze(-1) * mean.unsqueeze(-2) + root @ root.mT

    def _rows(self, gaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q(z) of rows given q(items), which is optimal: mean, root of its precision, and the bound's share, [N]."""
        known = (~gaps.isnan()).to(gaps)
        y, noise = torch.where(gaps.isnan(), 0.0, gaps), (-2 * self.log_scale).exp().to(gaps)
        mean, second = (part.to(gaps) for part in self._moments())
        k = mean.shape[1] - 1
        eye = torch.eye(k, dtype=gaps.dtype, device=gaps.device)
        precision = eye + noise * (known @ second[:, :k, :k].flatten(1)).unflatten(-1, (k, k))
        pull = noise * (y @ mean[:, :k] - known @ second[:, :k, k])
        root = torch.linalg.cholesky(precision)
        z = torch.cholesky_solve(pull.unsqueeze(-1), root).squeeze(-1)
        square = y.square().sum(-1) - 2 * y @ mean[:, k] + known @ second[:, k, k]
        constant = known.sum(-1) * (LOG_2PI + 2 * self.log_scale.to(gaps))
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return z, root, 0.5 * ((pull * z).sum(-1) - constant - noise * square) - log_det

    # ---- what is asked of it

    def elbo(self, x: Tensor) -> Tensor:
        """The bound on log p(the known cells) / size, q(z) at its best: a scalar."""
        self.check(x)
        return self._rows(x - self.centre)[2].mean() - self._divergence() / self.size

    @torch.no_grad()
    def log_prior(self) -> Tensor:
        """-KL(q(items) || p(items)), in nats: what the bound on the whole table loses by what it says of the items."""
        return -self._divergence()

    def _divergence(self) -> Tensor:
        _, second = self._moments()
        ratio = second.diagonal(dim1=-2, dim2=-1) * (-2 * self.log_spread).exp()
        log_root = self.items_root.diagonal(dim1=-2, dim2=-1)
        return (0.5 * ratio - 0.5 - log_root + self.log_spread).sum()

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Mean and standard deviation of a new look at each cell, given the row's known ones: [N, F, 2].

        Rows may be new. How uncertain the row's factors are and the items' own are both counted.
        """
        self.check(x)
        mean, root, _ = self._rows(x - self.centre)
        spread = _inverse(root)
        w, cov = self.items_mean, self._root @ self._root.mT
        z = torch.cat([mean, torch.ones_like(mean[:, :1])], -1)
        k = mean.shape[1]
        of_items = (z.unsqueeze(-1) * z.unsqueeze(-2)).flatten(1) @ cov.flatten(1).mT
        second = (w.unsqueeze(-1) * w.unsqueeze(-2) + cov)[:, :k, :k]
        variance = (2 * self.log_scale).exp() + of_items + spread.flatten(1) @ second.flatten(1).mT
        return torch.stack([self.centre + z @ w.mT, variance.sqrt()], -1)

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """n rows without gaps, of one draw of the items."""
        self.check(context=context)
        items = self.items.sample()
        z = torch.randn(n, *self.latent, dtype=self.dtype, device=self.device)
        loc = self.centre + z @ items[:, :-1].mT + items[:, -1]
        return loc + self.log_scale.exp() * torch.randn_like(loc)

    # ---- closed form

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """Small items at random, the noise as large as the cells' spread."""
        cells = x[~x.isnan()].double()
        if len(x) != self.size or len(cells) < 2:
            raise ValueError(f"a table of size={self.size} rows with at least 2 known cells is expected, not {len(x)}")
        self.centre.copy_(cells.mean())
        scale = cells.std().clamp(min=1e-6)
        start = torch.randn(self.items_mean.shape, generator=generator, device=generator.device)
        self.items_mean.copy_(0.3 * scale * start.to(self.items_mean))
        self.items_root.copy_(torch.eye(self.latent[0] + 1).to(self.items_root) * (0.1 * scale).log())
        self.log_spread.fill_(scale.log())
        self.log_scale.fill_(scale.log())

    def prepare(self, x: Tensor) -> Tensor:
        """Rows in double precision, about the centre."""
        return x.double() - self.centre.double()

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """For each item over the rows that know it: sums of (z, 1)(z, 1)', x (z, 1), x^2 and 1; and the bound."""
        parts = [self._sums(block) for block in prepared.split(max(1, NUMBERS // (self.latent[0] + 1) ** 2))]
        sums = [torch.stack(values).sum(0) for values in zip(*parts, strict=True)]
        return tuple(sums[:-1]), sums[-1]

    def _sums(self, gaps: Tensor) -> tuple[Tensor, ...]:
        mean, root, bound = self._rows(gaps)
        known, y = (~gaps.isnan()).to(gaps), torch.where(gaps.isnan(), 0.0, gaps)
        z = torch.cat([mean, torch.ones_like(mean[:, :1])], -1)
        second = z.unsqueeze(-1) * z.unsqueeze(-2) + nn.functional.pad(_inverse(root), (0, 1, 0, 1))
        each = (known.mT @ second.flatten(1)).unflatten(-1, second.shape[1:])
        return each, y.mT @ z, y.square().sum(), known.sum(), bound.sum()

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        """q(items) at its best, then the noise and the spreads."""
        each, products, squares, count = statistics
        noise, spread = (-2 * self.log_scale.double()).exp(), (-2 * self.log_spread.double()).exp()
        root = torch.linalg.cholesky(noise * each + spread.diag())
        self.items_mean.copy_(torch.cholesky_solve(noise * products.unsqueeze(-1), root).squeeze(-1))
        root = torch.linalg.cholesky(_inverse(root))
        self.items_root.copy_(root.tril(-1) + root.diagonal(dim1=-2, dim2=-1).log().diag_embed())
        mean, second = (part.double() for part in self._moments())
        left = squares - 2 * (products * mean).sum() + (each * second).sum()
        self.log_scale.copy_(0.5 * (left / count).clamp(min=1e-12).log())
        self.log_spread.copy_(0.5 * second.diagonal(dim1=-2, dim2=-1).mean(0).clamp(min=1e-12).log())


def _inverse(root: Tensor) -> Tensor:
    return torch.cholesky_inverse(root)
