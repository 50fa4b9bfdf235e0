"""The VAE with a VampPrior on statically binarised MNIST, its nats on the 10,000 test images beside the published.

    python -m benchmarks.latent_tasks.vamp_mnist                                           as published, for a GPU
    python -m benchmarks.latent_tasks.vamp_mnist --epochs 6 --warm-up 1 --components 100 --draws 200 --images 1000

Tomczak and Welling (2018), https://arxiv.org/abs/1705.07120: 40 latents, two gated layers of 300 each way, 500
pseudo-inputs, a warm-up of 100 epochs, at most 2,000 epochs, stopped after 50 without a better bound on the validation
images, importance weighted with 5,000 draws. Published: 85.57, with a standard prior 88.56.

Measured: the second command, 100 seconds of one core, 115.0 +- 0.8 on the first 1,000 test images; and `--epochs 100
--warm-up 20 --batch 250 --rate 0.001 --draws 1000`, some 40 minutes, 86.54 +- 0.24 on all. The published settings have
not been tried.

ZOO_DATA names the folder of the data where there is no network. `runs/vamp_mnist/` holds a checkpoint after each epoch,
from which the same command goes on, a log, and the figure.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from benchmarks.common import Row, report
from inference.checkpoint import Checkpoint
from inference.fit import fit
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.objectives import Elbo
from inference.progress import Progress
from inference.schedules import warmup
from zoo.conditionals import Bernoulli, Gaussian
from zoo.vae import VAE
from zoo.vamp_prior import VampPrior

FOLDER = Path("runs/vamp_mnist")
LATENT, WIDTH = 40, 300


@dataclass(frozen=True)
class Setting:
    """How long, how many pseudo-inputs (0 for the standard prior), and what is measured on how many test images."""

    epochs: int = 2000
    warm_up: int = 100
    patience: int = 50
    components: int = 500
    draws: int = 5000
    images: int = 10_000
    batch: int = 100
    rate: float = 5e-4

    @property
    def name(self) -> str:
        return f"{self.components}_of_{self.epochs}"


class Gated(nn.Module):
    """A linear layer times the sigmoid of another."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.both = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.glu(self.both(x), -1)


def gated(context_shape: torch.Size, event_shape: torch.Size, count: int) -> nn.Module:
    """Two gated layers, to `count` parameters of each number."""
    last = nn.Linear(WIDTH, count * event_shape.numel())
    out = nn.Unflatten(-1, (count, *event_shape))
    return nn.Sequential(nn.Flatten(), Gated(context_shape.numel(), WIDTH), Gated(WIDTH, WIDTH), last, out)


def made(components: int, pixels: int = 784) -> VAE:
    """The model, its parameters from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        encoder = Gaussian(LATENT, context_shape=pixels, network=gated)
        decoder = Bernoulli(pixels, context_shape=LATENT, network=gated)
        prior = VampPrior(LATENT, components=components) if components else None
        return VAE(pixels, latent=LATENT, encoder=encoder, decoder=decoder, prior=prior)


def note(line: Mapping[str, Any]) -> None:
    with (FOLDER / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def trained(setting: Setting, device: str, x: Tensor, held_out: Tensor) -> VAE:
    """Fitted, or fitted on from the checkpoint; the log has the CPU seconds of this start."""

    def log(progress: Progress) -> None:
        note({"step": progress.step, "cpu_seconds": round(time.process_time()), **progress.terms})

    model, epoch, place = made(setting.components), len(x) // setting.batch, FOLDER / f"{setting.name}.pt"
    fit(
        model,
        x,
        Elbo(beta=warmup(setting.warm_up * epoch) if setting.warm_up else 1.0),
        epochs=setting.epochs,
        batch_size=setting.batch,
        lr=setting.rate,
        validation=held_out,
        patience=setting.patience,
        every=epoch,
        device=device,
        callbacks=[log],
        checkpoint=Checkpoint(place, every=epoch),
        resume=place if place.exists() else None,
    )
    return model


def measured(setting: Setting) -> Row:
    """Train, and bound the test images."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = zoo.datasets.load("binarized_mnist")
    assert data.validation is not None
    train, held_out, test = (part.x.float().flatten(1) for part in (data.train, data.validation, data.test))
    model = trained(setting, device, train, held_out if device == "cuda" else held_out[:1000])
    found = log_likelihood(model, test[: setting.images], method=ImportanceWeighted(setting.draws))
    note({**asdict(setting), "device": device, "test_nats": -found.mean, "error": found.mean_error})
    beside = f"+- {found.mean_error:.2f}; published 85.57 (500 pseudo-inputs), 88.56 (standard prior)"
    return Row("vamp_mnist_nats", -found.mean, 86.07 if setting.components else 89.06, "lower", beside)


def rows(rounds: int) -> list[Row]:
    del rounds  # one fit
    return [measured(Setting())]


def main() -> None:
    parser = argparse.ArgumentParser(description="A VampPrior on MNIST; shorter than published where asked.")
    for name, value in asdict(Setting()).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(value), default=value, help=f"{value} as published")
    parser.add_argument("--threads", type=int, help="threads of a CPU")
    arguments = vars(parser.parse_args())
    threads = arguments.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    report([measured(Setting(**arguments))])


if __name__ == "__main__":
    main()
