"""An RBM with 500 hidden units on statically binarised MNIST: its nats on the test images from both sides of log Z.

AIS bounds log Z from below in expectation, so that its likelihood is if anything too high; reverse AIS, from rows of
chains that began at training rows, bounds it from above and gives one that is too low, as far as these rows are
draws of the model. Published, test nats by AIS: -125.53 by CD-1, -105.50 by CD-3 and -86.34 by CD-25 (Salakhutdinov and
Murray, 2008); a centred RBM by PCD-1 -84.86, and -96.61 by reverse AIS (PyDeep). Their pixels were binarised otherwise.

Measured, seed 0, 40 epochs in 170 seconds of one core: test nats -90.91 by AIS (log Z 483.56 +- 0.29, 11 effective of
100 chains) and -91.46 by reverse AIS (484.11 +- 0.21, 18 effective); train -89.3. With half the temperatures, and
reverse chains that went on from the fit's, one chain had all the weight, and the two sides crossed.

It needs `binarized_mnist` (ZOO_DATA where there is no network) and about six minutes of one core.
"""

from __future__ import annotations

import torch
from torch import Tensor

import zoo
from benchmarks.common import Row
from inference.ais import LogPartition, ais, reverse_ais
from inference.descent import descent
from inference.fit import fit
from inference.objectives import ContrastiveDivergence
from zoo.rbm import RBM

HIDDEN, CHAINS, EPOCHS, BATCH, LR = 500, 100, 40, 100, 0.1
TEMPERATURES = 20_000
SWEEPS = 2000
"""Of chains begun at training rows, before reverse AIS begins at theirs."""


def fitted(train: Tensor, seed: int = 0) -> tuple[RBM, Tensor]:
    """The machine by PCD-1, the rate falling linearly to nothing, and draws of it."""
    torch.manual_seed(seed)
    model = RBM(train.shape[1], hidden=HIDDEN)
    steps = EPOCHS * -(-len(train) // BATCH)
    fit(
        model,
        train,
        ContrastiveDivergence(1, CHAINS),
        steps=steps,
        batch_size=BATCH,
        lr=LR,
        schedule=lambda step: 1 - (step - 1) / steps,
        optimizer=descent,
        every=500,
        seed=seed,
        progress=False,
    )
    rows = train[torch.randperm(len(train))[:CHAINS]]
    for _ in range(SWEEPS):
        rows = model.gibbs_step(rows)
    return model, rows


@torch.no_grad()
def nats(model: RBM, x: Tensor, log_z: LogPartition) -> float:
    return float(-model.free_energy(x).double().mean() - log_z.value)


def rows(rounds: int) -> list[Row]:
    data = zoo.datasets.load("binarized_mnist")
    train, test = (part.x.float().flatten(1) for part in (data.train, data.test))
    model, draws = fitted(train)
    below = ais(model, chains=CHAINS, temperatures=TEMPERATURES, data=train)
    above = reverse_ais(model, rows=draws, temperatures=TEMPERATURES, data=train)
    print(f"log Z: {below}; {above}", flush=True)
    print(f"train, nats by AIS: {nats(model, train[:10_000], below):.2f}", flush=True)
    peer = "Salakhutdinov & Murray 2008, CD-25"
    return [
        Row("rbm_mnist_ais", nats(model, test, below), -86.34, "higher", peer),
        Row("rbm_mnist_reverse_ais", nats(model, test, above), -96.61, "higher", "PyDeep, centred, PCD-1"),
    ]
