"""What a better prior and a better encoder are worth to the VAE of binarised digits, held out, in nats an image.

Three seeds each of the foundation's VAE (`benchmarks.foundation_tasks.vae`: 64-128-128-8, its steps, batches and
learning rate) and of the same with one slot filled otherwise: the prior by a VampPrior of 100 pseudo-inputs, or the
encoder by an IAF of four masked networks on a diagonal normal. Both were chosen on 247 of the 1,347 training images.

A margin is the difference of the importance-weighted bounds (500 draws), ours minus the plain VAE's, on the same 450
images and seeds. Its standard error has two parts: over the images, of their means over the seeds, and over the seeds,
of their means over the images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import zoo
from benchmarks.common import Row
from benchmarks.foundation_tasks.data import binarised_digits
from benchmarks.foundation_tasks.vae import BATCH, STEPS
from inference.diagnostics import diagnose
from inference.fit import fit
from inference.schedules import cooldown

SEEDS, DRAWS = 3, 500
SLOTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "vamp_prior": {"prior": {"family": "vamp_prior", "components": 100}},
    "iaf_encoder": {"encoder": {"family": "iaf", "layers": 4, "hidden": [256]}},
}


class Reached(NamedTuple):
    """The bound of each held-out image [images], how many units are active, the share of images with k below 0.7."""

    values: np.ndarray
    active: float
    reliable: float


def reached(slots: Mapping[str, Any], seed: int, train: Tensor, test: Tensor) -> Reached:
    """A VAE with these slots, fitted and asked."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        vae = zoo.build({"family": "vae", "latent": 8, **slots}, event_shape=64)
    schedule = cooldown(STEPS, 200, 0.4)
    fit(vae, train, steps=STEPS, batch_size=BATCH, lr=1.5e-3, schedule=schedule, seed=seed, progress=False)
    found = diagnose(vae, test, draws=DRAWS)
    values = found.idata.log_likelihood["x"].values.ravel()
    table = found.table["value"]
    return Reached(values, table["active units of z, of 8"], table["rows with Pareto k below 0.7"])


def margin(ours: list[Reached], plain: list[Reached]) -> tuple[float, float]:
    """The mean difference, paired by seed and image, and its standard error."""
    gaps = np.stack([a.values - b.values for a, b in zip(ours, plain, strict=True)])
    over_images = gaps.mean(0).std(ddof=1) / math.sqrt(gaps.shape[1])
    over_seeds = gaps.mean(1).std(ddof=1) / math.sqrt(gaps.shape[0])
    return float(gaps.mean()), math.hypot(over_images, over_seeds)


def rows(rounds: int) -> list[Row]:
    del rounds  # the seeds are the rounds
    train, test = binarised_digits()
    found = {name: [reached(slots, seed, train, test) for seed in range(SEEDS)] for name, slots in SLOTS.items()}
    lines = []
    for name, runs in found.items():
        bound = float(np.mean([run.values.mean() for run in runs]))
        active, reliable = np.mean([run.active for run in runs]), np.mean([run.reliable for run in runs])
        state = f"{active:.1f} of 8 units active, Pareto k below 0.7 of {reliable:.0%} of the images"
        if name == "plain":
            lines.append(Row("slots_plain_importance_weighted_500", bound, -17.05, "higher", state))
            continue
        gap, error = margin(runs, found["plain"])
        beside = f"{bound:.2f}: {gap:+.2f} +- {error:.2f} over the plain VAE; {state}"
        lines.append(Row(f"slots_{name}_margin_less_two_errors", gap - 2 * error, 0.0, "higher", beside))
    return lines
