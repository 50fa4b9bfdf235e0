"""The VAE of binarised digits: a step beside a hand-written loop and Pythae's pipeline, its bounds, how tight they are.

Pythae is no dependency: `pip install --no-deps --target FOLDER pythae imageio` and FOLDER in PYTHONPATH; without it its
row is left out. All fit the same networks to the same rows for as many steps.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import binarised_digits
from benchmarks.foundation_tasks.vae import BATCH, STEPS, TIMED, HandWritten, hand_loop, our_loop
from inference.diagnostics.latent import active_units
from inference.diagnostics.pareto import RELIABLE, pareto_k
from inference.fit import fit
from inference.importance import log_weights
from inference.objectives import Elbo, ImportanceWeightedElbo, Objective, doubly_reparameterised, pathwise
from inference.schedules import cooldown
from zoo.vae import VAE

SEEDS, DRAWS, TRAINING_DRAWS = 3, 500, 8
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "vae": Elbo,
    "iwae": partial(ImportanceWeightedElbo, TRAINING_DRAWS, pathwise),
    "iwae_dreg": partial(ImportanceWeightedElbo, TRAINING_DRAWS, doubly_reparameterised),
}
GOALS = {
    "vae": {
        "elbo": -18.1,
        "importance_weighted": -17.05,
        "active_units": 5,
        "share_of_k_too_large": 0.3,
    },
    "iwae": {"importance_weighted": -16.7, "active_units": 7},
    "iwae_dreg": {"importance_weighted": -16.9, "active_units": 7},
}
"""Nats a row held out; units of 8; a share of rows. Of units and Pareto k, what fits have shown, to be reported."""


def pythae_loop(x: Tensor) -> Callable[[], object] | None:
    """Pythae's own training pipeline on the hand-written networks; None where it is not installed."""
    try:
        from pythae.models import VAE as Peer
        from pythae.models import VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.pipelines import TrainingPipeline
        from pythae.trainers import BaseTrainerConfig
    except ImportError:
        return None

    class Encoder(BaseEncoder):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, rows: Tensor) -> Any:
            mean, log_variance = self.network(rows).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = nn.Sequential(network, nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z))

    logging.disable(logging.INFO)
    hand = HandWritten()
    config = VAEConfig(input_dim=(64,), latent_dim=8, reconstruction_loss="bce")
    peer = Peer(config, encoder=Encoder(hand.encoder), decoder=Decoder(hand.decoder))
    epochs = round(TIMED / math.ceil(len(x) / BATCH))

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = BaseTrainerConfig(
                output_dir=folder, num_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=BATCH
            )
            TrainingPipeline(peer, settings)(x)

    return run


def speed(x: Tensor, rounds: int) -> list[Row]:
    contestants = {"ours": our_loop(x), "hand": hand_loop(x)}
    pythae = pythae_loop(x)
    if pythae is not None:
        contestants["pythae"] = pythae
    times = alternate(contestants, rounds)
    rows = [Row("latent_vae_step", ratio(times, "ours", "hand"), 1.05, "lower", "hand-written torch, fused Adam")]
    if pythae is not None:
        rows.append(
            Row(
                "latent_vae_fit",
                ratio(times, "ours", "pythae"),
                0.40,
                "lower",
                "Pythae's TrainingPipeline, nothing held out",
            )
        )
    return rows


def fitted(train: Tensor, objective: Objective, seed: int) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        vae = VAE(64, latent=8)
    schedule = cooldown(STEPS, 200, 0.4)
    fit(vae, train, objective, steps=STEPS, batch_size=BATCH, lr=1.5e-3, schedule=schedule, seed=seed, progress=False)
    return vae


@torch.no_grad()
def looked_at(vae: VAE, test: Tensor) -> dict[str, float]:
    """The two bounds on held-out rows, nats a row, the active units, and the rows whose Pareto k is too large."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        z, weights = log_weights(vae, test, draws=DRAWS)
    return {
        "elbo": float(weights.mean()),
        "importance_weighted": float((weights.logsumexp(0) - math.log(DRAWS)).mean()),
        "active_units": float(active_units(z.numpy()).sum()),
        "share_of_k_too_large": float((pareto_k(weights.numpy()) > RELIABLE).mean()),
    }


def quality(train: Tensor, test: Tensor) -> list[Row]:
    """Of each objective after as many steps, means of three seeds."""
    rows = []
    for name, goals in GOALS.items():
        found = [looked_at(fitted(train, OBJECTIVES[name](), seed), test) for seed in range(SEEDS)]
        for figure, goal in goals.items():
            value = sum(each[figure] for each in found) / SEEDS
            better: Literal["lower", "higher"] = "lower" if figure == "share_of_k_too_large" else "higher"
            rows.append(Row(f"latent_{name}_{figure}", value, goal, better))
    return rows


def rows(rounds: int) -> list[Row]:
    train, test = binarised_digits()
    return [*speed(train, rounds), *quality(train, test)]
