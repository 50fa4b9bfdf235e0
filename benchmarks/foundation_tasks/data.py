"""The digits of every figure here, in one split."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

LEVELS, ALPHA = 17, 0.05


def digits() -> tuple[Tensor, Tensor]:
    """Levels 0..16 of 1,347 images to train on and of 450 held out, as floats [N, 64]."""
    return _split(torch.tensor(load_digits().data, dtype=torch.float32))


def digit_classes() -> tuple[Tensor, Tensor]:
    """Their classes, [N]."""
    return _split(torch.tensor(load_digits().target))


def _split(rows: Tensor) -> tuple[Tensor, Tensor]:
    order = np.random.RandomState(0).permutation(len(rows))
    return rows[order[:1347]], rows[order[1347:]]


def binarised_digits() -> tuple[Tensor, Tensor]:
    """The same, black or white."""
    train, test = digits()
    return (train > 7.5).float(), (test > 7.5).float()


def logits(levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Levels 0..16 made continuous and sent to the reals, and the log-determinant of the logit map."""
    p = ALPHA + (1 - 2 * ALPHA) * (levels + noise) / LEVELS
    return p.logit(), (math.log(1 - 2 * ALPHA) - p.log() - (-p).log1p()).sum(-1)
