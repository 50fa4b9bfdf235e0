"""Posterior predictive checks: rows that the model draws, beside the rows it was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from inference.importance import repeated
from inference.protocols import given_context

LEVELS = 10_000
"""Codes are compared level by level, not by their means, up to this many levels of all columns together."""


def draw(model: Any, n: int, context: Tensor | None) -> Tensor:
    """n rows from a model's `sample`, or from the site "x" of a bare Pyro pair."""
    if hasattr(model, "sample"):
        return given_context(model.sample, context)(n)
    return poutine.trace(given_context(model.model, context)).get_trace(n=n).nodes["x"]["value"].detach()


def replicates(model: Any, rows: int, context: Tensor | None, count: int) -> Tensor:
    """As many rows as the data has, `count` times over: [count, rows, ...]."""
    drawn = draw(model, count * rows, repeated(context, count))
    return drawn.reshape(count, rows, *drawn.shape[1:])


def columns(x: np.ndarray, names: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Rows as a table of numbers [N, columns] with a name each; codes become one column a level."""
    rows = x.reshape(len(x), -1)
    named = [f"column {name}" for name in (names or range(rows.shape[1]))]
    top = int(rows.max()) if rows.size else 0
    if np.issubdtype(x.dtype, np.floating) or rows.shape[1] * (top + 1) > LEVELS:
        return rows.astype(np.float64), named
    levels = rows[:, :, None] == np.arange(top + 1)
    by_level = [f"{name}, level {level}" for name in named for level in range(top + 1)]
    return levels.reshape(len(rows), -1).astype(np.float64), by_level


def compared(
    x: np.ndarray, drawn: np.ndarray, names: Sequence[str] | None = None
) -> tuple[np.ndarray, float, list[str]]:
    """How many standard errors apart the columns' means are, the ratio of total variances, and the names."""
    both, named = columns(np.concatenate([x, drawn]), names)
    data, samples = both[: len(x)], both[len(x) :]
    gap = samples.mean(0) - data.mean(0)
    error = np.sqrt(data.var(0) / len(data) + samples.var(0) / len(samples))
    z_scores = np.divide(gap, error, out=np.where(gap == 0, 0.0, np.inf), where=error > 0)
    total = data.var(0).sum()
    return z_scores, float(samples.var(0).sum() / total) if total > 0 else 1.0, named


def to_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
