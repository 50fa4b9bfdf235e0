"""Pareto-smoothed importance weights: what makes draws of an approximation stand for the posterior itself.

The largest weights are replaced by the order statistics of the generalised Pareto distribution fitted to them, and none
may exceed the largest raw one.

References:
    Pareto Smoothed Importance Sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024),
    https://arxiv.org/abs/1507.02646
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.diagnostics.pareto import RELIABLE, pareto_k, tail_fit


@dataclass(frozen=True)
class Smoothed:
    """Log weights that add up to one, of the shape given, their Pareto k, and the log of the mean weight, nats.

    Of weights p(x, z) / q(z) the mean is the evidence p(x). `error` is the log's standard error, by the delta method.
    Below 25 draws no tail is fitted, and k is NaN.
    """

    log_weights: Tensor
    k: float
    log_mean: float

    @property
    def effective(self) -> float:
        """How many draws of the posterior the weighted ones are worth: one over the sum of the squared weights."""
        return float((-(2 * self.log_weights.flatten()).logsumexp(0)).exp())

    @property
    def error(self) -> float:
        return math.sqrt(max(0.0, 1 / self.effective - 1 / self.log_weights.numel()))


def smoothed(log_weights: Tensor) -> Smoothed:
    """All the draws' log weights, nats, smoothed as one set and normalised."""
    flat = log_weights.detach().double().cpu().flatten().numpy()
    largest = float(flat.max())
    if not math.isfinite(largest):
        raise ValueError(f"the largest of {len(flat)} log weights is {largest}: no draw has a finite log density")
    values = flat - largest
    k = float(pareto_k(values[:, None])[0])
    if math.isfinite(k) and k != 0.0:
        values = _with_tail(values)
    out = torch.from_numpy(values).to(log_weights.device)
    total = out.logsumexp(0)
    return Smoothed((out - total).view(log_weights.shape), k, largest + float(total) - math.log(len(flat)))


def _with_tail(values: np.ndarray) -> np.ndarray:
    """Log weights, the largest 0, with the order statistics of the fit in the place of their tail."""
    draws = len(values)
    length = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    order = np.argsort(values)
    cutoff = max(values[order[-length - 1]], math.log(np.finfo(float).tiny))
    tail = order[-length:]
    tail = tail[values[tail] > cutoff]
    k, scale = tail_fit(np.exp(values[tail]) - math.exp(cutoff))
    survival = np.log1p(-np.arange(0.5, len(tail)) / len(tail))
    excess = -survival if abs(k) < np.finfo(float).eps else np.expm1(-k * survival) / k
    smooth = values.copy()
    smooth[tail] = np.minimum(np.log(scale * excess + math.exp(cutoff)), 0.0)
    return smooth


def unreliable(k: float, what: str) -> dict[str, str]:
    """An alarm where Pareto k is above 0.7: corrected by weights or not, the draws can't be trusted."""
    if not k > RELIABLE:
        return {}
    said = "infinite" if math.isinf(k) else f"{k:.2f}"
    return {
        "unreliable guide": f"Pareto k of {what} is {said}, above {RELIABLE}: it misses parts of the posterior that "
        "importance weights can't make up for. Take a richer guide, another parameterisation, or mcmc."
    }
