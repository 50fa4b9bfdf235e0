"""The RBM on binarised digits: exact held-out likelihood, AIS against exact log Z, an epoch beside scikit-learn's."""

from __future__ import annotations

import statistics
import warnings

import torch
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import binarised_digits
from inference.ais import ais
from inference.descent import descent
from inference.fit import fit
from inference.objectives import ContrastiveDivergence
from zoo.rbm import RBM

BATCH, EPOCHS, FIRST_LR, LAST_LR = 20, 200, 0.2, 0.001


def fitted(train: torch.Tensor, seed: int) -> RBM:
    """16 hidden units by PCD: 100 chains, one sweep a step, the rate falling linearly."""
    torch.manual_seed(seed)
    model = RBM(64, hidden=16)
    steps = EPOCHS * -(-len(train) // BATCH)
    fit(
        model,
        train,
        ContrastiveDivergence(steps=1, chains=100),
        steps=steps,
        batch_size=BATCH,
        lr=FIRST_LR,
        schedule=lambda step: 1 + (LAST_LR / FIRST_LR - 1) * step / steps,
        optimizer=descent,
        every=1000,
        seed=seed,
        progress=False,
    )
    return model


@torch.no_grad()
def quality(train: torch.Tensor, test: torch.Tensor, goal: float = -18.3) -> list[Row]:
    likelihoods, errors = [], []
    for seed in range(3):
        model = fitted(train, seed)
        log_z = model.log_partition()
        likelihoods.append(float((-model.free_energy(test).double() - log_z).mean()))
        errors.append(abs(float(ais(model, data=train, seed=seed).value - log_z)))
    return [
        Row("rbm_exact_loglik", statistics.mean(likelihoods), goal, "higher", "scikit-learn's best: -19.03"),
        Row("rbm_ais_error", max(errors), 0.05, "lower", "log Z by summing out"),
    ]


def epoch_ratio(train: torch.Tensor, hidden: int, epochs: int, rounds: int, batch: int = 100) -> float:
    """An epoch's time by that of scikit-learn, which has as many persistent chains as rows in a batch; so have we."""
    array = train.numpy()

    def ours() -> None:
        torch.manual_seed(0)
        fit(
            RBM(64, hidden=hidden),
            train,
            ContrastiveDivergence(chains=batch),
            epochs=epochs,
            batch_size=batch,
            lr=0.01,
            optimizer=descent,
            every=1000,
            progress=False,
        )

    def peer() -> None:
        BernoulliRBM(hidden, learning_rate=0.01, batch_size=batch, n_iter=epochs, random_state=0).fit(array)

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ratio(alternate({"ours": ours, "scikit-learn": peer}, rounds), "ours", "scikit-learn")


def rows(rounds: int) -> list[Row]:
    train, test = binarised_digits()
    peer = "scikit-learn BernoulliRBM"
    return [
        *quality(train, test),
        Row("rbm_epoch", epoch_ratio(train, 16, 60, rounds), 0.80, "lower", peer),
    ]
