"""Data at the door: whatever users hold, as rows, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from inference.protocols import Incomplete, measure_of, name_of, offers

Batch = tuple[Tensor, Tensor | None]


class Rows(Protocol):
    """N rows of x, each with a row of context or none."""

    columns: Sequence[str] | None

    def __len__(self) -> int: ...
    def take(self, index: Tensor) -> Batch: ...

    @property
    def x(self) -> Tensor: ...
    @property
    def context(self) -> Tensor | None: ...


class TensorRows:
    """Rows that lie in memory as tensors."""

    def __init__(self, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        if x.dim() == 0:
            raise ValueError("data is a single number; give rows, [N, ...]")
        if context is not None and len(context) != len(x):
            raise ValueError(f"x has {len(x)} rows, but context has {len(context)}")
        self.x, self.context, self.columns = x, context, columns

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Batch:
        context = self.context
        return self.x.index_select(0, index), None if context is None else context.index_select(0, index)

    def part(self, index: Tensor) -> TensorRows:
        """Some of the rows, as rows."""
        return TensorRows(*self.take(index.to(self.x.device)), self.columns)

    def to(self, device: torch.device, dtype: torch.dtype) -> TensorRows:
        """The rows where a model is, floats as the model's floats; codes stay codes."""

        def move(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(device, dtype if t.is_floating_point() else None)

        moved = move(self.x)
        assert moved is not None
        return TensorRows(moved, move(self.context), self.columns)


class DatasetRows:
    """Rows of a torch `Dataset`, read a batch at a time; an item is x, (x, context), or a mapping of both."""

    columns = None

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def take(self, index: Tensor) -> Batch:
        items = default_collate([self.dataset[int(i)] for i in index])
        if isinstance(items, Mapping):
            return items["x"], items.get("context")
        if isinstance(items, (list, tuple)):
            return items[0], items[1] if len(items) > 1 else None
        return items, None

    def part(self, index: Tensor) -> DatasetRows:
        """Some of the rows, still unread."""
        return DatasetRows(Subset(self.dataset, index.tolist()))

    @property
    def x(self) -> Tensor:
        return self.take(torch.arange(len(self)))[0]

    @property
    def context(self) -> Tensor | None:
        return self.take(torch.arange(len(self)))[1]


def as_rows(data: Any, model: Any = None) -> TensorRows | DatasetRows:
    """Tensor, array, mapping of named tensors, DataFrame or torch Dataset, as rows.

    A DataFrame's numeric columns become float64, and arrays keep their dtype: what asks the model casts to
    the model's. A model with `encode_frame` (a network, whose states have
    names) reads the frame itself. NaN becomes the code of a missing cell where a model has one (`Incomplete`).
    """
    if isinstance(data, (TensorRows, DatasetRows)):
        return data
    if isinstance(data, pd.DataFrame):
        return _frame(data, model)
    if isinstance(data, Mapping):
        return coded(model, _mapping(data))
    if isinstance(data, TensorDataset):
        return coded(model, TensorRows(data.tensors[0], data.tensors[1] if len(data.tensors) > 1 else None))
    if isinstance(data, Dataset):
        return DatasetRows(data)
    return coded(model, TensorRows(_tensor("data", data)))


def coded(model: Any, rows: TensorRows) -> TensorRows:
    """The rows with NaN as the model's code for a cell that is not known, where it has one."""
    if not offers(model, Incomplete) or not rows.x.is_floating_point():
        return rows
    return TensorRows(torch.where(rows.x.isnan(), float(model.missing_code), rows.x), rows.context, rows.columns)


def lacks_cells(model: Any, x: Tensor) -> bool:
    """Whether some cell of x is not known, in the model's own code for that."""
    return bool(lacking(model, x).any())


def lacking(model: Any, x: Tensor) -> Tensor:
    """Which rows lack a cell, [N]."""
    return absent(model, x).flatten(1).any(1)


def absent(model: Any, x: Tensor) -> Tensor:
    """Which cells of x are not known, in the model's own code for that; of its shape."""
    if not offers(model, Incomplete):
        return torch.zeros_like(x, dtype=torch.bool)
    return x.isnan() if math.isnan(model.missing_code) else x == model.missing_code


def check_known(model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
    """As `check_data`, for those who can do with what is known: missing cells pass."""
    gaps = absent(model, x)
    if gaps.any():
        check_around(model, x, gaps, context, columns)
    else:
        check_data(model, x, context, columns)


def check_around(
    model: Any, x: Tensor, gaps: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None
) -> Tensor:
    """x with something in its gaps that the model may be given, the rest checked as `check_data` does."""
    # what stands in must be in the support: code 0 is in every column's, a number that is known in its own
    numbers = x[~gaps] if x.is_floating_point() and not gaps.all() else torch.zeros_like(x[:1]).flatten()
    if measure_of(model) == "mass":
        numbers = torch.zeros_like(numbers)
    x = torch.where(gaps, numbers[0], x)
    check_data(model, x, context, columns)
    return x


def _mapping(data: Mapping[str, Any]) -> TensorRows:
    unknown = set(data) - {"x", "context"}
    if unknown or "x" not in data:
        raise ValueError(f"a mapping of data has the keys 'x' and, where there is one, 'context', not {sorted(data)}")
    context = data.get("context")
    return TensorRows(_tensor("x", data["x"]), None if context is None else _tensor("context", context))


def _frame(data: pd.DataFrame, model: Any) -> TensorRows:
    names = [str(column) for column in data.columns]
    if hasattr(model, "encode_frame"):
        variables = [str(variable) for variable in getattr(model, "variables", names)]
        return TensorRows(model.encode_frame(data), columns=variables)
    odd = [str(column) for column in data.columns if not pd.api.types.is_numeric_dtype(data[column])]
    if odd:
        raise TypeError(f"column {odd[0]!r} is not numeric; encode it as numbers, or leave it out")
    return TensorRows(_tensor("x", data.to_numpy(dtype=np.float64)), columns=names)


def _tensor(name: str, values: Any) -> Tensor:
    for parts in ("train", "x"):
        if hasattr(values, parts):
            raise TypeError(f"{name} is a {type(values).__name__}: give its rows, such as .train.x")
    if isinstance(values, tuple):
        raise TypeError(f'{name} is a tuple: give {{"x": ..., "context": ...}}, or a TensorDataset')
    if isinstance(values, Tensor):
        return values
    try:
        array = np.require(values, requirements=["C", "W"])  # a frame lies by columns; rows are taken
        return torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, not {type(values).__name__}") from error


def check_data(model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
    """Refuse rows that a model can't take: none at all, NaN, infinite, of another shape, dtype or support."""
    if len(x) == 0:
        raise ValueError("data has no rows")
    for name, rows in (("x", x), ("context", context)):
        if rows is not None and rows.is_floating_point() and not torch.isfinite(rows).all():
            place = _place(~torch.isfinite(rows), columns if name == "x" else None)
            raise ValueError(f"{name} is not finite at {place}: drop the row or fill the value in first")
    if hasattr(model, "check"):
        model.check(x, context)
    support = getattr(model, "support", None)
    if support is None or getattr(support, "event_dim", 0) != 0:
        return
    inside = support.check(x)
    if not inside.all():
        value = x[~inside][0].item()
        raise ValueError(
            f"x has the value {value:g} at {_place(~inside, columns)}, "
            f"outside the support of {name_of(model)}: {support}"
        )


def _place(bad: Tensor, columns: Sequence[str] | None) -> str:
    row, *rest = torch.nonzero(bad)[0].tolist()
    if not rest:
        return f"row {row}"
    column = repr(columns[rest[0]]) if columns and len(rest) == 1 else ", ".join(map(str, rest))
    return f"row {row}, column {column}"
