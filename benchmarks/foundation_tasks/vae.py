"""The VAE of binarised digits: a step beside a hand-written loop and Pyro's SVI, and the bounds it reaches.

The hand-written loop has torch's fused Adam; `fit` has its own `FusedAdam`, the same kernel and the same numbers
to the bit with less overhead a step, which is part of what is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import binarised_digits
from inference.fit import fit
from inference.likelihood import ElboBound, ImportanceWeighted, log_likelihood
from inference.schedules import cooldown
from zoo.vae import VAE

STEPS, BATCH, TIMED = 3000, 128, 1000


class HandWritten(nn.Module):
    """The same networks, and the loss as one writes it without a library."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))

    def loss(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(-1)
        kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(-1)
        return (reconstruction + kl).mean()

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(8), 1.0).expand([len(x), 8]).to_event(1))
            pyro.sample("x", pyro.distributions.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            mean, log_variance = self.encoder(x).chunk(2, -1)
            pyro.sample("z", pyro.distributions.Normal(mean, torch.exp(0.5 * log_variance)).to_event(1))


def shuffled_batches(x: Tensor, steps: int) -> list[Tensor]:
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += x[torch.randperm(len(x))].split(BATCH)
    return batches[:steps]


def hand_loop(x: Tensor) -> Callable[[], None]:
    module = HandWritten()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for batch in shuffled_batches(x, TIMED):
            optimizer.zero_grad()
            module.loss(batch).backward()
            optimizer.step()

    return run


def pyro_loop(x: Tensor) -> Callable[[], None]:
    pyro.clear_param_store()
    module = HandWritten()
    svi = SVI(module.model, module.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    def run() -> None:
        for batch in shuffled_batches(x, TIMED):
            svi.step(batch)

    return run


def our_loop(x: Tensor) -> Callable[[], object]:
    vae = VAE(64, latent=8)
    return lambda: fit(vae, x, steps=TIMED, batch_size=BATCH)


def quality(train: Tensor, test: Tensor) -> list[Row]:
    """The ELBO and the importance-weighted bound of 500 draws, held-out nats a row, means of three seeds."""
    elbo, weighted = [], []
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            vae = VAE(64, latent=8)
        schedule = cooldown(STEPS, 200, 0.4)
        fit(vae, train, steps=STEPS, batch_size=BATCH, lr=1.5e-3, schedule=schedule, seed=seed, progress=False)
        elbo.append(log_likelihood(vae, test, method=ElboBound(100)).mean)
        weighted.append(log_likelihood(vae, test, method=ImportanceWeighted(500)).mean)
    return [
        Row("vae_digits_elbo", statistics.mean(elbo), -18.1, "higher"),
        Row("vae_digits_importance_weighted_500", statistics.mean(weighted), -17.05, "higher"),
    ]


def rows(rounds: int) -> list[Row]:
    train, test = binarised_digits()
    contestants = {"ours": our_loop(train), "hand": hand_loop(train), "pyro": pyro_loop(train)}
    times = alternate(contestants, rounds)
    return [
        Row("vae_step", ratio(times, "ours", "hand"), 1.05, "lower", "hand-written torch, fused Adam"),
        Row("vae_step", ratio(times, "ours", "pyro"), 0.55, "lower", "Pyro SVI, Trace_ELBO"),
        *quality(train, test),
    ]
