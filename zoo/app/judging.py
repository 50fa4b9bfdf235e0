"""What samples are judged by, and what was found, told: in words, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pooch
import torch
from torch import Tensor

from inference.quality import VALUES, Features, Modes, classifier_features
from inference.scoreboard import Scoreboard
from zoo.app import figures, report
from zoo.app.labels import useful_table
from zoo.app.recipe import Task
from zoo.app.telling import Found
from zoo.datasets import Data

MOST_ROWS, MOST_STEPS = 20_000, 20_000
SHOWN = 8
REACH = 0.99


def measures(task: Task) -> tuple[Features, Modes | None]:
    """Of labelled images, the features of a classifier of them, taught once and kept, and the classes as modes.

    All else is judged by its values, and no modes are known.
    """
    data, y = task.data, task.data.train.y
    if task.image_shape is None or y is None or y.is_floating_point() or len(y.unique()) < 2:
        return VALUES, None
    x, y = data.restore(data.train.x[:MOST_ROWS]), y[:MOST_ROWS]
    features = classifier_features(x, y, epochs=max(2, min(30, MOST_STEPS // len(x))), folder=kept())
    return features, _classes(features(x), y, data)


def kept() -> Path:
    """Where classifiers are kept, beside the data that was downloaded."""
    return Path(pooch.os_cache("pyro-zoo")) / "features"


def _classes(rows: Tensor, y: Tensor, data: Data) -> Modes:
    """Each class a mode: its mean, how far 99 % of its rows reach, its share and its name."""
    codes = y.unique()
    centres = torch.stack([rows[y == code].mean(0) for code in codes])
    gaps = [(rows[y == code] - centre).norm(dim=1) for code, centre in zip(codes, centres, strict=True)]
    reach = torch.stack([each.quantile(REACH) for each in gaps])
    shares = torch.tensor([len(each) / len(rows) for each in gaps], dtype=rows.dtype)
    names = tuple(str(data.class_names[code]) if data.class_names else str(code) for code in codes.tolist())
    return Modes(centres, reach, shares, names, torch.ones_like(centres[0]), f"{len(codes)} classes")


def sections(everything: Sequence[Found], board: Scoreboard | None) -> list[report.Section]:
    """The samples' quality: the table, the samples nearest to training rows, the modes that are missing, their use."""
    if board is None or not board.quality:
        return []
    return [*_quality(everything, board), *_useful(everything)]


def _useful(everything: Sequence[Found]) -> list[report.Section]:
    """What made rows of each class teach, for models that were told the classes."""
    found = {each.name: each.useful for each in everything if each.useful is not None}
    words = "The accuracy on held-out rows of a classifier taught on real rows, on rows the model made, and on both."
    return [report.Section("Do made rows teach?", [words], useful_table(found))] if found else []


def _quality(everything: Sequence[Found], board: Scoreboard) -> list[report.Section]:
    words = [found.words(name) for name, found in board.quality.items()]
    table = report.Section("Are the samples any good?", [board.quality_words(), *words], board.readable_quality())
    shape = everything[0].task.image_shape
    if shape is None:
        return [table]
    table.pictures = {**_pairs(board, shape), **_shares(board), **_missing(everything, board, shape)}
    return [table]


def _pairs(board: Scoreboard, shape: tuple[int, int]) -> dict[str, Any]:
    """The samples closest to training rows, above these."""
    shown = {
        name: (found.pairs.samples[:SHOWN].reshape(-1, *shape), found.pairs.rows[:SHOWN].reshape(-1, *shape))
        for name, found in board.quality.items()
        if found.pairs is not None
    }
    caption = "The samples that are closest to a training row, and that row below each: of a copier they are alike."
    return {caption: figures.pairs(shown)} if shown else {}


def _shares(board: Scoreboard) -> dict[str, Any]:
    """How the samples are spread over the modes, beside the data, for each set of modes that was told."""
    found = {name: judged.modes for name, judged in board.quality.items() if judged.modes is not None}
    if not found:
        return {}
    modes = next(iter(found.values())).modes
    shares = {"data": dict(zip(modes.names, modes.shares.tolist(), strict=True))}
    shares |= {
        name: {mode: share.value for mode, share in zip(modes.names, each.shares, strict=True)}
        for name, each in found.items()
    }
    missing = {name: each.missing for name, each in found.items()}
    return {"The share of rows in each class; * where a model misses it.": figures.modes(shares, missing)}


def _missing(everything: Sequence[Found], board: Scoreboard, shape: tuple[int, int]) -> dict[str, Any]:
    """Held-out rows of the modes that a model does not reach."""
    shown = {}
    for each in everything:
        judged = board.quality.get(each.name)
        if judged is None or judged.modes is None:
            continue
        data = each.task.data
        for name in judged.modes.missing:
            rows = _of_class(data, judged.modes.modes.names.index(name))
            if len(rows):
                shown[f"{each.name} misses {name}"] = data.restore(rows[:64]).reshape(-1, *shape)
    return {"Held-out rows of the classes that are missing.": figures.gallery(shown)} if shown else {}


def _of_class(data: Data, number: int) -> Tensor:
    """Held-out rows of the class of that number among those of the training rows."""
    code = data.train.y.unique()[number] if data.train.y is not None else number
    return data.test.x[:0] if data.test.y is None else data.test.x[data.test.y == code]
