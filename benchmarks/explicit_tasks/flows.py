"""Flows beside zuko's: a training step, scoring and sampling; and what they reach on digits and two moons.

A step of ours is one of `inference.fit`; zuko's is the loop that its documentation writes, with Adam as users write
it. zuko's coupling spline flow is `NSF(passes=2)`. Everything is 6 layers of two hidden layers of 128 (64 on moons),
but for the masked flow of 30 numbers: 5 layers of 64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import zuko
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from benchmarks.common import Row, alternate, ratio
from benchmarks.foundation_tasks.data import digits, logits
from benchmarks.foundation_tasks.flows import BATCH, LAYERS, bits_per_dimension, moons, moons_nats
from inference.fit import fit
from inference.schedules import cooldown
from zoo.base import Explicit
from zoo.maf import MAF
from zoo.realnvp import RealNVP
from zoo.spline_flow import SplineFlow


def rows(rounds: int) -> list[Row]:
    return [*speed(rounds), *quality()]


def speed(rounds: int) -> list[Row]:
    """Ours over zuko's, CPU seconds."""
    images, points, table = dequantised(digits()[0]), moons(10_240, 0), measurements()
    return [
        *beside(
            "realnvp_moons",
            RealNVP(2, layers=LAYERS, hidden=64),
            zuko.flows.RealNVP(2, transforms=LAYERS, hidden_features=(64, 64)),
            points,
            {"step": 0.60, "log_prob": 0.75, "sample": 0.60},
            rounds,
        ),
        *beside(
            "spline_digits",
            SplineFlow(64, layers=LAYERS, hidden=128),
            zuko.flows.NSF(64, bins=8, transforms=LAYERS, hidden_features=(128, 128), passes=2),
            images,
            {"step": 0.50, "log_prob": 0.40, "sample": 0.25},
            rounds,
            timed=8,
        ),
        *beside(
            "maf_30",
            MAF(30, layers=5, hidden=64),
            zuko.flows.MAF(30, transforms=5, hidden_features=(64, 64)),
            table,
            {"step": 0.85, "sample": 0.25},
            rounds,
        ),
        *beside(
            "maf_64",
            MAF(64, layers=LAYERS, hidden=128),
            zuko.flows.MAF(64, transforms=LAYERS, hidden_features=(128, 128)),
            images,
            {"step": 0.85, "sample": 0.07},
            rounds,
        ),
    ]


def quality() -> list[Row]:
    """Held-out bits a dimension of the digits after 500 steps, and nats a row of the moons after 1,500."""
    return [
        Row("realnvp_moons_nats", moons_nats(), 0.735, "lower"),
        Row("spline_moons_nats", spline_moons_nats(), 0.683, "lower"),
        Row("spline_digits_bits", digits_bits(lambda: SplineFlow(64, layers=LAYERS, hidden=128)), 2.13, "lower"),
        Row("maf_digits_bits", digits_bits(lambda: MAF(64, layers=LAYERS, hidden=128)), 2.26, "lower"),
    ]


def beside(
    name: str,
    ours: Explicit,
    theirs: zuko.lazy.Flow,
    x: Tensor,
    goals: Mapping[str, float],
    rounds: int,
    timed: int = 40,
) -> list[Row]:
    """A step on 256 rows, the density of 4,096 and 1,000 draws: those that have a goal."""
    contests: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "step": (lambda: fit(ours, x, steps=timed, batch_size=BATCH, progress=False), loop(theirs, x, timed)),
        "log_prob": (lambda: scored(ours.log_prob, x), lambda: scored(theirs().log_prob, x)),
        "sample": (lambda: ours.sample(1000), lambda: drawn(theirs)),
    }
    measured = []
    for what, goal in goals.items():
        mine, peers = contests[what]
        times = alternate({"ours": mine, "peer": peers}, rounds if what == "step" else 3 * rounds)
        measured.append(Row(f"{name}_{what}", ratio(times, "ours", "peer"), goal, "lower", "zuko"))
    return measured


def loop(flow: zuko.lazy.Flow, x: Tensor, steps: int) -> Callable[[], None]:
    """zuko's training, as its documentation writes it."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def run() -> None:
        for index in torch.randperm(len(x))[: BATCH * steps].split(BATCH):
            loss = -flow().log_prob(x[index]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@torch.no_grad()
def scored(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return log_prob(x[:4096])


@torch.no_grad()
def drawn(flow: zuko.lazy.Flow) -> Tensor:
    return flow().sample((1000,))


def dequantised(levels: Tensor) -> Tensor:
    """Eight copies of the digits with noise of their own, as logits."""
    copies = levels.repeat(8, 1)
    return logits(copies, torch.rand(copies.shape, generator=torch.Generator().manual_seed(1)))[0]


def measurements() -> Tensor:
    """breast_cancer, standardised, as often as makes enough rows."""
    x = torch.tensor(load_breast_cancer().data, dtype=torch.float32)
    return ((x - x.mean(0)) / x.std(0)).repeat(19, 1)


def seeded(build: Callable[[], Explicit]) -> Explicit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def digits_bits(build: Callable[[], Explicit], steps: int = 500) -> float:
    """Fitted with uniform noise drawn anew for each batch; the learning rate falls over the last three tenths."""
    train, held_out = digits()
    model = seeded(build)
    fit(
        model,
        train,
        steps=steps,
        batch_size=BATCH,
        schedule=cooldown(steps, 3 * steps // 10),
        transform=lambda batch: logits(batch, torch.rand_like(batch))[0],
        progress=False,
    )
    return bits_per_dimension(model, held_out)


def spline_moons_nats(steps: int = 1500) -> float:
    model = seeded(lambda: SplineFlow(2, layers=LAYERS, hidden=64))
    schedule = cooldown(steps, 3 * steps // 10)
    fit(model, moons(10_000, 0), steps=steps, batch_size=BATCH, schedule=schedule, progress=False)
    with torch.no_grad():
        return -model.log_prob(moons(5_000, 1)).mean().item()
