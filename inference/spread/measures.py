"""Figures of runs, as an answer: means with what nine tenths of the runs are within, and the Monte Carlo error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.near import near
from inference.query.answer import Answer

STATISTICS = ("mean", "sd", "error", "low", "high")
"""`low` and `high` are the ends of the interval that nine tenths of the runs are within; `error` is the mean's."""
WITHIN = (0.05, 0.95)
MEASURES = ("total", "peak", "peak_step", "saved")


def check_target(target: Any, names: tuple[str, ...], steps_in: bool, more: tuple[str, ...] = ()) -> None:
    known = [*MEASURES, *more, *names]
    if target not in known:
        raise ValueError(f"a spread has no {target!r}{near(target, known)}")
    if target == "saved" and not steps_in:
        raise ValueError("'saved' is what an intervention saves: say which, do={...}")


def measured(target: str, runs: Any) -> Tensor:
    """A number for each run, [runs]."""
    if target == "total":
        return runs.total.double()
    if target in runs.names:
        return runs.counts[:, -1, runs.names.index(target)].double()
    most, when = runs.counts[..., list(runs.passing)].sum(-1).double().max(1)
    return most if target == "peak" else when.double()


def answered(target: str, values: Tensor, method: str, weights: Tensor | None = None) -> Answer:
    """The answer of numbers [draws], or of curves [draws, T]."""
    figures = statistics(values, weights)
    dims = ["statistic"] if values.dim() == 1 else ["time", "statistic"]
    coords = {"statistic": list(STATISTICS)}
    array = xr.DataArray(figures, dims=dims, coords=coords, name="value")
    trust: dict[str, Any] = {}
    if values.dim() == 1:
        trust = {f"error of {target}": float(figures[2]), f"90 % of {target}": f"{figures[3]:.4g} to {figures[4]:.4g}"}
    return Answer(str(target), {target: array}, method, "estimate", None, trust)


def statistics(values: Tensor, weights: Tensor | None = None) -> np.ndarray:
    """[..., 5] of draws [draws, ...], which weights [draws] of sum 1 may count."""
    x = values.double().cpu()
    w = torch.full((len(x),), 1 / len(x), dtype=torch.float64) if weights is None else weights.double().cpu()
    w = w.reshape(-1, *[1] * (x.dim() - 1))
    mean = (w * x).sum(0)
    effective = float(1 / w.square().sum())
    sd = ((w * (x - mean).square()).sum(0) * (effective / max(effective - 1, 1))).sqrt()
    ends = _quantiles(x, w)
    return torch.stack([mean, sd, sd / effective**0.5, *ends], -1).numpy()


def _quantiles(x: Tensor, w: Tensor) -> list[Tensor]:
    order = x.argsort(0)
    ordered = x.gather(0, order)
    upto = w.expand_as(x).gather(0, order).cumsum(0)
    places = [(upto < share - 1e-12).sum(0, keepdim=True).clamp(max=len(x) - 1) for share in WITHIN]
    return [ordered.gather(0, place)[0] for place in places]
