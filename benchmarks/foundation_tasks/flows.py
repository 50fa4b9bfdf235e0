"""RealNVP beside zuko's: a training step, scoring and sampling on digits and two moons, and what it reaches.

A step of ours is one of `inference.fit`; zuko's is the loop that its documentation writes, with Adam as users
write it, and once more with the fused one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import zuko
from sklearn.datasets import make_moons
from torch import Tensor

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import LEVELS, digits, logits
from inference.fit import fit
from zoo.realnvp import RealNVP

LAYERS, BATCH, TIMED = 6, 256, 40
WIDTHS = {"digits": 128, "moons": 64}
GOALS = {
    "digits": {"step": 0.70, "log_prob": 0.80, "sample": 0.75},
    "moons": {"step": 0.60, "log_prob": 0.80, "sample": 0.75},
}


def moons(n: int, seed: int) -> Tensor:
    return torch.tensor(make_moons(n, noise=0.07, random_state=seed)[0], dtype=torch.float32)


def bits_per_dimension(model: RealNVP, levels: Tensor) -> float:
    y, log_det = logits(levels, torch.rand(levels.shape, generator=torch.Generator().manual_seed(999)))
    with torch.no_grad():
        nats = model.log_prob(y) + log_det - levels.shape[1] * math.log(LEVELS)
    return -nats.mean().item() / (levels.shape[1] * math.log(2))


def peer(x: Tensor, width: int) -> zuko.flows.RealNVP:
    return zuko.flows.RealNVP(x.shape[1], transforms=LAYERS, hidden_features=(width, width))


def peer_loop(x: Tensor, width: int) -> Callable[[], None]:
    flow = peer(x, width)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def run() -> None:
        for index in torch.randperm(len(x))[: BATCH * TIMED].split(BATCH):
            loss = -flow().log_prob(x[index]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def speed(name: str, x: Tensor, rounds: int) -> list[Row]:
    width = WIDTHS[name]
    ours, theirs = RealNVP(x.shape[1], layers=LAYERS, hidden=width), peer(x, width)
    steps = alternate(
        {
            "ours": lambda: fit(ours, x, steps=TIMED, batch_size=BATCH, progress=False),
            "peer": peer_loop(x, width),
        },
        rounds,
    )
    scored = x[:4096]
    with torch.no_grad():
        scores = alternate(
            {"ours": lambda: ours.log_prob(scored), "peer": lambda: theirs().log_prob(scored)}, 3 * rounds
        )
        draws = alternate(
            {
                "ours": lambda: [ours.sample(1000) for _ in range(5)],
                "peer": lambda: [theirs().sample((1000,)) for _ in range(5)],
            },
            3 * rounds,
        )
    quotients = {
        "step": ratio(steps, "ours", "peer"),
        "log_prob": ratio(scores, "ours", "peer"),
        "sample": ratio(draws, "ours", "peer"),
    }
    return [
        Row(f"realnvp_{name}_{what}", value, GOALS[name][what], "lower", "zuko") for what, value in quotients.items()
    ]


def digits_bits(levels: Tensor, held_out: Tensor) -> float:
    """Fitted with uniform noise drawn anew for each batch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RealNVP(64, layers=LAYERS, hidden=WIDTHS["digits"])
    fit(
        model,
        levels,
        steps=1200,
        batch_size=BATCH,
        transform=lambda batch: logits(batch, torch.rand_like(batch))[0],
        progress=False,
    )
    return bits_per_dimension(model, held_out)


def moons_nats() -> float:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RealNVP(2, layers=LAYERS, hidden=WIDTHS["moons"])
    fit(model, moons(10_000, 0), steps=1500, batch_size=BATCH, progress=False)
    with torch.no_grad():
        return -model.log_prob(moons(5_000, 1)).mean().item()


def quality() -> list[Row]:
    """Held-out bits a dimension of the digits, and nats a row of the moons."""
    return [
        Row("realnvp_digits_bits", digits_bits(*digits()), 2.69, "lower"),
        Row("realnvp_moons_nats", moons_nats(), 0.735, "lower"),
    ]


def rows(rounds: int) -> list[Row]:
    train, _ = digits()
    copies = train.repeat(8, 1)
    x, _ = logits(copies, torch.rand(copies.shape, generator=torch.Generator().manual_seed(1)))
    return [*speed("digits", x, rounds), *speed("moons", moons(10_240, 0), rounds), *quality()]
