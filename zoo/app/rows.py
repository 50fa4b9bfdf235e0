"""Rows of one's own: CSV files as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo.datasets import Data, Split
from zoo.registry import family, near
from zoo.spec import SpecError, build


@dataclass(frozen=True)
class DataAsked:
    """Which data: by name, or rows of one's own; the view is the model's own choice unless named.

    `context` tells a conditional model each row's class: "labels" of data by name, or a column of one's own rows.
    """

    name: str | None = None
    csv: str | None = None
    view: str | list[str] | None = None
    seed: int = 0
    held_out: float = 0.25
    context: str | None = None


def frame_data(asked: DataAsked, model: Mapping[str, Any]) -> Data:
    """Rows of a CSV file, permuted by the seed and split; a family whose states have names reads them itself."""
    path = str(asked.csv)
    frame, levels = read_csv(path), None
    y, class_names = None, None
    if asked.context is not None:
        frame, y, class_names = _labelled(frame, asked.context, path)
    names: tuple[str, ...] | None
    if hasattr(family(str(model.get("family"))).load(), "encode_frame"):
        network: Any = build(model)
        x = network.encode_frame(frame)
        names = None  # rows of codes and numbers are taken as they are, never standardised
        if hasattr(network, "states"):
            names = tuple(map(str, network.variables))
            levels = max(len(states) for states in network.states.values())
    else:
        x, names = numbers(frame, path), tuple(map(str, frame.columns))
    if not 0 < asked.held_out < 1:
        raise SpecError(f"data.held_out is {asked.held_out}, but a fraction between 0 and 1 was expected")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(asked.seed))
    first = len(x) - max(1, round(len(x) * asked.held_out))
    return Data(
        name=Path(path).stem,
        description=f"rows of {path}",
        train=Split(x[order[:first]], None if y is None else y[order[:first]]),
        test=Split(x[order[first:]], None if y is None else y[order[first:]]),
        levels=levels,
        feature_names=names,
        class_names=class_names,
    )


def _labelled(frame: pd.DataFrame, column: str, path: str) -> tuple[pd.DataFrame, torch.Tensor, tuple[str, ...]]:
    """The other columns, the codes of the classes in this one, and their names."""
    if column not in frame:
        raise SpecError(f"data.context is {column!r}, but {path} has no such column{near(column, frame.columns)}")
    if frame[column].isna().any():
        row = int(frame[column].isna().to_numpy().argmax())
        raise ValueError(f"{path}: row {row}, column {column!r} is empty: fill it in or drop the row")
    names = sorted(frame[column].unique().tolist())
    codes = pd.Index(names).get_indexer(pd.Index(frame[column]))
    return frame.drop(columns=column), torch.as_tensor(codes), tuple(map(str, names))


def numbers(frame: pd.DataFrame, path: str, dtype: str = "float32", gaps: bool = False) -> torch.Tensor:
    """A frame's rows as floats; empty cells are refused, or NaN where there may be `gaps`."""
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise TypeError(f"{path}: column {str(column)!r} is not numeric; encode it as numbers, or leave it out")
        if frame[column].isna().any() and not gaps:
            row = int(frame[column].isna().to_numpy().argmax())
            raise ValueError(f"{path}: row {row}, column {str(column)!r} is empty: fill it in or drop the row")
    return torch.as_tensor(frame.to_numpy(dtype=dtype, copy=True))


def read_csv(path: str, **options: Any) -> pd.DataFrame:
    """A CSV file's rows."""
    try:
        frame = pd.read_csv(path, **options)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path!r}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file of rows: {error}") from None
    if len(frame) == 0:
        raise ValueError(f"{path} has no rows")
    names = [str(column) for column in frame.columns]
    counted = names == [str(i) for i in range(len(names))]  # columns without names of their own
    if not counted and any(_is_number(name) for name in names):
        raise ValueError(f"{path} has no header: its first line holds numbers; write the columns' names there")
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
