"""Cells that are not known proposed and weighted: draws of them and their log importance weights, by any density.

    log w = log p(x with its gaps filled) - log q(what they were filled with)

The mean of w is p(the known cells); what the weights normalised by their sum average to is E[. | the known cells].

References:
    Weighing and Integrating Evidence for Stochastic Simulation in Bayesian Networks (Fung and Chang, 1990)
    Population Monte Carlo (Cappé, Guillin, Marin and Robert, 2004), for proposals that learn from their weights
    Weighted Average Importance Sampling and Defensive Mixture Distributions (Hesterberg, 1995)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

from inference.protocols import name_of

POOL, NEAREST, ROUNDS, FREEDOM = 4000, 100, 3, 3.0
"""Draws of the model that proposals start from; how many are kernels' centres; rounds; degrees of freedom."""
WIDER = 2.0
"""How much the scale of a wide kernel exceeds the covariance: its tails must not be lighter than the model's."""


def in_sequence(
    model: Any, x: Tensor, known: Tensor, context: Tensor | None, draws: int, seen: int = 2**12
) -> tuple[Tensor, Tensor]:
    """Rows made number by number, the known ones put in and weighed: [draws, N, *event], [draws, N].

    Exact draws where what is not known comes last, for then all weights are the same.
    """
    order = getattr(model, "order", None)
    flat, told = x.flatten(1), known.flatten(1)
    if isinstance(order, Tensor):
        flat, told = flat[:, order.to(x.device)], told[:, order.to(x.device)]
    parts = []
    for start in range(0, len(x) * draws, seen):
        rows = torch.arange(start, min(start + seen, len(x) * draws), device=x.device) // draws
        parts.append(_unrolled(model, flat[rows].long(), told[rows], None if context is None else context[rows]))
    filled, log_w = (torch.cat(part) for part in zip(*parts, strict=True))
    filled = filled.reshape(len(x), draws, *x.shape[1:]).movedim(1, 0)
    return filled.to(x.dtype), log_w.reshape(len(x), draws).mT.contiguous()


def _unrolled(model: Any, codes: Tensor, known: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    log_w = torch.zeros(len(codes), dtype=torch.float64, device=codes.device)

    def choose(i: int, logits: Tensor) -> Tensor:
        log_p = logits.double().log_softmax(-1)
        told = log_p.gather(-1, torch.where(known[:, i], codes[:, i], 0).unsqueeze(-1)).squeeze(-1)
        log_w.add_(torch.where(known[:, i], told, 0.0))
        return torch.where(known[:, i], codes[:, i], torch.multinomial(log_p.exp(), 1).squeeze(-1))

    filled = model.unroll(choose, len(codes), context=context)
    return filled, log_w


def proposed(model: Any, x: Tensor, known: Tensor, context: Tensor | None, draws: int) -> tuple[Tensor, Tensor]:
    """Gaps filled from Student kernels about draws of the model: [draws, N, *event], [draws, N].

    The kernels sit on the model's own draws that are nearest in the known cells, beside one wide kernel at the normal
    approximation given them; later rounds put them where the weights were. On a bounded support all this is done in
    its unbounded coordinates.
    """
    support = getattr(model, "support", None)
    if support is not None and (support.is_discrete or support.event_dim):
        raise ValueError(f"{name_of(model)} has the support {support}, for whose missing cells there is no proposal")
    pool = None
    filled, log_ws = [], []
    for n in range(len(x)):
        if pool is None or context is not None:
            given = {} if context is None else {"context": context[n : n + 1]}
            pool = _unbounded(support, model.sample(POOL, **given)).flatten(1).double()
        one, log_w = _row(model, support, pool, x[n], known[n], None if context is None else context[n], draws)
        filled.append(one)
        log_ws.append(log_w)
    return torch.stack(filled, 1), torch.stack(log_ws, 1)


def _row(
    model: Any, support: Any, pool: Tensor, x: Tensor, known: Tensor, context: Tensor | None, draws: int
) -> tuple[Tensor, Tensor]:
    told = known.flatten()
    if told.all():
        alone = model.log_prob(x[None], **({} if context is None else {"context": context[None]}))
        return x.expand(draws, *x.shape), alone.double().expand(draws)
    y = torch.where(told, _unbounded(support, x).flatten().double(), 0.0)
    proposal = first = _first(pool, y, told)
    given = {} if context is None else {"context": context.expand(draws, *context.shape)}
    for step in range(ROUNDS):
        inner = proposal.sample(draws)
        rows = y.repeat(draws, 1)
        rows[:, ~told] = inner
        back, log_det = _bounded(support, rows)
        back = torch.where(known, x, back.reshape(draws, *x.shape).to(x.dtype))
        log_w = model.log_prob(back, **given).double() + log_det[:, ~told].sum(-1) - proposal.log_prob(inner)
        log_w = log_w.nan_to_num(nan=-math.inf, posinf=-math.inf)
        if step + 1 < ROUNDS and bool((log_w > -math.inf).any()):
            proposal = _learned(first, inner, log_w)
    return back, log_w


@dataclass(frozen=True)
class Kernels:
    """A mixture of multivariate Student distributions: shares [J], centres [J, m], roots of their scales [J, m, m]."""

    shares: Tensor
    centres: Tensor
    roots: Tensor

    def sample(self, n: int) -> Tensor:
        which = torch.multinomial(self.shares, n, replacement=True)
        m = self.centres.shape[1]
        noise = torch.randn(n, m, dtype=self.centres.dtype, device=self.centres.device)
        freedom = torch.full((n, 1), FREEDOM / 2, dtype=noise.dtype, device=noise.device)
        noise = noise * (FREEDOM / (2 * torch._standard_gamma(freedom))).sqrt()
        return self.centres[which] + (self.roots[which] @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, y: Tensor) -> Tensor:
        m = self.centres.shape[1]
        gaps = (y.unsqueeze(0) - self.centres.unsqueeze(1)).mT
        square = torch.linalg.solve_triangular(self.roots, gaps, upper=False).square().sum(1)
        constant = math.lgamma((FREEDOM + m) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * m * math.log(FREEDOM * math.pi)
        log_det = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        each = constant - log_det - 0.5 * (FREEDOM + m) * (square / FREEDOM).log1p()
        return (each + self.shares.log().unsqueeze(-1)).logsumexp(0)

    def beside(self, other: Kernels, share: float) -> Kernels:
        """These, which keep `share`, and the other ones."""
        shares = torch.cat([share * self.shares, (1 - share) * other.shares])
        return Kernels(shares, torch.cat([self.centres, other.centres]), torch.cat([self.roots, other.roots]))


def _kernels(centres: Tensor, scale: Tensor) -> Kernels:
    """Even kernels of one scale matrix."""
    count = len(centres)
    shares = torch.full((count,), 1 / count, dtype=centres.dtype, device=centres.device)
    return Kernels(shares, centres, _root(scale).expand(count, -1, -1))


def _first(pool: Tensor, y: Tensor, told: Tensor) -> Kernels:
    """One wide kernel where a normal distribution would be, and kernels at the draws nearest in what is known."""
    mean, spread = pool.mean(0), _covariance(pool, torch.ones_like(pool[:, 0]))
    inner, outer = spread[~told][:, ~told], spread[told][:, told]
    if not told.any():
        places = torch.arange(NEAREST, device=pool.device)
        return _kernels(mean[None], WIDER * inner).beside(_narrow(pool[places]), 0.5)
    gain = torch.linalg.solve(outer, spread[told][:, ~told]).mT
    left = inner - gain @ spread[told][:, ~told]
    middle = mean[~told] + gain @ (y[told] - mean[told])
    far = torch.linalg.solve_triangular(_root(outer), (pool[:, told] - y[told]).mT, upper=False).square().sum(0)
    near = pool[far.topk(NEAREST, largest=False).indices]
    shifted = near[:, ~told] + (y[told] - near[:, told]) @ gain.mT
    return _kernels(middle[None], WIDER * left).beside(_narrow(shifted), 0.5)


def _narrow(centres: Tensor) -> Kernels:
    """Kernels as wide as Silverman's rule has it."""
    spread = _covariance(centres, torch.ones_like(centres[:, 0]))
    return _kernels(centres, len(centres) ** (-2 / (centres.shape[1] + 4)) * spread)


def _learned(first: Kernels, y: Tensor, log_w: Tensor) -> Kernels:
    """Kernels where the weights were: one wide, many narrow, and a fifth left to the first proposal."""
    weights = log_w.softmax(0)
    wide = _kernels((weights @ y)[None], WIDER * _covariance(y, weights))
    narrow = _narrow(y[torch.multinomial(weights, NEAREST, replacement=True)])
    return first.beside(wide.beside(narrow, 0.5), 0.2)


def _covariance(y: Tensor, weights: Tensor) -> Tensor:
    """A weighted covariance, kept positive definite."""
    weights = weights / weights.sum()
    gaps = y - weights @ y
    spread = (gaps * weights.unsqueeze(-1)).mT @ gaps
    scale = spread.diagonal().mean().clamp(min=1e-12)
    return spread + 1e-6 * scale * torch.eye(y.shape[1], dtype=y.dtype, device=y.device)


def _root(spread: Tensor) -> Tensor:
    """A Cholesky root; rounding's negative eigenvalues are raised first."""
    values, vectors = torch.linalg.eigh((spread + spread.mT) / 2)
    floor = 1e-9 * values.amax().clamp(min=1e-12)
    return torch.linalg.cholesky((vectors * values.clamp(min=floor)) @ vectors.mT)


def _unbounded(support: Any, x: Tensor) -> Tensor:
    return x if support is None else biject_to(support).inv(x)


def _bounded(support: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    """x of these unbounded coordinates, and the log-derivative of each number."""
    if support is None:
        return y, torch.zeros_like(y)
    transform = biject_to(support)
    x = transform(y)
    log_det = transform.log_abs_det_jacobian(y, x)
    return x, log_det.expand_as(y)
