"""A VAE and an IWAE of MNIST to the settings of Burda et al., their test bounds beside the published ones.

    python -m benchmarks.latent --only mnist                       both, in full: a GPU's work (9.84 million steps each)
    python -m benchmarks.latent_tasks.mnist --model iwae           one of them
    python -m benchmarks.latent_tasks.mnist --model vae --epochs 220 --batch 100 --rate 0.002 --test-draws 1000
    python -m benchmarks.latent_tasks.mnist --model dreg --draws 50 --epochs 24 --batch 100 --start NAME

ZOO_DATA names the folder of data where there is no network. One stochastic layer of 50 units, two layers of 200 tanh
units either way; Adam with epsilon 1e-4 on batches of 20, a learning rate of 1e-3 10^(-i/7) for 3^i epochs, i = 0..7;
every batch binarised anew, the test images once. The bound is the importance-weighted one of 5,000 draws. With
`--epochs` the schedule is one for a CPU: so many passes, the rate falling along a cosine, the weights averaged. A run
leaves `runs/burda_mnist/NAME/`: a checkpoint, from which it goes on when it is started again, the weights (`--start`
another run from them), a log, and the figure.

Published, test nats: VAE 86.76, IWAE with 50 draws 84.78 (Importance Weighted Autoencoders, Burda, Grosse and
Salakhutdinov, 2016, table 1). Not yet run in full here. The VAE on a CPU, on all test images by 1,000 draws: 88.11
after 220 epochs by the third command (16 minutes of one core), 86.74 after 640 more by it with `--epochs 640 --start
NAME` (some 50 minutes); and an IWAE from there by DReG (70 epochs of 5 draws, 24 of 20, 110 of 10, 53 of 50, three
hours), 85.31 by 1,000 draws and 85.07 by 5,000.
"""

from __future__ import annotations

import argparse
import json
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn

import zoo
from benchmarks.common import Row, report
from inference.checkpoint import Checkpoint
from inference.diagnostics.latent import active_units
from inference.fit import fit
from inference.importance import log_weights
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.objectives import Elbo, ImportanceWeightedElbo, Objective, doubly_reparameterised, pathwise
from inference.progress import Progress
from inference.schedules import Schedule, cosine
from zoo.conditionals import Bernoulli, Gaussian
from zoo.networks import mlp
from zoo.vae import VAE

FOLDER = Path("runs/burda_mnist")
PIXELS, LATENT, HIDDEN, BATCH = 784, 50, (200, 200), 20
PUBLISHED = {"vae": 86.76, "iwae": 84.78, "dreg": 84.78}


@dataclass(frozen=True)
class Settings:
    """What is run; the defaults are the paper's."""

    model: str = "vae"
    stages: int = 8
    draws: int = 50
    test_rows: int = 10_000
    test_draws: int = 5000
    seed: int = 0
    epochs: int = 0
    batch: int = BATCH
    rate: float = 1e-3
    start: str = ""

    @property
    def name(self) -> str:
        return "_".join(str(part) for part in asdict(self).values() if part != "")


class Chances:
    """An objective of rows of chances, which the fit's `transform` makes bits of."""

    def check(self, model: VAE, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError("chances are numbers from 0 to 1")


class OfElbo(Chances, Elbo):
    """Minus the ELBO."""


class OfImportanceWeighted(Chances, ImportanceWeightedElbo):
    """Minus the importance-weighted bound."""


OBJECTIVES: dict[str, Callable[[int], Objective]] = {
    "vae": lambda draws: OfElbo(),
    "iwae": lambda draws: OfImportanceWeighted(draws, pathwise),
    "dreg": lambda draws: OfImportanceWeighted(draws, doubly_reparameterised),
}


def stairs(stages: int, per_epoch: int) -> tuple[int, Schedule]:
    """All steps, and the factor 10^(-i/7) of each for 3^i epochs of the i-th stage."""
    ends = list(accumulate(3**i * per_epoch for i in range(stages)))
    return ends[-1], lambda step: 10.0 ** (-min(bisect_left(ends, step), stages - 1) / 7)


def network(x: Tensor, seed: int) -> VAE:
    """Glorot's start, and the decoder's last biases at the training pixels' mean, as in the paper's code."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        vae = VAE(
            PIXELS, latent=LATENT, encoder=partial(Gaussian, hidden=HIDDEN), decoder=partial(Bernoulli, hidden=HIDDEN)
        )
        for part, widths in ((vae.encoder_model, (PIXELS, 2 * LATENT)), (vae.decoder_model, (LATENT, PIXELS))):
            layers = mlp(*widths, HIDDEN, nn.Tanh)
            for parameter in layers.parameters():
                (nn.init.xavier_uniform_ if parameter.dim() > 1 else nn.init.zeros_)(parameter)
            part.parameters_of.network = layers
        layers[-1].bias.data.copy_(x.mean(0).clamp(0.001, 0.999).logit())
    return vae


def adam(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, eps=1e-4, fused=True)


def images() -> tuple[Tensor, Tensor]:
    """Chances of a pixel, [N, 784], of 60,000 training and 10,000 test images."""
    data = zoo.datasets.load("mnist")
    train, test = (split.x.flatten(1).float() / 255 for split in (data.train, data.test))
    return train, test


def trained(asked: Settings, x: Tensor, device: str, folder: Path) -> VAE:
    """Fitted, or fitted on from the checkpoint; the log has seconds of this start."""
    per_epoch = -(-len(x) // asked.batch)
    steps, schedule = stairs(asked.stages, per_epoch)
    if asked.epochs:
        steps = asked.epochs * per_epoch
        schedule = cosine(steps, 0.01)
    place, started, vae = folder / "checkpoint.pt", time.perf_counter(), network(x, asked.seed)
    if asked.start:
        vae.load_state_dict(torch.load(FOLDER / asked.start / "weights.pt", weights_only=True))

    def log(progress: Progress) -> None:
        line = {"epoch": progress.step / per_epoch, "seconds": round(time.perf_counter() - started), **progress.terms}
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    fit(
        vae,
        x,
        OBJECTIVES[asked.model](asked.draws),
        steps=steps,
        batch_size=asked.batch,
        lr=asked.rate,
        average=0.999 if asked.epochs else None,
        optimizer=adam,
        schedule=schedule,
        transform=torch.bernoulli,
        every=per_epoch,
        seed=asked.seed,
        device=device,
        callbacks=[log],
        checkpoint=Checkpoint(place, every=10 * per_epoch),
        resume=place if place.exists() else None,
    )
    torch.save(vae.state_dict(), folder / "weights.pt")
    return vae


def run(asked: Settings) -> dict[str, float]:
    """The figures of one model: nats to go down."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = FOLDER / asked.name
    folder.mkdir(parents=True, exist_ok=True)
    train, test = images()
    vae = trained(asked, train, device, folder)
    bits = torch.bernoulli(test[: asked.test_rows], generator=torch.Generator().manual_seed(asked.seed))
    bound = log_likelihood(vae, bits, method=ImportanceWeighted(asked.test_draws), seed=asked.seed)
    with torch.no_grad():
        some = log_weights(vae, bits[:500].to(device), draws=100)
    found = {
        "nats": -bound.mean,
        "nats_error": bound.mean_error,
        "nats_by_elbo": -float(some.log_weights.mean()),
        "active_units": float(active_units(some.z.cpu().numpy()).sum()),
    }
    (folder / "figures.json").write_text(json.dumps({**asdict(asked), "device": device, **found}, indent=1) + "\n")
    return found


def row(asked: Settings) -> Row:
    published = PUBLISHED[asked.model]
    return Row(f"mnist_{asked.model}_nats", run(asked)["nats"], published + 0.5, "lower", f"published: {published}")


def rows(rounds: int) -> list[Row]:
    del rounds  # one fit each
    return [row(Settings("vae")), row(Settings("iwae"))]


def main() -> None:
    parser = argparse.ArgumentParser(description="A VAE or IWAE of MNIST, to the settings of Burda et al.")
    parser.add_argument("--model", choices=OBJECTIVES, default="vae", help="dreg is iwae by DReG gradients")
    defaults = asdict(Settings())
    for name, what in (
        ("stages", "of 3^i epochs each (8 in the paper)"),
        ("draws", "of the importance-weighted bound in training"),
        ("test_rows", "test images"),
        ("test_draws", "of the test bound"),
        ("seed", "of everything"),
        ("epochs", "passes, in place of the stages, by a rate that falls along a cosine"),
        ("batch", "rows of a step"),
        ("rate", "the first learning rate"),
        ("start", "name of a run whose weights to begin from"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(defaults[name]), default=defaults[name], help=what)
    report([row(Settings(**vars(parser.parse_args())))])


if __name__ == "__main__":
    main()
