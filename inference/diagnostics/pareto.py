"""Pareto k of importance weights: how heavy the tail is, and so whether their mean can be trusted.

Below 0.7 the weighted answer is reliable; above, its error is larger than its standard error says; above 1
the weights have no mean. The largest of the weights are fitted by a generalised Pareto distribution.

References:
    Pareto Smoothed Importance Sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024),
    https://arxiv.org/abs/1507.02646
    A new and efficient estimation method for the generalized Pareto distribution (Zhang and Stephens, 2009)
    Yes, but Did It Work? Evaluating Variational Inference (Yao et al., 2018), https://arxiv.org/abs/1802.02538
"""

from __future__ import annotations

import math

import numpy as np

RELIABLE = 0.7
EVEN = 1e-6
"""Log weights that spread by less than this are all alike: the guide is the posterior itself."""


def pareto_k(log_weights: np.ndarray) -> np.ndarray:
    """k of each row from log weights [draws, rows]; 0 where all weights are alike, NaN below 25 draws."""
    log_weights = np.asarray(log_weights, dtype=np.float64)
    draws = len(log_weights)
    if draws < 25:
        return np.full(log_weights.shape[1], np.nan)
    ordered = np.sort(log_weights - log_weights.max(0), axis=0).T
    tail = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    cutoff = np.maximum(ordered[:, -tail - 1], math.log(np.finfo(float).tiny))
    above = np.exp(ordered[:, -tail:]) - np.exp(cutoff)[:, None]
    spread = ordered[:, -1] - ordered[:, 0]
    return np.array([_row(excess, gap) for excess, gap in zip(above, spread, strict=True)])


def _row(excess: np.ndarray, spread: float) -> float:
    if spread < EVEN:
        return 0.0
    excess = excess[excess > 0]
    return tail_fit(excess)[0] if len(excess) > 4 else math.inf


def tail_fit(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution from sorted excesses (Zhang and Stephens, 2009).

    A weak prior draws the shape towards 0.5, as the weight of ten draws would.
    """
    n = len(excess)
    grid = 30 + int(math.sqrt(n))
    quarter = excess[int(n / 4 + 0.5) - 1]
    b = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quarter)
    k = np.log1p(-b[:, None] * excess).mean(1)
    rate = np.divide(-b, k, out=np.full_like(b, 1 / excess.mean()), where=k != 0)  # at b = 0, an exponential's
    profile = n * (np.log(rate) - k - 1)
    weights = np.exp(profile - profile.max())
    b_mean = (b * weights).sum() / weights.sum()
    k_mean = np.log1p(-b_mean * excess).mean()
    scale = -k_mean / b_mean if b_mean else excess.mean()
    return float((n * k_mean + 10 * 0.5) / (n + 10)), float(scale)
