"""A question as the methods read it, and the words in which one is refused."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from inference.asking import placed
from inference.data import as_rows, check_data
from inference.protocols import name_of

FEW = 3
"""Of a list of so many, each is told."""


@dataclass(frozen=True)
class Question:
    """p(targets | given, do) of a model. A tuple among the targets asks for a joint distribution."""

    model: Any
    targets: tuple[Hashable, ...]
    given: Mapping[Hashable, Any]
    do: Mapping[Hashable, Any]
    context: Tensor | None
    draws: int
    seed: int

    def __str__(self) -> str:
        asked = "; ".join(", ".join(map(str, t)) if isinstance(t, tuple) else str(t) for t in self.targets)
        conditions = [f"{name} = {_short(value)}" for name, value in self.given.items()]
        conditions += [f"do({name} = {_short(value)})" for name, value in self.do.items()]
        return f"P({asked} | {', '.join(conditions)})" if conditions else f"P({asked})"

    def rows(self) -> Tensor:
        """The observed rows x where the model is, checked as data is."""
        rows = as_rows(self.given["x"], self.model)
        x = placed(self.model, rows.x)
        check_data(self.model, x, self.context, rows.columns)
        return x


def ask(
    model: Any,
    targets: Any,
    given: Mapping[Any, Any] | None,
    do: Mapping[Any, Any] | None,
    context: Tensor | None,
    draws: int,
    seed: int,
) -> Question:
    """The question, its parts checked for form."""
    for name, part in (("given", given), ("do", do)):
        if part is not None and not isinstance(part, Mapping | pd.DataFrame):
            raise TypeError(f"{name} must map names to values, not be a {name_of(part)}")
    several = targets if isinstance(targets, list) else [targets]
    if not several:
        raise ValueError("query needs at least one target")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be a positive whole number, not {draws!r}")
    context = None if context is None else placed(model, context)
    return Question(model, tuple(several), _parts(given), _parts(do), context, draws, seed)


def _parts(part: Any) -> dict[Any, Any]:
    """A mapping, or the columns of a frame, by name."""
    return {} if part is None else dict(part.items())


def _short(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) <= FEW:
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, list | tuple):
        value = np.asarray(value, dtype=object)
    shape = getattr(value, "shape", None)
    return f"{shape[0]} row{'s' if shape[0] != 1 else ''}" if shape is not None and len(shape) else str(value)
