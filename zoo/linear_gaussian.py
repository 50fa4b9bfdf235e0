"""What latent linear models share: z ~ N(0, I), x = loc + W z + noise; its slots, its answers and its EM.

References:
    EM Algorithms for ML Factor Analysis (Rubin and Thayer, 1982)
    Parameter Expansion to Accelerate EM: the PX-EM Algorithm (Liu, Rubin and Wu, 1998)
"""

from __future__ import annotations

import math
from abc import abstractmethod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from zoo.base import Explicit, Shape
from zoo.distributions import DiagonalNormal, StandardNormal
from zoo.low_rank import LowRankNormal, blocks, posterior_of
from zoo.networks import flat, unflat


class LinearGaussian(Explicit):
    """A latent linear model: everything of x and z in closed form. A family says what noise it has.

    It is explicit, z summed out, and so fits any slot; p(z), p(x | z) and p(z | x) are at hand too, the last exact.

    Parameters:
        latent: how many numbers z has, fewer than x.
        floor: the least variance of the noise that closed-form updates give, in units of x squared.
    """

    capabilities = Explicit.capabilities | {
        "prior", "decoder", "encoder", "encode", "reconstruct", "posterior",
        "em_start", "prepare", "expect", "maximise",
    }  # fmt: skip
    missing_code = math.nan

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None = None, latent: int = 2, floor: float = 1e-6
    ) -> None:
        name = type(self).__name__
        if context_shape is not None:
            raise ValueError(f"{name} takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if not 1 <= latent < self.features:
            raise ValueError(f"latent must be from 1 to {self.features - 1}, fewer than x has numbers, not {latent}")
        if not floor > 0:
            raise ValueError(f"floor must be positive, not {floor}")
        self.latent, self.floor = torch.Size([latent]), float(floor)
        self.loc = nn.Parameter(torch.zeros(self.features))
        self.loadings = nn.Parameter(0.5 * torch.randn(self.features, latent))

    @property
    @abstractmethod
    def log_scales(self) -> Tensor:
        """log of the noise's standard deviation in each number, [F]."""

    @abstractmethod
    def _set_noise(self, squares: Tensor, counts: Tensor) -> None:
        """The noise whose squares sum to these over so many rows, in each number, [F]."""

    @abstractmethod
    def _units(self, variance: Tensor) -> Tensor:
        """In which units of each number, [F], a start looks for directions."""

    def extra_repr(self) -> str:
        return f"{list(self.event_shape)} through {self.latent[0]} latent numbers"

    # ---- x

    def distribution(self, context: Tensor | None = None) -> LowRankNormal:
        self.check(context=context)
        return LowRankNormal(self.loc, self.loadings, self.log_scales, self.event_shape)

    @torch.no_grad()
    def cells(self, x: Tensor, known: Tensor) -> Tensor:
        """Mean and standard deviation of each number given the known ones, [*x.shape, 2]; `known` is of x's shape."""
        self.check(x)
        parts = []
        for block in blocks(self._gaps(torch.where(known, x, math.nan)), self.loadings):
            of_z = posterior_of(block, self.loadings, self.log_scales)
            spread = torch.einsum("fk,nkl,fl->nf", self.loadings, of_z.covariance, self.loadings)
            parts.append(torch.stack([of_z.mean @ self.loadings.mT, spread + (2 * self.log_scales).exp()], -1))
        mean, variance = torch.cat(parts).unbind(-1)
        found = torch.stack([mean + self.loc, variance.sqrt()], -1).reshape(*x.shape, 2)
        return torch.where(known.unsqueeze(-1), torch.stack([x, torch.zeros_like(x)], -1), found)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor:
        """The unknown numbers drawn given the known ones, [draws, *x.shape]."""
        z = self.posterior(torch.where(known, x, math.nan)).sample((draws,))
        return torch.where(known, x, self.decoder(z).sample())

    def _gaps(self, x: Tensor) -> Tensor:
        return flat(x, self.event_shape) - self.loc

    # ---- z

    def prior(self, context: Tensor | None = None) -> StandardNormal:
        self.check(context=context)
        return StandardNormal(self.latent, self.loc)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> DiagonalNormal:
        """p(x | z), the noise about loc + W z."""
        self.check(context=context)
        loc = unflat(self.loc + z @ self.loadings.mT, self.event_shape)
        return DiagonalNormal(loc, self.log_scales.reshape(self.event_shape), len(self.event_shape))

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.MultivariateNormal:
        """p(z | x), exact, also of rows that lack cells (NaN): batch shape [N], event shape [latent]."""
        self.check(x, context)
        of_z = posterior_of(self._gaps(x), self.loadings, self.log_scales)
        root = torch.linalg.cholesky(of_z.covariance).expand(len(x), -1, -1)
        return dist.MultivariateNormal(of_z.mean, scale_tril=root, validate_args=False)

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.MultivariateNormal:
        """The posterior itself."""
        return self.posterior(x, context)

    @torch.no_grad()
    def encode(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """E[z | x], [N, latent]."""
        return self.posterior(x, context).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """loc + W E[z | x]: x without its noise, and without gaps."""
        return self.decoder(self.encode(x, context=context)).mean

    def latent_model(self, x: Tensor | None = None, *, n: int = 1) -> Tensor:
        """The same model with "z" as a site of its own, beside "x"; with `latent_guide`, a Pyro pair."""
        self.check(x)
        with pyro.plate("data", n if x is None else len(x)):
            return pyro.sample("x", self.decoder(pyro.sample("z", self.prior())), obs=x)

    def latent_guide(self, x: Tensor) -> None:
        """The exact posterior: each draw of Pyro's `Trace_ELBO` is the log-likelihood, without noise."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))

    # ---- closed form

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """The likeliest parameters with noise of one size (in units of the family's own), gaps filled by means.

        There is nothing random about it: every seed starts alike.
        """
        rows = flat(x, self.event_shape).double()
        if len(rows) < 2:
            raise ValueError(f"{type(self).__name__} needs at least 2 rows to start from, but x has {len(rows)}")
        self._refuse_unseen((~rows.isnan()).sum(0))
        mean = rows.nanmean(0)
        gaps = torch.where(rows.isnan(), 0.0, rows - mean)
        units = self._units(gaps.square().mean(0))
        loadings, _ = principal(gaps / units, *self.latent)
        loadings = loadings * units.unsqueeze(-1)
        self.loc.copy_(mean)
        self.loadings.copy_(loadings)
        left = gaps.square().sum(0) - len(rows) * loadings.square().sum(-1)
        self._set_noise(left.clamp(min=0), torch.full_like(mean, len(rows)))

    def prepare(self, x: Tensor) -> Tensor:
        """Rows flattened, in double precision."""
        return flat(x, self.event_shape).double()

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Sums over rows, for the regression of each number's gap on (z, 1), and the log-likelihood.

        For each number over the rows that know it: of (z, 1)(z, 1)', [F, K+1, K+1]; of gap (z, 1), [F, K+1]; of
        gap^2 and of 1, [F]. Then of (z, 1)(z, 1)' over all rows.
        """
        gaps = prepared - self.loc.double()
        parts = [self._sums(block) for block in blocks(gaps, self.loadings)]
        sums = [torch.stack(values).sum(0) for values in zip(*parts, strict=True)]
        return tuple(sums[:-1]), sums[-1]

    def _sums(self, gaps: Tensor) -> tuple[Tensor, ...]:
        of_z = posterior_of(gaps, self.loadings.double(), self.log_scales.double())
        unknown = gaps.isnan()
        known, gaps = (~unknown).to(gaps), torch.where(unknown, 0.0, gaps)
        z = torch.cat([of_z.mean, torch.ones_like(of_z.mean[:, :1])], -1)
        spread = nn.functional.pad(of_z.covariance, (0, 1, 0, 1))
        if len(spread) == 1:  # no row lacks a cell
            whole = z.mT @ z + len(z) * spread[0]
            each = whole.expand(self.features, -1, -1)
        else:
            second = z.unsqueeze(-1) * z.unsqueeze(-2) + spread
            whole, each = second.sum(0), (known.mT @ second.flatten(1)).unflatten(-1, second.shape[1:])
        return each, gaps.mT @ z, gaps.square().sum(0), known.sum(0), whole, of_z.log_prob.sum()

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        """Least squares for each number, then z's own mean and covariance taken into loc and W (PX-EM)."""
        each, products, squares, counts, whole = statistics
        self._refuse_unseen(counts)
        weights = torch.linalg.solve(each, products)
        self._set_noise((squares - (weights * products).sum(-1)).clamp(min=0), counts)
        mean = whole[:-1, -1] / whole[-1, -1]
        covariance = whole[:-1, :-1] / whole[-1, -1] - torch.outer(mean, mean)
        loadings = weights[:, :-1]
        self.loc.copy_(self.loc.double() + weights[:, -1] + loadings @ mean)
        self.loadings.copy_(loadings @ torch.linalg.cholesky(covariance))

    def _refuse_unseen(self, counts: Tensor) -> None:
        if not counts.all():
            raise ValueError(
                f"{type(self).__name__}: number {int((counts == 0).nonzero()[0])} of x is missing in every row, so "
                "nothing tells how it is distributed; leave it out"
            )


def principal(gaps: Tensor, latent: int) -> tuple[Tensor, Tensor]:
    """The likeliest loadings [F, K] and noise variance of rows of mean 0 where all noise is alike.

    W = U (L - s^2 I)^(1/2) by the K largest eigenvalues L of the covariance, s^2 the mean of the others (Tipping and
    Bishop, 1999).
    """
    values, vectors = torch.linalg.eigh(gaps.mT @ gaps / len(gaps))
    noise = values[:-latent].mean().clamp(min=0)
    roots = (values[-latent:] - noise).clamp(min=0).sqrt()
    return (vectors[:, -latent:] * roots).flip(-1), noise
