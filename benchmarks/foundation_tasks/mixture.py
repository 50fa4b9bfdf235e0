"""Mixture of Gaussians beside scikit-learn's: an EM iteration (d = 16, K = 32, full); the default start."""

from __future__ import annotations

import statistics
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import digits, logits
from inference.em import em
from zoo.gaussian_mixture import GaussianMixture

N, D, K = 100_000, 16, 32
SKLEARN = "scikit-learn GaussianMixture"


def draws(n: int, seed: int) -> np.ndarray:
    """Rows of one fixed mixture of 32 overlapping Gaussians with full covariances."""
    truth = np.random.default_rng(5)
    means = 2 * truth.normal(size=(K, D))
    factors = truth.normal(size=(K, D, D)) / (2 * np.sqrt(D)) + np.eye(D)
    noise = np.random.default_rng(seed)
    which = noise.integers(K, size=n)
    return means[which] + np.einsum("nij,nj->ni", factors[which], noise.normal(size=(n, D)))


def iteration(model: GaussianMixture, prepared: Tensor) -> None:
    statistics_, _ = model.expect(prepared)
    model.maximise(statistics_)


def peer_iteration(peer: Peer, x: np.ndarray) -> None:
    _, log_responsibilities = peer._e_step(x)
    peer._m_step(x, log_responsibilities)


def started(x: np.ndarray, dtype: torch.dtype) -> tuple[GaussianMixture, Tensor]:
    rows = torch.tensor(x, dtype=dtype)
    model = GaussianMixture(D, components=K).to(dtype)
    em(model, rows[:20_000], steps=2, progress=False)
    return model, model.prepare(rows)


def peer_fit(x: np.ndarray, steps: int, seed: int = 0) -> Peer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Peer(K, max_iter=steps, random_state=seed).fit(x)


def speed(rounds: int) -> list[Row]:
    x = draws(N, 1)
    peer = peer_fit(x[:20_000], 2)
    contestants = {"peer": partial(peer_iteration, peer, x)}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        contestants[name] = partial(iteration, *started(x, dtype))
    times = alternate(contestants, rounds)
    del contestants
    return [
        Row(
            "mixture_em_float64",
            ratio(times, "float64", "peer"),
            0.30,
            "lower",
            SKLEARN,
        ),
        Row(
            "mixture_em_float32",
            ratio(times, "float32", "peer"),
            0.15,
            "lower",
            SKLEARN,
        ),
    ]


def linearity(rounds: int) -> Row:
    x = draws(3 * N, 1)
    model, prepared = started(x, torch.float64)
    times = alternate(
        {"one": partial(iteration, model, prepared[:N]), "three": partial(iteration, model, prepared)}, rounds
    )
    return Row("mixture_em_row_at_300k_over_100k", ratio(times, "three", "one") / 3, 1.15, "lower")


def quality() -> Row:
    """Held-out nats a row of the default start and fit, ours less scikit-learn's, mean of two seeds."""
    train, held_out = draws(10_000, 2), draws(10_000, 3)
    gains = []
    for seed in (0, 1):
        model = GaussianMixture(D, components=K).double()
        em(model, torch.from_numpy(train), seed=seed, progress=False)
        ours = model.log_prob(torch.from_numpy(held_out)).mean().item()
        gains.append(ours - peer_fit(train, 100, seed).score(held_out))
    return Row(
        "mixture_held_out_gain",
        statistics.mean(gains),
        0.0,
        "higher",
        SKLEARN,
    )


def on_digits() -> Row:
    """Training nats a row of the default start and fit, ours less scikit-learn's: digits as logits, 10 components.

    Ten seeds, for those of either differ by a nat and more.
    """
    levels, _ = digits()
    x = logits(levels, torch.rand(levels.shape, generator=torch.Generator().manual_seed(999)))[0].double()
    gains = []
    for seed in range(10):
        model = GaussianMixture(64, components=10).double()
        em(model, x, seed=seed, progress=False)
        ours = model.log_prob(x).mean().item()
        gains.append(ours - Peer(10, random_state=seed).fit(x.numpy()).score(x.numpy()))
    return Row("mixture_digits_train_gain", statistics.mean(gains), 0.0, "higher", SKLEARN)


def rows(rounds: int) -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return [*speed(rounds), linearity(rounds), quality(), on_digits()]
    finally:
        torch.set_num_threads(threads)
