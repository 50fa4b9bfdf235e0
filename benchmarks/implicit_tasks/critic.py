"""A critic's step of WGAN-GP on 8 x 8 digits at batch 64, with the networks of PyTorch-GAN's script.

Peers, of the same networks, rows and batch: a plain loop that takes gradients for the critic alone, in one call on real
rows, made ones and mixes, with fused Adam as ours; and PyTorch-GAN's loop as its script has it, Adam included, whose
made rows carry a graph through the generator and whose critic is called three times. Ours is `fit`, its reports and
their alarms included; no generator's step is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import digits
from inference.fit import fit
from inference.objectives import GradientPenalty, Wasserstein
from zoo.gan import GAN

BATCH, LATENT, WEIGHT, STEPS, LR = 64, 100, 10.0, 1050, 2e-4


def generator() -> nn.Module:
    """100 numbers -> 64 within (-1, 1); the script gives 0.8, meant for a momentum, to eps."""
    widths, layers = [LATENT, 128, 256, 512, 1024], list[nn.Module]()
    for narrow, wide in pairwise(widths):
        normal = [nn.BatchNorm1d(wide, 0.8)] if narrow > LATENT else []
        layers += [nn.Linear(narrow, wide), *normal, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(1024, 64), nn.Tanh())


def critic() -> nn.Module:
    """64 numbers -> one."""
    layers = [nn.Linear(64, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)]
    return nn.Sequential(*layers, nn.Flatten(0))


def networks() -> GAN:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return GAN(64, latent=LATENT, generator=generator(), critic=critic())


def batches(x: Tensor) -> Iterator[Tensor]:
    while True:
        yield from x[torch.randperm(len(x))].split(BATCH)


Loss = Callable[[GAN, Tensor], Tensor]


def critic_loss_of_one_call(model: GAN, real: Tensor) -> Tensor:
    """A hand-written loss: one call, no graph through the generator."""
    with torch.no_grad():
        made = model.generator(torch.randn(len(real), LATENT))
    share = torch.rand(len(real), 1)
    mixed = (share * real + (1 - share) * made).requires_grad_()
    on_real, on_made, on_mixed = model.critic(torch.cat([real, made, mixed])).chunk(3)
    (slope,) = torch.autograd.grad(on_mixed.sum(), mixed, create_graph=True)
    return on_made.mean() - on_real.mean() + WEIGHT * ((slope.norm(dim=1) - 1) ** 2).mean()


def critic_loss_of_three_calls(model: GAN, real: Tensor) -> Tensor:
    """PyTorch-GAN's loss."""
    made = model.generator(torch.randn(len(real), LATENT))
    on_real, on_made = model.critic(real), model.critic(made)
    share = torch.rand(len(real), 1)
    mixed = (share * real.detach() + (1 - share) * made.detach()).requires_grad_()
    on_mixed = model.critic(mixed)
    (slope,) = torch.autograd.grad(on_mixed, mixed, torch.ones_like(on_mixed), create_graph=True, retain_graph=True)
    return on_made.mean() - on_real.mean() + WEIGHT * ((slope.norm(2, dim=1) - 1) ** 2).mean()


def loop(x: Tensor, loss: Loss, alone: bool) -> Callable[[], None]:
    """So many steps of a hand-written loop, going on with the same networks; gradients for the critic alone, or all."""
    model = networks()
    parameters = list(model.critic.parameters())
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=True if alone else None)

    def run() -> None:
        rows = batches(x)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss(model, next(rows)).backward(inputs=parameters if alone else None)
            optimizer.step()

    return run


def ours(x: Tensor) -> Callable[[], None]:
    model, game = networks(), Wasserstein(generator_every=STEPS + 1, penalty=GradientPenalty(WEIGHT))
    return lambda: void(fit(model, x, game, steps=STEPS, batch_size=BATCH, lr=LR, progress=False))


def void(_: object) -> None:
    """For what is done and not looked at."""


def rows(rounds: int) -> list[Row]:
    x = digits()[0]
    x = (x / 8 - 1)[: len(x) // BATCH * BATCH]
    contestants = {
        "ours": ours(x),
        "plain": loop(x, critic_loss_of_one_call, True),
        "three": loop(x, critic_loss_of_three_calls, False),
    }
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        times = alternate(contestants, max(1, rounds // 2))
    return [
        Row("critic_step", ratio(times, "ours", "plain"), 1.05, "lower", "a plain loop, one call, the critic alone"),
        Row("critic_step_beside_three_calls", ratio(times, "ours", "three"), 0.70, "lower", "PyTorch-GAN's loop"),
    ]
