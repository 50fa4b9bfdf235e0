"""Where the true values lie among the draws of their posterior.

References:
    Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018),
    https://arxiv.org/abs/1804.06788
    Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021),
    https://arxiv.org/abs/1903.08008, for the effective sample size
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from inference.sampling.statistics import bulk_ess

SERIES = 10
"""Effective draws are counted on at most this many times as many draws as are ranked: more tell little."""
SHORT = 4
"""Chains of fewer draws tell nothing of how alike neighbours are."""


@dataclass(frozen=True)
class Ranks:
    """What the posteriors of S data sets say of Q quantities, each [S, Q].

    `pit` is (rank + uniform) / (ranked + 1): exactly uniform on the unit interval where the posterior is right,
    however many draws were ranked. `pit_as_came` is the same of all draws as if they were independent.
    """

    pit: np.ndarray
    pit_as_came: np.ndarray
    rank: np.ndarray
    ranked: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    effective: np.ndarray
    draws: np.ndarray

    @classmethod
    def stacked(cls, each: list[Ranks]) -> Ranks:
        """Of several data sets."""
        return cls(*(np.concatenate([getattr(one, part.name) for one in each]) for part in fields(cls)))


def ranks(truth: np.ndarray, draws: np.ndarray, most: int, rng: np.random.Generator) -> Ranks:
    """The ranks of true values [Q] among draws [chains, draws, Q] of one posterior, of at most `most` of them.

    As many draws are ranked as are effective ones, evenly spaced; where some equal the truth, as draws of discrete
    variables do, its place among them is drawn.
    """
    series = thinned(draws, SERIES * most)
    pool, effective = series.reshape(-1, series.shape[2]), effective_draws(series)
    kept = np.clip(effective, 1, min(most, len(pool))).astype(int)
    found = [
        _rank(value, column[_evenly(len(pool), k)], rng) for value, column, k in zip(truth, pool.T, kept, strict=True)
    ]
    all_of_them = [_rank(value, column, rng) for value, column in zip(truth, pool.T, strict=True)]
    of = np.full(len(truth), len(pool))
    each = (
        _pit(np.array(found), kept, rng),
        _pit(np.array(all_of_them), of, rng),
        np.array(found),
        kept,
        pool.mean(0),
        pool.std(0),
        effective,
        of,
    )
    return Ranks(*(part[None] for part in each))


def thinned(draws: np.ndarray, most: int) -> np.ndarray:
    """Every second, third, ... draw of each chain [chains, draws, Q], so that about `most` are left in all."""
    chains, length = draws.shape[:2]
    return draws[:, :: max(1, min(length, chains * length // most))]


def effective_draws(series: np.ndarray) -> np.ndarray:
    """The bulk effective sample size of each quantity of [chains, draws, Q]; all draws where it can't be told."""
    chains, length = series.shape[:2]
    if length < SHORT:
        return np.full(series.shape[2], chains * length)
    found = bulk_ess(torch.as_tensor(series)).numpy()
    return np.where(np.isfinite(found), np.clip(found, 1, chains * length), chains * length)


def _evenly(count: int, kept: int) -> np.ndarray:
    return ((np.arange(kept) + 0.5) * count / kept).astype(int)


def _rank(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    return int((draws < truth).sum() + rng.integers(0, (draws == truth).sum() + 1))


def _pit(rank: np.ndarray, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rank + rng.random(len(rank))) / (of + 1)
