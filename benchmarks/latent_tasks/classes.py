"""Digits whose class few rows tell, digits in codes, digits in layers: each beside what it is meant to be better than.

The goals are what the comparisons reach in the same run: the issue states none of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Row
from benchmarks.foundation_tasks.data import binarised_digits, digit_classes
from inference.fit import fit
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.objectives import Elbo, SemiSupervised, layered
from inference.schedules import cooldown, warmup
from zoo.base import Model
from zoo.conditionals import Categorical
from zoo.discrete_vae import DiscreteVAE
from zoo.ladder_vae import LadderVAE
from zoo.semi_supervised_vae import SemiSupervisedVAE
from zoo.vae import VAE

SEEDS, LABELS = 3, 10
MIXTURE = -18.24
"""The best mixture of Bernoulli products, of 10, 20, 40 and 80 by EM: 40 of them, nats a row of the same held-out."""


def built(make: Callable[[], Any], seed: int) -> Any:
    """A model whose parameters come from a seed, the caller's own random state left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def few_labels(y: Tensor, seed: int) -> Tensor:
    """Ten rows of each class with theirs, the others with -1."""
    generator, told = torch.Generator().manual_seed(seed), torch.full_like(y, -1)
    for label in range(10):
        rows = (y == label).nonzero()[:, 0]
        told[rows[torch.randperm(len(rows), generator=generator)[:LABELS]]] = label
    return told


def semi_supervised(x: Tensor, y: Tensor, seed: int) -> SemiSupervisedVAE:
    """alpha of 1, 10 and 50 were tried on 247 rows of the training ones, which had no part in the fit."""
    model = built(lambda: SemiSupervisedVAE(64, latent=8), seed)
    fit(
        model,
        {"x": x, "context": y},
        SemiSupervised(alpha=10.0),
        steps=1000,
        lr=1.5e-3,
        schedule=cooldown(1000, 300, 0.2),
        seed=seed,
        progress=False,
    )
    return model


def supervised(x: Tensor, y: Tensor, seed: int) -> Categorical:
    """The same network on the rows with a class alone; 100 steps of all of them, chosen on validation rows."""
    model = built(lambda: Categorical([1], levels=10, context_shape=64), seed)
    told = y >= 0
    data = {"x": y[told, None], "context": x[told]}
    fit(model, data, steps=100, batch_size=None, seed=seed, progress=False)
    return model


def accuracy(logits: Tensor, y: Tensor) -> float:
    return (logits.argmax(-1) == y).double().mean().item()


def labels_few() -> list[Row]:
    """The share of 450 held-out digits named rightly after 100 labels, means of three seeds."""
    (train, test), (y, wanted) = binarised_digits(), digit_classes()
    ours, theirs = [], []
    for seed in range(SEEDS):
        told = few_labels(y, seed)
        ours.append(accuracy(semi_supervised(train, told, seed).classifier(test).logits, wanted))
        alone = supervised(train, told, seed).distribution(test).log_probs[:, 0]
        theirs.append(accuracy(alone, wanted))
    peer = "the same network on the 100 labels alone"
    return [Row("semi_supervised_accuracy_100_labels", statistics.mean(ours), statistics.mean(theirs), "higher", peer)]


def weighted(make: Callable[[], Model], steps: int, **options: Any) -> float:
    """The importance-weighted bound of 500 draws on held-out digits, the mean of three seeds."""
    train, test = binarised_digits()
    found = []
    for seed in range(SEEDS):
        model, schedule = built(make, seed), cooldown(steps, 200, 0.4)
        fit(model, train, **options, steps=steps, lr=1.5e-3, schedule=schedule, seed=seed, progress=False)
        found.append(log_likelihood(model, test, method=ImportanceWeighted(500)).mean)
    return statistics.mean(found)


def layers() -> list[Row]:
    """Two layers beside one, nats a row, each after as many steps as served it best on validation rows."""
    ladder = weighted(lambda: LadderVAE(64, latent=(8, 4)), 1200, objective=Elbo(kl=layered, beta=warmup(300)))
    one = weighted(lambda: VAE(64, latent=8), 3000)
    return [Row("ladder_digits_importance_weighted_500", ladder, one, "higher", "a VAE of one layer")]


def codes() -> list[Row]:
    """The exact likelihood of digits given two codes of 16 levels, nats a held-out row, the mean of three seeds."""
    train, test = binarised_digits()
    found = []
    for seed in range(SEEDS):
        model = built(lambda: DiscreteVAE(64, codes=2, levels=16), seed)
        fit(
            model,
            train,
            steps=2000,
            lr=1.5e-3,
            schedule=cooldown(2000, 200, 0.4),
            validation=247 / 1347,
            patience=8,
            every=100,
            seed=seed,
            progress=False,
        )
        found.append(log_likelihood(model, test).mean)
    return [Row("discrete_digits_exact", statistics.mean(found), MIXTURE, "higher", "the best Bernoulli mixture")]


def rows(rounds: int) -> list[Row]:
    return [*labels_few(), *layers(), *codes()]
