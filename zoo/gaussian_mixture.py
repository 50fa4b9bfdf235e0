"""Mixture of Gaussians."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from zoo.base import Explicit, Shape
from zoo.covariances import Covariance, covariance_of
from zoo.distributions import LOG_2PI, RowDistribution
from zoo.mixture_parts import conditional, mixture, positions

ROWS = 4096
"""Rows that go through the arithmetic at a time, so that what is between two products stays in the cache."""
LARGEST_SAMPLE = 2**14
"""Rows that a start looks at, drawn at random from more."""


class MixtureOfNormals(RowDistribution):
    """sum_k w_k N(x; mean_k, covariance_k), by log-weights [K], means [K, d] and a form of covariance."""

    def __init__(self, logits: Tensor, means: Tensor, covariance: Covariance, event_shape: torch.Size) -> None:
        self.log_weights = logits.log_softmax(-1)
        self.means, self.covariance = means, covariance
        super().__init__(torch.Size(), event_shape)

    @property
    def mean(self) -> Tensor:
        return (self.log_weights.exp() @ self.means).reshape(self.event_shape).expand(self._extended_shape())

    def joint(self, rows: Tensor) -> Tensor:
        """log w_k + log N(x; k) for rows [N, d]: [N, K], in nats. Accurate wherever the means lie."""
        step = max(1, min(ROWS, 2**22 // self.means.numel()))
        constant = self.log_weights + self.covariance.half_log_det() - 0.5 * LOG_2PI * self.means.shape[1]
        parts = []
        for block in rows.split(step):
            standard = self.covariance.whiten(block.unsqueeze(0) - self.means.unsqueeze(1))
            parts.append(constant - 0.5 * standard.square().sum(-1).mT)
        return torch.cat(parts) if parts else rows.new_zeros(0, len(self.means))

    def log_prob(self, value: Tensor) -> Tensor:
        batch = value.shape[: value.dim() - len(self.event_shape)]
        density = self.joint(value.reshape(-1, self.means.shape[1])).logsumexp(-1)
        return density.reshape(batch).expand(torch.broadcast_shapes(batch, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        count = shape[: len(shape) - len(self.event_shape)].numel()
        chosen = torch.multinomial(self.log_weights.exp(), count, replacement=True)
        rows = torch.randn(count, self.means.shape[1], dtype=self.means.dtype, device=self.means.device)
        for k in range(len(self.means)):
            mine = chosen == k
            rows[mine] = self.means[k] + self.covariance.colour(rows[mine], k)
        return rows.reshape(shape)


class GaussianMixture(Explicit):
    """Mixture of Gaussians: p(x) = sum_k w_k N(x; mean_k, covariance_k), its component z summed out exactly.

    Shapes: x is [N, *event_shape], its axes flattened inside; posterior [N, components]. Likelihood in nats a
    row. Fitted by EM (`inference.em`) or by gradients of the exact likelihood: its parameters are the
    weights' logits, the means, and factors of the precisions, free of constraints. It takes no context.

    Parameters:
        components: how many Gaussians.
        covariance: "full", "tied" (one for all components), "diagonal" or "spherical".
        ridge: added to every variance in each closed-form update, in units of x squared.

    References:
        Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977)
        k-means++: The Advantages of Careful Seeding (Arthur and Vassilvitskii, 2007)
    """

    capabilities = Explicit.capabilities | {"posterior", "em_start", "expect", "maximise"}
    cache: int = 2**30
    """The most bytes that `prepare` may take; beyond it, products are made anew at each step."""

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        components: int = 8,
        covariance: str = "full",
        ridge: float = 1e-6,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"GaussianMixture takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if components < 1:
            raise ValueError(f"components must be at least 1, not {components}")
        if ridge < 0:
            raise ValueError(f"ridge must not be negative, but is {ridge}")
        self.components, self.ridge, self.form = components, float(ridge), covariance
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, self.features))
        self.covariance = covariance_of(covariance, components, self.features)
        self.register_buffer("centre", torch.zeros(self.features), persistent=False)
        self.register_buffer("scale", torch.ones(self.features), persistent=False)

    @property
    def weights(self) -> Tensor:
        return self.logits.softmax(-1)

    def extra_repr(self) -> str:
        return f"{len(self.means)} components of {list(self.event_shape)}"

    def distribution(self, context: Tensor | None = None) -> MixtureOfNormals:
        self.check(context=context)
        return MixtureOfNormals(self.logits, self.means, self.covariance, self.event_shape)

    def posterior(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """p(z | x), the responsibility of each component for each row, [N, K]."""
        self.check(x, context)
        return self.distribution().joint(x.flatten(1)).softmax(-1)

    def enumerated(self, x: Tensor | None = None, *, n: int = 1) -> Tensor:
        """The same model with its component as a site: "z" (summed out in parallel) and "x" (rows flattened).

        With an empty guide, Pyro's `TraceEnum_ELBO(max_plate_nesting=1)` of it is the exact log-likelihood.
        """
        rows = None if x is None else x.flatten(1)
        root = torch.linalg.cholesky(self.covariance.covariances())
        with pyro.plate("data", n if rows is None else len(rows)):
            z = pyro.sample("z", dist.Categorical(logits=self.logits), infer={"enumerate": "parallel"})
            component = dist.MultivariateNormal(self.means[z], scale_tril=root[z])
            return pyro.sample("x", component, obs=rows).reshape(-1, *self.event_shape)

    # ---- some of the numbers

    def marginal(self, dims: int | Sequence[int]) -> GaussianMixture:
        """The mixture of these of a row's numbers, in this order, alone: a model of its own, [len(dims)]."""
        places = positions(dims, self.features).to(self.device)
        with torch.random.fork_rng(devices=[]):
            found = GaussianMixture(len(places), components=self.components, covariance=self.form, ridge=self.ridge).to(
                self.device, self.dtype
            )
        with torch.no_grad():
            found.logits.copy_(self.logits)
            found.means.copy_(self.means[:, places])
            parts = self.covariance.covariances()[:, places[:, None], places].double()
            dense = self.covariance.outer(self.means).dim() == 3
            found.covariance.update(parts if dense else parts.diagonal(dim1=-2, dim2=-1), found.weights.double(), 0.0)
        return found

    def conditional(self, x: Tensor, dims: int | Sequence[int]) -> dist.MixtureSameFamily:
        """The numbers that are not in `dims` (in their order) given those that are, x [N, len(dims)].

        A mixture for each row, batch shape [N]: `log_prob`, `sample`, `mean` and `variance` are those of p(rest | x).
        """
        places = positions(dims, self.features)
        if len(places) == self.features:
            raise ValueError("every number is given, so none is left to be distributed")
        if x.dim() != 2 or x.shape[1] != len(places):
            raise ValueError(
                f"x must hold the {len(places)} given numbers of each row, [N, {len(places)}], but is {list(x.shape)}"
            )
        return mixture(*conditional(*self._parts, places, x)[:3])

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.logits.log_softmax(-1), self.means, self.covariance.covariances()

    @torch.no_grad()
    def cells(self, x: Tensor, known: Tensor) -> Tensor:
        """Mean and standard deviation of each number given the known ones, [*x.shape, 2]; `known` is of x's shape."""
        found = torch.stack([x, torch.zeros_like(x)], -1).flatten(1, -2)
        for rows, places, given in self._patterns(x, known):
            found[rows[:, None], places] = torch.stack([given.mean, given.variance.sqrt()], -1)
        return found.reshape(*x.shape, 2)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor:
        """The unknown numbers drawn given the known ones, [draws, *x.shape]."""
        found = x.flatten(1).repeat(draws, 1, 1)
        for rows, places, given in self._patterns(x, known):
            found[:, rows[:, None], places] = given.sample((draws,))
        return found.reshape(draws, *x.shape)

    def _patterns(self, x: Tensor, known: Tensor) -> Iterator[tuple[Tensor, Tensor, Any]]:
        """Rows that lack the same numbers, the places of those, and their distribution."""
        self.check(x)
        rows, told = x.flatten(1), known.flatten(1)
        for pattern in told.unique(dim=0):
            lacking = (~pattern).nonzero()[:, 0]
            if not len(lacking):
                continue
            index = (told == pattern).all(-1).nonzero()[:, 0]
            places = pattern.nonzero()[:, 0]
            yield index, lacking, mixture(*conditional(*self._parts, places, rows[index][:, places])[:3])

    # ---- closed form

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """The moments of a k-means's clusters: of four k-means, those under which the rows are likeliest."""
        if len(x) < self.components:
            raise ValueError(f"{self.components} components need at least as many rows, but x has {len(x)}")
        rows = x.flatten(1)
        sample = rows
        if len(rows) > LARGEST_SAMPLE:
            order = torch.randperm(len(rows), generator=generator, device=generator.device)
            sample = rows[order[:LARGEST_SAMPLE].to(rows.device)]
        starts = _clusterings(sample, self.components, generator)
        values = []
        for start in starts:
            self._from_clusters(sample, start)
            values.append(self.distribution().joint(sample).logsumexp(-1).mean().nan_to_num(-torch.inf))
        self._from_clusters(rows, starts[int(torch.stack(values).argmax())])

    def _from_clusters(self, rows: Tensor, clusters: KMeans) -> None:
        """The weight, mean and covariance of each cluster's rows."""
        labels = torch.as_tensor(clusters.predict(rows.cpu().numpy()), dtype=torch.long, device=rows.device)
        self.means.copy_(rows.mean(0))
        sums: list = [0.0, 0.0, 0.0]
        for part, label in zip(rows.split(ROWS), labels.split(ROWS), strict=True):
            block = part.double() - self.means[0].double()
            responsibility = nn.functional.one_hot(label, self.components).to(block).mT.contiguous()
            parts = self._moments(block.expand(self.components, -1, -1), responsibility)
            sums = [sum_ + part for sum_, part in zip(sums, parts, strict=True)]
        self._set(*sums)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> Tensor:
        """Rows as [1, x, products of x], in units of the mixture's own spread about its own mean.

        EM's two sums over rows are then two matrix products. It takes 8 (1 + d + d (d + 1) / 2) bytes a row
        in float64 for dense covariances; beyond `cache` in all, or d = 64, the rows alone are kept.
        """
        weights = self.weights.double()
        means = self.means.double()
        centre = weights @ means
        within = self.covariance.covariances().diagonal(dim1=-2, dim2=-1).double()
        self.centre.copy_(centre)
        self.scale.copy_((weights @ (within + (means - centre).square())).sqrt())
        rows = x.flatten(1)
        if self.features > 64 or len(rows) * self._width * x.element_size() > self.cache:
            return rows
        out = x.new_empty(len(rows), self._width)
        for block, place in zip(rows.split(ROWS), out.split(ROWS), strict=True):
            self._write(block, place)
        return out

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Sums of responsibilities, and of first and second moments by them; and the rows' log-likelihood."""
        return self._by_products(prepared) if self._products_are_safe() else self._by_gaps(prepared)

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        """The parameters at which the expected log-likelihood is greatest."""
        if not self._products_are_safe():
            self._set(*statistics)
            return
        (sums,) = statistics
        d = self.features
        counts, first, products = sums[:, 0], sums[:, 1 : d + 1], sums[:, d + 1 :]
        self._set(counts, first, self.covariance.unpack(products), self.centre.double(), self.scale.double())

    @property
    def _width(self) -> int:
        return 1 + self.features + self.covariance.products

    def _write(self, rows: Tensor, out: Tensor) -> None:
        d = self.features
        out[:, 0] = 1.0
        torch.div(rows - self.centre, self.scale, out=out[:, 1 : d + 1])
        self.covariance.write_products(out[:, 1 : d + 1], out[:, d + 1 :])

    def _products_are_safe(self) -> bool:
        """Whether x' P x, summed from products, is right to 1e-2 nats: no component is too narrow."""
        if self.features > 64:
            return False
        narrowest = self.covariance.log_diagonal.max().item()
        precision = math.exp(min(2 * narrowest, 200.0)) * self.scale.max().item() ** 2
        return precision * torch.finfo(self.dtype).eps < 1e-2

    def _coefficients(self) -> Tensor:
        """log w_k + log N(x; k) as coefficients of [1, x, products], [K, width]."""
        scale = self.scale.double()
        means = (self.means.double() - self.centre.double()) / scale
        precision = self.covariance.precision(scale)
        linear = self.covariance.times(precision, means)
        constant = self.logits.double().log_softmax(-1) + self.covariance.half_log_det().double()
        constant = constant - 0.5 * (means * linear).sum(-1) - 0.5 * LOG_2PI * self.features
        quadratic = self.covariance.quadratic(precision).expand(self.components, -1)
        return torch.cat([constant.unsqueeze(-1), linear, quadratic], 1).to(self.dtype)

    def _by_products(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        coefficients = self._coefficients()
        sums = prepared.new_zeros(self.components, self._width, dtype=torch.float64)
        total = prepared.new_zeros((), dtype=torch.float64)
        for block in prepared.split(ROWS):
            if block.shape[1] != self._width:
                rows, block = block, block.new_empty(len(block), self._width)
                self._write(rows, block)
            responsibility, likelihood = _responsibilities(coefficients @ block.mT)
            sums += responsibility @ block
            total += likelihood
        return (sums,), total

    def _by_gaps(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        distribution = self.distribution()
        sums: list = [0.0, 0.0, 0.0]
        total = prepared.new_zeros((), dtype=torch.float64)
        for block in prepared.split(max(1, min(ROWS, 2**22 // self.means.numel()))):
            if block.shape[1] != self.features:
                block = block[:, 1 : self.features + 1] * self.scale + self.centre
            responsibility, likelihood = _responsibilities(distribution.joint(block).mT.contiguous())
            parts = self._moments(block.unsqueeze(0) - self.means.unsqueeze(1), responsibility)
            sums = [sum_ + part for sum_, part in zip(sums, parts, strict=True)]
            total += likelihood
        return tuple(sums), total

    def _moments(self, gaps: Tensor, responsibility: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over rows of r, r gap and r gap gap', for gaps [K, N, d] and responsibilities [K, N]."""
        first = torch.einsum("kn,knd->kd", responsibility, gaps)
        return (
            responsibility.double().sum(-1),
            first.double(),
            self.covariance.second(gaps, responsibility).double(),
        )

    def _set(
        self,
        counts: Tensor,
        first: Tensor,
        second: Tensor,
        origin: Tensor | None = None,
        unit: Tensor | None = None,
    ) -> None:
        """The parameters with these sums, taken about an origin (each component's own mean unless told)."""
        origin = self.means.double() if origin is None else origin
        unit = torch.ones_like(self.scale, dtype=torch.float64) if unit is None else unit
        weights = counts + 10 * torch.finfo(torch.float64).eps
        shift = first / weights.unsqueeze(-1)
        spread = second / weights.reshape(-1, *[1] * (second.dim() - 1)) - self.covariance.outer(shift)
        units = unit.square() if spread.dim() == 2 else unit.unsqueeze(-1) * unit
        self.covariance.update(spread * units, weights, self.ridge)
        self.means.copy_(origin + shift * unit)
        self.logits.copy_(weights.log() - weights.sum().log())


def _responsibilities(joint: Tensor) -> tuple[Tensor, Tensor]:
    """exp(joint) normalised over its first axis (in its own memory), and the sum of the normalisers' logs."""
    top = joint.amax(0)
    total = joint.sub_(top).exp_().sum(0)
    likelihood = (top + total.log()).double().sum()
    return joint.div_(total), likelihood


def _clusterings(rows: Tensor, components: int, generator: torch.Generator) -> list[KMeans]:
    """Four k-means of these rows, each from a k-means++ start of its own."""
    seeds = torch.randint(2**31 - 1, (4,), generator=generator, device=generator.device).tolist()
    with warnings.catch_warnings():
        # Fewer distinct rows than components: the ridge keeps the empty ones proper.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [KMeans(components, n_init=1, random_state=seed).fit(rows.cpu().numpy()) for seed in seeds]
