"""A flow with `fit`'s defaults on a small table: breast_cancer, ten random splits, beside a mixture of four Gaussians.

Each split (seeds 100 to 109) has 427 rows to fit to and 142 held out, standardised by the first 342 of them. The
peer is scikit-learn's mixture, its ridge chosen on the last 85 of the 427.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.common import Row
from inference.fit import fit
from zoo.realnvp import RealNVP

SEEDS = range(100, 110)
TRAIN, FITTED = 342, 427
RIDGES = (1e-3, 1e-2, 1e-1)


def split(seed: int) -> tuple[Tensor, Tensor]:
    """Rows to fit to, validation rows last, and rows held out."""
    x = load_breast_cancer().data
    x = x[np.random.RandomState(seed).permutation(len(x))]
    standard = torch.tensor((x - x[:TRAIN].mean(0)) / x[:TRAIN].std(0), dtype=torch.float32)
    return standard[:FITTED], standard[FITTED:]


def ours(seed: int) -> tuple[float, float]:
    """Nats a row held out, and the CPU seconds of the fit."""
    train, test = split(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RealNVP(30)
    start = time.process_time()
    fit(model, train, progress=False)
    seconds = time.process_time() - start
    with torch.no_grad():
        return -model.log_prob(test).mean().item(), seconds


def mixture(seed: int, components: int = 4) -> float:
    """The peer's nats a row held out."""
    train, test = (part.double().numpy() for part in split(seed))
    tried = [GaussianMixture(components, reg_covar=ridge, random_state=0).fit(train[:TRAIN]) for ridge in RIDGES]
    return -max(tried, key=lambda model: model.score(train[TRAIN:])).score(test)


def rows(rounds: int) -> list[Row]:
    reached = [ours(seed) for seed in SEEDS]
    nats, seconds = zip(*reached, strict=True)
    theirs = [mixture(seed) for seed in SEEDS]
    peer = "four Gaussians (sklearn): "
    return [
        Row("small_table_nats_mean", statistics.mean(nats), 4.3, "lower", f"{peer}{statistics.mean(theirs):.1f}"),
        Row("small_table_nats_worst_split", max(nats), 10.0, "lower", f"{peer}{max(theirs):.1f}"),
        Row("small_table_fit_cpu_seconds", statistics.median(seconds), 2.0, "lower"),
    ]
