"""PixelCNN on statically binarised MNIST, its nats on all 10,000 test images beside the published ones.

Run by `--only mnist`, with ZOO_DATA set where there is no network. It takes an hour of one core or, on a GPU, other
settings: those expected to reach the published figure. It writes `runs/pixelcnn_mnist/`: a checkpoint every 100 steps,
from which it goes on when it is started again, a log, and the figure.

Published, test nats: PixelCNN 81.30 (van den Oord et al., 2016), gated PixelCNN 81.50 (pytorch-generative), one-layer
diagonal BiLSTM 80.75, NADE 88.33. Measured with the CPU's settings: 83.24, after 31 minutes of one core. The GPU's have
not been tried.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zoo
from benchmarks.common import Row
from inference.checkpoint import Checkpoint
from inference.fit import fit
from inference.progress import Progress
from inference.schedules import cosine
from zoo.pixelcnn import PixelCNN

FOLDER = Path("runs/pixelcnn_mnist")


@dataclass(frozen=True)
class Setting:
    """A network and how it is fitted."""

    network: Mapping[str, Any]
    steps: int
    batch_size: int
    lr: float


SETTINGS = {
    "cpu": Setting({"hidden": 16, "layers": 6, "kernel": 5}, steps=5000, batch_size=50, lr=5e-3),
    "cuda": Setting({"hidden": 64, "layers": 10, "kernel": 5, "dropout": 0.2}, steps=40_000, batch_size=128, lr=2e-3),
}


def nats(model: PixelCNN, x: Tensor) -> float:
    """The mean negative log-likelihood of images."""
    model.eval()
    with torch.no_grad():
        return -torch.cat([model.log_prob(part.to(model.device)) for part in x.float().split(200)]).mean().item()


def note(line: Mapping[str, Any]) -> None:
    with (FOLDER / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def train(setting: Setting, device: str, x: Tensor, held_out: Tensor) -> PixelCNN:
    """Fitted, or fitted on from the checkpoint; the log has CPU seconds of this start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PixelCNN((1, 28, 28), **setting.network)

    def report(progress: Progress) -> None:
        note({"step": progress.step, "cpu_seconds": round(time.process_time()), **progress.terms})

    place = FOLDER / f"{device}.pt"
    fit(
        model,
        x.float(),
        steps=setting.steps,
        batch_size=setting.batch_size,
        lr=setting.lr,
        schedule=cosine(setting.steps),
        clip=5.0,
        validation=held_out.float(),
        every=100,
        device=device,
        callbacks=[report],
        checkpoint=Checkpoint(place, every=100),
        resume=place if place.exists() else None,
    )
    return model


def rows(rounds: int) -> list[Row]:
    del rounds  # one fit
    FOLDER.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = zoo.datasets.load("binarized_mnist")
    assert data.validation is not None
    model = train(SETTINGS[device], device, data.train.x, data.validation.x[:500])
    value = nats(model, data.test.x)
    note({"setting": device, "test_images": len(data.test.x), "test_nats": value})
    return [Row("pixelcnn_mnist_nats", value, 81.50, "lower", "published: PixelCNN 81.30, gated 81.50")]
