"""Labels of a data set as what a conditional model is told, and what its labelled rows teach a classifier."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from inference.labelled import labelled_draws
from inference.quality import Features, Usefulness, usefulness
from zoo.base import Model
from zoo.datasets import Data, Split
from zoo.spec import SpecError

MOST_ROWS = 5000
"""Rows of each kind that a classifier is taught by and asked about."""


def classes_of(data: Data) -> int:
    """How many classes the labels of a data set have."""
    y = data.train.y
    if y is None or y.is_floating_point() or len(y.unique()) < 2:
        raise SpecError(f"data.context asks for labels, but {data.name} has no labels of two or more classes")
    return int(y.max()) + 1


def context_shape_of(table: dict[str, Any], classes: int) -> tuple[int, ...] | None:
    """The shape of a class as a context, one-hot where the table of the model says nothing of it."""
    return None if "context_shape" in table or "classes" in table else (classes,)


def contexts(model: Model, y: Tensor, classes: int) -> Tensor:
    """Labels [N] as the model's context: their codes, or one-hot."""
    shape = model.context_shape
    if shape == torch.Size([]):
        return y.long()
    if shape == torch.Size([classes]):
        return F.one_hot(y.long(), classes).to(model.dtype)
    told = "no context" if shape is None else f"a context of shape {list(shape)}"
    raise SpecError(
        f"model.context_shape: the model takes {told}, but labels of {classes} classes are a context of shape "
        f"[{classes}], one-hot, or [], codes"
    )


def useful(model: Model, data: Data, features: Features, classes: int, seed: int) -> Usefulness:
    """Accuracies of a classifier of features, taught on training rows, on as many that the model makes, on both."""
    made = labelled_draws(model, contexts(model, torch.arange(classes), classes), MOST_ROWS // classes, seed=seed)
    return usefulness(
        _seen(data, features, data.train),
        (features(data.restore(made[0].cpu())), made[1]),
        _seen(data, features, data.test),
        seed=seed,
    )


def _seen(data: Data, features: Features, split: Split) -> tuple[Tensor, Tensor]:
    assert split.y is not None
    return features(data.restore(split.x[:MOST_ROWS])), split.y[:MOST_ROWS]


def useful_table(found: dict[str, Usefulness]) -> pd.DataFrame:
    """A row a model."""
    shown = {
        name: {
            "taught on real rows": str(each.real),
            "on made rows": str(each.synthetic),
            "on both": str(each.both),
            "gained by both": f"{each.gained.value:+.3f} [{each.gained.low:+.3f}, {each.gained.high:+.3f}]",
        }
        for name, each in found.items()
    }
    return pd.DataFrame.from_dict(shown, orient="index").rename_axis("model")
