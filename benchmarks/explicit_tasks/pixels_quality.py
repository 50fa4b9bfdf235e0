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


def early_stopped(model: Explicit, steps: int, batch_size: int, lr: float) -> Explicit:
    """Fitted for so many steps at most, and back at the best of the rows to choose by."""
    train, validation, _ = (part.view(-1, *model.event_shape) for part in images())
    fit(
        model,
        train,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        schedule=cosine(steps),
        validation=validation,
        patience=6,
        progress=False,
    )
    return model
