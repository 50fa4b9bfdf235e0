"""What generated digits are judged by: 32 features of a fixed classifier, and how well two sets cover each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foundation_tasks.data import digits
from inference.quality import Features, frechet_distance

SEED, EPOCHS, NEIGHBOURS = 1, 80, 5


def digit_features() -> Features:
    """The last hidden layer of a classifier, 64-128-32-10, of the 1,347 training digits; 98.0 % right on the others.

    Levels 0..16 [N, 64] to [N, 32]. 450 training digits lie at a Frechet distance of 2.5 from the 450 others, a
    normal distribution fitted to the pixels at 14, independent normals at 57.
    """
    x = digits()[0] / 16
    y = torch.tensor(load_digits().target)[torch.from_numpy(np.random.RandomState(0).permutation(1797)[: len(x)])]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(EPOCHS):
            for index in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(network(x[index]), y[index]).backward()
                optimizer.step()
    return Features("digit classifier", lambda levels: network[:-1](levels.flatten(1).float() / 16))


class Judged(NamedTuple):
    """Generated rows beside real ones; the last three are shares of the rows."""

    frechet: float
    precision: float
    recall: float
    coverage: float


def judged(features: Features, real: Tensor, generated: Tensor) -> Judged:
    """Generated levels [M, ...] beside real ones [N, ...].

    A ball around each row reaches to its fifth neighbour of the same set. Precision: generated rows in a real ball.
    Recall: real rows in a generated ball. Coverage: real balls with a generated row.

    References:
        Improved Precision and Recall Metric (Kynkaanniemi et al., 2019), https://arxiv.org/abs/1904.06991
        Reliable Fidelity and Diversity Metrics (Naeem et al., 2020), https://arxiv.org/abs/2002.09797
    """
    a, b = features(real), features(generated)
    across = torch.cdist(a, b)
    balls_a, balls_b = (torch.cdist(rows, rows).kthvalue(NEIGHBOURS + 1, 1).values for rows in (a, b))
    inside = across < balls_a[:, None]
    shares = (inside.any(0), (across < balls_b).any(1), inside.any(1))
    return Judged(frechet_distance(a, b).value, *(share.double().mean().item() for share in shares))
