"""Eight Gaussians in a ring: which are reached by each loss that is to cure a game of its collapse, and how well.

Modes of standard deviation 0.2 at radius 2. A row within 3 of them is of high quality, as 98.9 % of the data are; a
mode is reached by at least a tenth of the rows that the data has there. Values are the worst of three seeds, of 10,000
rows each, at settings that were chosen on these seeds; on seeds 3, 4 and 5, which had no part in it, the worst are
0.958 (hinge), 0.954 (relativistic) and 0.952 (Wasserstein). A fit takes 11 to 30 CPU seconds. Tried and left out, as
their worst seed fell short: the non-saturating game with R1 (0.93, the mean of three 0.96) and least squares with R1
(0.91).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.common import Row
from inference.fit import fit
from inference.objectives import Hinge, Relativistic, Wasserstein
from inference.objectives.adversarial import Game
from inference.objectives.penalties import R1, GradientPenalty
from inference.quality.modes import ModeCoverage, known_modes, mode_coverage
from inference.schedules import cosine
from zoo.datasets import load
from zoo.gan import GAN
from zoo.networks import mlp

BATCH, SEEDS, DRAWN = 256, (0, 1, 2), 10_000
WIDTH = 8.0
"""Of the noise: what joins two modes takes the less of it, the steeper the generator is."""


@dataclass(frozen=True)
class Cure:
    """A game and how long it is played."""

    game: Callable[[], Game]
    steps: int = 2000
    average: float | None = None


CURES = {
    "hinge, R1": Cure(lambda: Hinge(penalty=R1(0.1))),
    "relativistic, R1": Cure(lambda: Relativistic(penalty=R1(0.1))),
    "Wasserstein, gradient penalty": Cure(
        lambda: Wasserstein(penalty=GradientPenalty(0.1), generator_every=2), steps=4000, average=0.998
    ),
}


class Generator(nn.Module):
    """A perceptron of wide noise."""

    def __init__(self, event_shape: torch.Size, *, context_shape: torch.Size | None, latent: int) -> None:
        super().__init__()
        self.network = mlp(latent, event_shape.numel(), (128, 128))

    def forward(self, noise: Tensor) -> Tensor:
        return self.network(WIDTH * noise)


class Critic(nn.Module):
    """A perceptron of any slope: what bounds it is the loss."""

    def __init__(self, event_shape: torch.Size, *, context_shape: torch.Size | None) -> None:
        super().__init__()
        self.network = mlp(event_shape.numel(), 1, (128, 128))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).squeeze(-1)


def fitted(cure: Cure, seed: int) -> GAN:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = GAN(2, latent=2, generator=Generator, critic=Critic)
    adam = partial(torch.optim.Adam, betas=(0.5, 0.9))
    rates = {"critic": 2e-3, "generator": 1e-3}
    fit(
        model,
        load("eight_gaussians").train.x,
        cure.game(),
        steps=cure.steps,
        batch_size=BATCH,
        lr=rates,
        optimizer=lambda parameters, lr: adam(parameters, lr),
        schedule=cosine(cure.steps, warmup=20),
        average=cure.average,
        seed=seed,
        progress=False,
    )
    return model


def covered(model: GAN, seed: int = 0) -> ModeCoverage:
    angle = torch.arange(8) * math.pi / 4
    modes = known_modes(2 * torch.stack([angle.cos(), angle.sin()], 1), 0.2)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return mode_coverage(model.sample(DRAWN), modes)


def rows(rounds: int) -> list[Row]:
    found = []
    for name, cure in CURES.items():
        coverages = [covered(fitted(cure, seed)) for seed in SEEDS]
        reached = min(sum(coverage.reached) for coverage in coverages)
        good = min(coverage.good.value for coverage in coverages)
        found.append(Row(f"modes of the ring reached, {name}", reached, 8, "higher"))
        found.append(Row(f"high-quality rows, {name}", good, 0.95, "higher"))
    return found
