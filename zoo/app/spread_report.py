"""An outbreak's part of a report: the curve of cases beside what was seen, R(t), and what they say in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.spread.population import outbreak_of
from zoo.app.report import Section
from zoo.spread.pictures import draw_curves

WITHIN = (0.05, 0.95)


def outbreak_sections(posterior: Posterior, cases: Tensor) -> list[Section]:
    """The course of an outbreak; nothing where the posterior is of another program."""
    outbreak = outbreak_of(posterior)
    if outbreak is None:
        return []
    even = posterior if posterior.log_weights is None else posterior.resampled()
    groups = outbreak.compartments.groups
    drawn, seen = _by_group(even.predictive()["cases"], groups), _by_group(cases, groups)
    pictures = {
        "Cases as they were reported, and as the program would report them.": draw_curves(
            outbreak.times, drawn, observed=seen, ylabel="cases"
        )
    }
    if _is_known(even, "R"):
        pictures["R(t): how many heads one infects at each time; below 1 the outbreak shrinks."] = draw_curves(
            outbreak.times, {"R": even["R"]}, ylabel="R(t)"
        )
    return [Section("Course", _words(even, bool(cases.isnan().any())), pictures=pictures)]


def _is_known(even: Posterior, name: str) -> bool:
    """Whether the outbreak has this number, and it is finite: R0 of a rumour, which only ends by meetings, is not."""
    return name in even.derived and bool(even[name].isfinite().all())


def _by_group(values: Tensor, groups: Sequence[str] | None) -> dict[str, Tensor]:
    """Numbers [..., T], or of each group [..., T, G], by name."""
    return {"cases": values} if groups is None else {f"cases, {g}": values[..., n] for n, g in enumerate(groups)}


def _words(even: Posterior, gaps: bool) -> list[str]:
    said = ["Ends of intervals hold nine tenths."]
    if _is_known(even, "R0"):
        said.append(f"R0 is {_interval(even['R0'])}.")
    if even["peak"].dim() == 2:
        said.append(f"The peak of the curve is {_interval(even['peak'])}, at time {_interval(even['peak_time'])}.")
    if _is_known(even, "total"):
        said.append(f"{_interval(even['total'])} heads are reached until the last time.")
    if gaps:
        said.append("Where nothing was seen, the bands are the forecast.")
    return said


def _interval(values: Any) -> str:
    flat = values.double().flatten()
    low, high = torch.quantile(flat, torch.tensor(WITHIN, dtype=flat.dtype)).tolist()
    return f"{float(flat.mean()):.3g} ({low:.3g} to {high:.3g})"
