"""What MADE and PixelCNN reach on binarised digits: 1,200 images to train on, 147 to choose by, 450 held out.

All that was tried was chosen among by the 147 alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.foundation_tasks.data import binarised_digits
from inference.fit import fit
from inference.schedules import cosine
from zoo.base import Explicit
from zoo.made import MADE
from zoo.pixelcnn import PixelCNN


def images() -> tuple[Tensor, Tensor, Tensor]:
    """To train on, to choose by, held out: [N, 1, 8, 8]."""
    train, test = (part.view(-1, 1, 8, 8) for part in binarised_digits())
    return train[:1200], train[1200:], test


def nats(model: Explicit, x: Tensor) -> float:
    """The mean negative log-likelihood of images."""
    with torch.no_grad():
        return -model.log_prob(x.view(-1, *model.event_shape)).mean().item()


def made(seed: int = 0) -> MADE:
    """Fitted to all images but those held out: its validation was still falling after these steps."""
    train, validation, _ = images()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MADE(64, hidden=(512, 512), dropout=0.5)
    steps = 2000
    x = torch.cat([train, validation]).flatten(1)
    fit(model, x, steps=steps, lr=3e-3, schedule=cosine(steps), seed=seed, progress=False)
    return model


def pixelcnn(seed: int = 0) -> PixelCNN:
    """Fitted until the images to choose by get no likelier, and back at their best."""
    train, validation, _ = images()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PixelCNN((1, 8, 8), hidden=32, layers=3, kernel=5, dropout=0.25)
    steps = 700
    fit(
        model,
        train,
        steps=steps,
        batch_size=64,
        lr=5e-3,
        schedule=cosine(steps),
        validation=validation,
        patience=8,
        seed=seed,
        progress=False,
    )
    return model
