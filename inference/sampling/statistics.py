"""How well chains agree and how much they know, for many parameters at once: ArviZ's figures in less time.

Draws are [chains, draws, P]; every statistic is [P], NaN where a parameter stands still or is not finite.

References:
    Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021), https://arxiv.org/abs/1903.08008
    Nested R-hat: assessing the convergence of MCMC when running many short chains (Margossian et al., 2024),
    https://arxiv.org/abs/2110.13017
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

CONSTANT = 1e-15
"""The range in which values count as one, ArviZ's."""


def rhat(draws: Tensor, scores: Tensor | None = None) -> Tensor:
    """Split r-hat of ranks: the worse of the bulk's and of the folded draws'.

    `scores` are those of the split draws, where they are known.
    """
    halves = split(draws)
    scores = normal_scores(halves) if scores is None else scores
    return torch.maximum(plain_rhat(scores), plain_rhat(normal_scores(folded(halves))))


def nested_rhat(draws: Tensor, super_chains: int) -> Tensor:
    """R-hat between groups of chains that began at one point: sqrt(1 + B / W), sharp for many short chains.

    The chains lie group after group; B is the variance of the groups' means, W the mean over the groups of what their
    chains vary between and within themselves.
    """
    chains, length, width = draws.shape
    if super_chains < 2 or chains % super_chains:
        raise ValueError(f"{chains} chains do not make {super_chains} groups of one size, of which two are needed")
    groups = normal_scores(draws).reshape(super_chains, -1, length, width)
    means = groups.mean(2)
    within = groups.var(2).mean(1) if length > 1 else torch.zeros_like(means[:, 0])
    between = means.var(1) if means.shape[1] > 1 else torch.zeros_like(within)
    return (1 + means.mean(1).var(0) / (within + between).mean(0)).sqrt()


def bulk_ess(draws: Tensor, scores: Tensor | None = None) -> Tensor:
    """Effective draws for the centre: of the ranks' normal scores, which may be known of the split draws."""
    return plain_ess(normal_scores(split(draws)) if scores is None else scores)


def tail_ess(draws: Tensor) -> Tensor:
    """Effective draws for the tails: the fewer of those for the 5 % and the 95 % quantile."""
    ordered = _sorted(draws.flatten(0, 1).T)
    low, high = (plain_ess(split((draws <= _quantile(ordered, p)).to(draws.dtype))) for p in (0.05, 0.95))
    return torch.minimum(low, high)


def folded(draws: Tensor) -> Tensor:
    """How far each value is from the median."""
    ordered = _sorted(draws.flatten(0, 1).T)
    count = ordered.shape[1]
    return (draws - (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2).abs()


def split(draws: Tensor) -> Tensor:
    """The first and the last half of every chain as chains of their own."""
    half = draws.shape[1] // 2
    return torch.cat([draws[:, :half], draws[:, draws.shape[1] - half :]])


def normal_scores(draws: Tensor) -> Tensor:
    """Each value's rank among all (ties share the mean rank) as a quantile of the normal, by Blom's formula."""
    flat = draws.flatten(0, 1).T.contiguous()
    count = flat.shape[1]
    where = _order(flat)
    ordered = flat.gather(1, where)
    place = torch.arange(count, device=flat.device, dtype=flat.dtype).expand_as(flat)
    new = torch.ones_like(flat, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(new, place, 0.0).cummax(1).values
    ends = torch.ones_like(new)
    ends[:, :-1] = new[:, 1:]
    last = torch.where(ends, place, float(count)).flip(1).cummin(1).values.flip(1)
    ranks = torch.empty_like(flat).scatter_(1, where, (first + last) / 2 + 1)
    scores = torch.special.ndtri((ranks - 0.375) / (count + 0.25))
    return torch.where(flat.isfinite().all(1, keepdim=True), scores, torch.nan).T.reshape(draws.shape)


def plain_rhat(draws: Tensor) -> Tensor:
    """Root of the pooled variance over the chains' own."""
    length = draws.shape[1]
    return ((draws.mean(1).var(0) * length / draws.var(1).mean(0) + length - 1) / length).sqrt()


def plain_ess(draws: Tensor) -> Tensor:
    """Draws over the autocorrelation time, summed by Geyer's initial monotone sequence of pairs."""
    chains, length, _ = draws.shape
    covariance = _autocovariance(draws)
    within = covariance[0] * length / (length - 1)
    pooled = covariance[0] + (draws.mean(1).var(0) if chains > 1 else 0.0)
    correlation = 1 - (within - covariance) / pooled
    correlation[0] = 1.0
    time = _geyer(correlation).clamp(min=1 / math.log10(chains * length))
    still = draws.amax((0, 1)) - draws.amin((0, 1)) < CONSTANT
    return chains * length * torch.where(still, 1.0, 1 / time)


def _geyer(correlation: Tensor) -> Tensor:
    """The autocorrelation time [P] of correlations [lags, P]: pairs of lags until one sums to nothing."""
    pairs = max((correlation.shape[0] - 3) // 2, 0) + 1
    even, odd = correlation[: 2 * pairs : 2], correlation[1 : 2 * pairs : 2]
    sums = even + odd
    ended = sums <= 0
    ended[-1] = True
    last = ended.to(torch.uint8).argmax(0, keepdim=True)
    whole = torch.arange(pairs, device=sums.device).unsqueeze(1) < last
    tail, total = even.gather(0, last)[0], sums.gather(0, last)[0]
    tail = torch.where(total >= 0, tail, tail.clamp(min=0.0))
    return -1 + 2 * torch.where(whole, sums.cummin(0).values, 0.0).sum(0) + tail


def _autocovariance(draws: Tensor) -> Tensor:
    """Of every lag, divided by the chain's whole length, [lags, P]: the mean over the chains."""
    length = draws.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    centred = (draws - draws.mean(1, keepdim=True)).transpose(1, 2).contiguous()
    power = torch.view_as_real(torch.fft.rfft(centred, n=size)).square().sum(-1).mean(0)
    return torch.fft.irfft(power, n=size)[:, :length].T / length


def _order(rows: Tensor) -> Tensor:
    """Where in each row the smallest is, the next, and so on; NumPy's sort is a few times as fast as torch's."""
    return torch.from_numpy(rows.numpy().argsort(1)) if rows.device.type == "cpu" else rows.argsort(1)


def _sorted(rows: Tensor) -> Tensor:
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(1).values


def _quantile(ordered: Tensor, p: float) -> Tensor:
    """Linear between order statistics of rows, rounded as SciPy's `mquantiles` does: ties at the bound count alike."""
    count = ordered.shape[1]
    place = count * p + (1 - p)
    low = min(max(math.floor(place), 1), count - 1)
    share = min(max(place - low, 0.0), 1.0)
    return (1 - share) * ordered[:, low - 1] + share * ordered[:, low]
