"""Rows of each class from a conditional model, such as `inference.quality.usefulness` asks about."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.asking import asking, placed
from inference.diagnostics.predictive import draw


def labelled_draws(model: Any, contexts: Tensor, rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """As many rows of each class from a conditional model, given what each class's context is, [classes, ...]."""
    labels = torch.arange(len(contexts)).repeat_interleave(rows)
    given = placed(model, contexts)
    with asking(model, seed):
        return draw(model, len(labels), given[labels.to(given.device)]), labels
