"""The RBM on binarised digits, to the goals of the energy-based families: large and small steps, and likelihood."""

from __future__ import annotations

from benchmarks.common import Row
from benchmarks.foundation_tasks.data import binarised_digits
from benchmarks.foundation_tasks.rbm import epoch_ratio, quality


def rows(rounds: int) -> list[Row]:
    train, test = binarised_digits()
    peer = "scikit-learn BernoulliRBM"
    return [
        Row("rbm_epoch_256_by_100", epoch_ratio(train, 256, 60, rounds), 0.55, "lower", peer),
        Row("rbm_epoch_16_by_10", epoch_ratio(train, 16, 20, rounds, batch=10), 1.00, "lower", peer),
        *quality(train, test, goal=-18.2),
    ]
