"""What is missing of a diffusion's rows, found while noise is taken away step by step.

`Particles` is p(x_missing | x_known) of the model's own chain. A path of noise y_1, ..., y_T is drawn for the known
cells by the fixed chain q(y | x_known); along it a particle filter draws the other cells, and is weighted by

    log p(y_T) + sum_t log mean_i p(y_(t-1) | z_t^i) + log mean_i p(x_known | z_1^i) - log q(y | x_known)

whose exponential has the mean p(x_known): several filters, each along a path of its own, together estimate that and
what is missing, ever better with more of them and more particles.

References:
    Diffusion Probabilistic Modeling of Protein Backbones in 3D for the Motif-Scaffolding Problem (Trippe et al., 2022),
    https://arxiv.org/abs/2206.04119, for the filter along one path
    Particle Markov Chain Monte Carlo Methods (Andrieu, Doucet and Holenstein, 2010), for weighing whole filters
    Variance Estimation in the Particle Filter (Lee and Whiteley, 2018), https://arxiv.org/abs/1509.00394, for what is
    told by where particles began
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.importance import repeated
from inference.query.answer import Answer
from inference.query.cells import levels_of, said_of, summary
from inference.query.estimates import as_numpy, by_row, labelled
from inference.query.gaps import Gaps, tabled
from inference.query.question import Question

NUMBERS = 2**22
"""How many numbers of z are moved at once."""
FEW = 4.0
"""Fewer filters than that, in effect, are too few to trust what they say on average."""


@dataclass(frozen=True)
class Known:
    """Rows of a block, each repeated for the particles of its filters, and what moves them."""

    model: Any
    x: Tensor
    known: Tensor
    context: Tensor | None
    filters: int
    particles: int

    @property
    def levels(self) -> Any:
        return self.model.noise_levels()

    def spread(self, path: Tensor) -> Tensor:
        """What a filter has for each of its particles: [filters, N, ...] to [filters * particles * N, ...]."""
        return path.unsqueeze(1).expand(-1, self.particles, *[-1] * (path.dim() - 1)).flatten(0, 2)

    def by_filter(self, values: Tensor) -> Tensor:
        """[M, ...] to [filters, particles, N, ...]."""
        return values.unflatten(0, (self.filters, self.particles, -1))

    def score(self, cells: Tensor) -> Tensor:
        """The log-probability of the known cells, [filters, particles, N]."""
        return self.by_filter(torch.where(self.known, cells, 0.0).flatten(1).sum(1).double())

    def paths(self) -> tuple[list[Tensor], Tensor]:
        """y_1, ..., y_T of a filter, each [filters, N, *event], and log q of their known cells, [filters, N]."""
        rows, known = (self.by_filter(t)[:, 0] for t in (self.x, self.known))
        y = self.model.scaled(rows.flatten(0, 1)).view(*rows.shape)
        total = torch.zeros(y.shape[:2], dtype=torch.float64, device=y.device)
        path, levels = [], self.levels
        for k in range(len(levels.alpha)):
            at, noise = levels.one(k), torch.randn_like(y)
            y = at.shrink * y + at.spread * noise
            density = -0.5 * noise.square() - at.spread.log() - 0.5 * math.log(2 * math.pi)
            total = total + torch.where(known, density, 0.0).flatten(2).sum(2).double()
            path.append(y)
        return path, total


@dataclass(frozen=True)
class Particles:
    """Missing cells by particle filters along paths of noise of the known ones.

    "error" is the standard error of a mean, from how much the filters differ. The reliability of the answer has the
    effective number of filters, and of the beginnings z_T that the particles kept stem from.

    Parameters:
        particles: how many a filter; the question's `draws` are shared among filters, at least 2.
    """

    particles: int = 64

    def __post_init__(self) -> None:
        if self.particles < 2:
            raise ValueError(f"a filter needs at least 2 particles, not {self.particles}")

    def __call__(self, question: Question) -> Answer:
        gaps = Gaps(question)
        with asking(question.model, question.seed):
            return self.fill(question, gaps)

    def fill(self, question: Question, gaps: Gaps) -> Answer:
        """The answer, by random numbers as they come."""
        filters = max(2, math.ceil(question.draws / self.particles))
        levels = levels_of(getattr(gaps.model, "support", None)) if gaps.codes else None
        runs = [self._run(known, levels) for known in blocks(gaps, filters, self.particles)]
        cells, log_w, stems = (torch.cat(part, -1 if i else 0) for i, part in enumerate(zip(*runs, strict=True)))
        evidence = log_w.logsumexp(0) - math.log(filters)
        share = 1 / log_w.softmax(0).square().sum(0)
        trust, warned = verdict(share, stems)
        values: dict[Hashable, xr.DataArray] = {"x": tabled(cells) if levels else labelled(cells, "x")}
        method = f"particle filters along paths of noise of what is known, {filters} of {self.particles} a row"
        return Answer(str(question), values, method, "estimate", by_row(evidence), trust, warned)

    def _run(self, known: Known, levels: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """What is said of each row's cells, each filter's log weight [filters, N], and how many beginnings count."""
        decoder, log_w, total, stem = self._filtered(known)
        inner, outer = log_w.softmax(1), total.softmax(0)
        said = known.by_filter(said_of(decoder, decoder.sample(), levels).double())
        wide = [1] * (said.dim() - 3)
        each = (inner.view(*inner.shape, *wide) * said).sum(1)
        share = outer.view(*outer.shape, *wide)
        mean = (share * each).sum(0)
        error = (share * (each - mean))[..., 0].square().sum(0).sqrt()
        x, told = (known.by_filter(t)[0, 0] for t in (known.x, known.known))
        begun = torch.zeros_like(inner).scatter_add(1, stem, inner * outer.unsqueeze(1))
        return summary(x, told, mean, error, levels), total, 1 / begun.square().sum((0, 1))

    def _filtered(self, known: Known) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Down the chain: p(x | z_1) of each particle, its log weight, each filter's, and where particles began."""
        path, log_q = known.paths()
        z = torch.where(known.known, known.spread(path[-1]), torch.randn_like(known.spread(path[-1])))
        log_w = known.score(-0.5 * z.square() - 0.5 * math.log(2 * math.pi))
        total, stem = -log_q, torch.arange(self.particles, device=z.device).view(1, -1, 1).expand(log_w.shape)
        for k in range(len(path) - 1, 0, -1):
            normal, y = known.model.reverse(z, known.levels.one(k), known.context), known.spread(path[k - 1])
            log_w = log_w + known.score(normal.cell_log_prob(y))
            which, log_w, gained = resampled(log_w)
            total, stem = total + gained, stem.gather(1, which)
            mean, sd = (taken(known.by_filter(t), which).flatten(0, 2) for t in (normal.mean, normal.stddev))
            z = torch.where(known.known, y, mean + sd * torch.randn_like(mean))
        decoder = known.model.written(known.model.reverse(z, known.levels.one(0), known.context))
        log_w = log_w + known.score(decoder.cell_log_prob(known.x))
        return decoder, log_w, total + log_w.logsumexp(1) - math.log(self.particles), stem


def resampled(log_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which particles [F, K, N] go on, with which log weights, and what of them is put aside for the filter, [F, N].

    Drawn evenly spaced (systematic resampling), in those filters where fewer than half count in effect.
    """
    count, weights = log_w.shape[1], log_w.softmax(1)
    poor = (weights.square().sum(1) > 2 / count).unsqueeze(1)
    marks = torch.arange(count, device=log_w.device).view(-1, 1) + torch.rand_like(log_w[:, :1])
    upto = (weights.cumsum(1) / weights.sum(1, keepdim=True)).movedim(1, -1).contiguous()
    drawn = torch.searchsorted(upto, (marks / count).movedim(1, -1).contiguous()).clamp(max=count - 1).movedim(-1, 1)
    same = torch.arange(count, device=log_w.device).view(1, -1, 1).expand(log_w.shape)
    aside = torch.where(poor, log_w.logsumexp(1, keepdim=True) - math.log(count), 0.0)
    return torch.where(poor, drawn, same), torch.where(poor, 0.0, log_w), aside.squeeze(1)


def taken(values: Tensor, which: Tensor) -> Tensor:
    return values.gather(1, which.view(*which.shape, *[1] * (values.dim() - 3)).expand_as(values))


def blocks(gaps: Gaps, filters: int, particles: int) -> Iterator[Known]:
    """Rows, as many at once as memory has room for."""
    if gaps.context is not None:
        gaps.model.check(gaps.filled, gaps.context)
    count = filters * particles
    step = max(1, NUMBERS // (count * gaps.x[0].numel()))
    for start in range(0, len(gaps.x), step):
        part = slice(start, start + step)
        context = None if gaps.context is None else gaps.context[part]
        x, known, told = (repeated(rows, count) for rows in (gaps.filled[part], gaps.known[part], context))
        assert x is not None and known is not None
        yield Known(gaps.model, x, known, told, filters, particles)


def verdict(share: Tensor, stems: Tensor) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How far filters can be trusted, from how many count and how many beginnings, [N]; in words if not."""
    bad = float((torch.minimum(share, stems) < FEW).double().mean())
    found = {
        "filters_min": float(share.min()),
        "ess_min": float(stems.min()),
        "ess_median": float(stems.median()),
        "filters": by_row(as_numpy(share)),
        "ess": by_row(as_numpy(stems)),
    }
    cause = (
        f"in {bad:.0%} of rows fewer than {FEW:g} filters count, or beginnings that particles stem from; take more "
        "draws, or more particles a filter"
    )
    return found, (cause,) if bad else ()
