"""What `query` gives back: labelled arrays, how they were found, and how far to trust them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

SHOWN, ROWS = 8, 4
"""How many states or columns, and how many rows of an estimate, are printed."""


@dataclass(frozen=True, repr=False)
class Answer:
    """The answer to one question.

    `values` holds an array for each target: a distribution over named states, or statistics or draws with
    their dimensions named. `kind` is "exact", "estimate", or "approximation"
    where nothing says how far off it is; `method` says in words how it was found.
    `log_evidence` is the log-probability of what was given, in nats: a number, an array with one a row, or
    None where nothing was given that has one. `reliability` says how far an estimate can be trusted,
    `warnings` where it can't.
    """

    question: str
    values: Mapping[Hashable, xr.DataArray]
    method: str
    kind: str
    log_evidence: float | xr.DataArray | None = None
    reliability: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __getitem__(self, target: Hashable) -> xr.DataArray:
        return self.values[target]

    def to_frame(self) -> pd.DataFrame:
        """A tidy table: a row for each state of each target, or for each number of an estimate."""
        return pd.concat([_tidy(target, array) for target, array in self.values.items()], ignore_index=True)

    def __repr__(self) -> str:
        lines = [f"{self.question}: {self.kind}, by {self.method}"]
        for target, array in self.values.items():
            lines += [f"  {_label(target)}", *("    " + line for line in _table(target, array).splitlines())]
        if self.log_evidence is not None:
            lines.append(f"  log evidence {_number(self.log_evidence)} nats")
        figures = {name: value for name, value in self.reliability.items() if not isinstance(value, xr.DataArray)}
        if figures:
            lines.append("  " + ", ".join(f"{name} {_number(value)}" for name, value in figures.items()))
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def _label(target: Hashable) -> str:
    return ", ".join(map(str, target)) if isinstance(target, tuple) else str(target)


def _is_distribution(target: Hashable, array: xr.DataArray) -> bool:
    """Whether an array's axes are the target's own states, each with its probability."""
    return array.dims in ((target,), target)


def _tidy(target: Hashable, array: xr.DataArray) -> pd.DataFrame:
    if _is_distribution(target, array):
        series = array.to_series()
        states = pd.Series(list(series.index), dtype=object)
        return pd.DataFrame({"target": [target] * len(series), "state": states, "probability": series.to_numpy()})
    frame = array.to_series().rename(str(array.name or "value")).reset_index()
    frame.insert(0, "target", [target] * len(frame))
    return frame


def _table(target: Hashable, array: xr.DataArray) -> str:
    if _is_distribution(target, array):
        series = array.to_series().sort_values(ascending=False, kind="stable")
        shown = series if len(series) <= SHOWN else series.iloc[:SHOWN]
        text = shown.to_frame().to_string(
            header=False, index_names=False, sparsify=False, float_format=lambda p: f"{p:.4f}"
        )
        return text if len(series) == len(shown) else f"{text}\n... {len(series) - SHOWN} less likely states"
    if array.dims == ("statistic",):
        array = array.expand_dims("number")
    first = array.isel({array.dims[0]: slice(ROWS)})
    if "statistic" in array.dims:
        first = _mean_and_sd(first)
    rest = [str(dim) for dim in first.dims[1:]]
    frame = first.stack(columns=rest).to_pandas() if rest else first.to_pandas().to_frame()
    shown = frame.iloc[:, :SHOWN].to_string(header=bool(rest), float_format=lambda v: f"{v:.4g}")
    sizes = ", ".join(f"{dim} {array.sizes[dim]}" for dim in first.dims)
    whole = len(frame) == array.shape[0] and frame.shape[1] <= SHOWN
    return shown if whole else f"{shown}\n... of {sizes}"


def _mean_and_sd(array: xr.DataArray) -> xr.DataArray:
    """The numbers written as "mean ± sd"."""
    mean, sd = (array.sel(statistic=name, drop=True) for name in ("mean", "sd"))
    written = [f"{m:.3g} ± {s:.2g}" for m, s in zip(mean.values.flat, sd.values.flat, strict=True)]
    return mean.copy(data=np.array(written, dtype=object).reshape(mean.shape))


def _number(value: Any) -> str:
    if isinstance(value, xr.DataArray):
        return f"{float(value.mean()):.4g} (mean over {value.size} rows, least {float(value.min()):.4g})"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
