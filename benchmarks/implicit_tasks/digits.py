"""A Wasserstein GAN with gradient penalty on 8 x 8 grey digits: 1,000 made against the 450 held out.

Five critic steps to one of the generator. The settings were chosen on 450 of the 1,347 training rows, of few tried:
plain perceptrons of two layers of 256, Adam of betas (0, 0.9) at 2e-3 for both players, and the average of weights over
the last tenth or so of the steps. The longer fit is the same for three times as many steps. Features and shares as of
the diffusion's figures, whose features are a classifier's of our own; therefore the peer, PyTorch-GAN's WGAN-GP script
written down again with its own settings, is judged in them, too.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.common import Row
from benchmarks.foundation_tasks.data import digits
from benchmarks.implicit_tasks.critic import LATENT, critic_loss_of_three_calls, networks
from benchmarks.latent_tasks.diffusion import digit_features, judged
from inference.fit import fit
from inference.objectives import GradientPenalty, Wasserstein
from zoo.gan import GAN

BATCH, CRITIC_STEPS, LONG_STEPS, EVERY, DRAWN, DRAWS, SEEDS = 65, 3140, 9420, 5, 1000, 3, 3
"""An epoch of 1,347 rows is 20 batches of 65 and one of 47; of 64, a last batch of 3 would be a step."""
PEER = "PyTorch-GAN's script, here"


def perceptron(event_shape: Sequence[int], *, context_shape: None = None) -> nn.Module:
    """A critic without spectral norm, whose slope the penalty keeps."""
    hidden = nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256), nn.LeakyReLU(0.2)
    return nn.Sequential(*hidden, nn.Linear(256, 1), nn.Flatten(0))


def fitted(x: Tensor, steps: int, seed: int = 0) -> GAN:
    """Ours after so many critic steps, of rows within [-1, 1]."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = GAN(64, latent=32, hidden=(256, 256), bounds=(-1.0, 1.0), critic=perceptron)
    fit(
        model,
        x,
        Wasserstein(generator_every=EVERY, penalty=GradientPenalty(10.0)),
        steps=steps,
        batch_size=BATCH,
        lr=2e-3,
        optimizer=partial(torch.optim.Adam, betas=(0.0, 0.9), fused=True),
        average=0.998,
        seed=seed,
        progress=False,
    )
    return model


def peer(x: Tensor, steps: int) -> GAN:
    """PyTorch-GAN's networks, loop and settings."""
    model = networks()
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    critics, generators = adam(model.critic.parameters()), adam(model.generator.parameters())
    step = 0
    while step < steps:
        for real in x[torch.randperm(len(x))].split(BATCH)[: steps - step]:
            step += 1
            critics.zero_grad()
            critic_loss_of_three_calls(model, real).backward()
            critics.step()
            if step % EVERY == 0:
                generators.zero_grad()
                (-model.critic(model.generator(torch.randn(len(real), LATENT))).mean()).backward()
                generators.step()
    return model


@torch.no_grad()
def drawn(model: GAN, seed: int = 0) -> Tensor:
    """1,000 digits as levels 0..16, by the networks in the mode that they are in."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ((model.generate(model.noise(DRAWN)) + 1) * 8).round().clamp(0, 16)


def quality(models: Sequence[GAN], test: Tensor) -> dict[str, float]:
    """Means over models and draws: the standard error of one Frechet distance is 2."""
    features = digit_features()
    found = [judged(features, test, drawn(model, seed)) for model in models for seed in range(DRAWS)]
    return {name: statistics.mean(each[name] for each in found) for name in found[0]}


def rows(rounds: int) -> list[Row]:
    train, test = digits()
    x = train / 8 - 1
    ours = quality([fitted(x, CRITIC_STEPS, seed) for seed in range(SEEDS)], test)
    longer = quality([fitted(x, LONG_STEPS)], test)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs = quality([peer(x, CRITIC_STEPS)], test)
    goals = {"frechet": 7.0, "coverage": 0.45, "precision": 0.66, "recall": 0.19}
    return [
        Row(
            f"wasserstein_digits_{name}{suffix}",
            found[name],
            goal,
            "lower" if name == "frechet" else "higher",
            f"{PEER}: {theirs[name]:.2f}",
        )
        for suffix, found in (("", ours), ("_longer", longer))
        for name, goal in goals.items()
    ]
