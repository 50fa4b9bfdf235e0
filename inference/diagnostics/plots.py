"""Figures of a diagnosis, drawn apart from pyplot: nothing global is left behind, and any thread may draw."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.diagnostics.arviz_io import group_names
from inference.diagnostics.latent import ACTIVE
from inference.diagnostics.pareto import RELIABLE
from inference.diagnostics.predictive import columns
from inference.quality.modes import mode_coverage
from inference.results import NATS

DATA, MODEL, LIMIT = sns.color_palette("colorblind")[7], sns.color_palette("colorblind")[0], "0.3"


def figures(idata: Any, history: pd.DataFrame | None) -> dict[str, Figure]:
    """A figure for each thing that a diagnosis holds, by name."""
    drawn: dict[str, Figure] = {}
    groups = group_names(idata)
    constant = idata["constant_data"] if "constant_data" in groups else {}
    if history is not None and len(history) > 1:
        drawn["history"] = figure(lambda ax: _history(ax, history))
    if "log_likelihood" in groups:
        values = np.asarray(idata["log_likelihood"]["x"]).ravel()
        kind = idata.attrs["likelihood_kind"]
        drawn["log_likelihood"] = figure(lambda ax: _likelihood(ax, values, kind))
    if "pareto_k" in constant:
        k = np.asarray(constant["pareto_k"])
        drawn["pareto_k"] = figure(lambda ax: _pareto(ax, k))
    for name in constant:
        if str(name).startswith("unit_variance_"):
            latent, variance = str(name).removeprefix("unit_variance_"), np.asarray(constant[name])
            drawn[f"active_units_{latent}"] = figure(partial(_units, name=latent, variance=variance))
    if "posterior_predictive" not in groups:
        return drawn
    data = np.asarray(idata["observed_data"]["x"])
    samples = np.asarray(idata["posterior_predictive"]["x"]).reshape(-1, *data.shape[1:])
    drawn["predictive"] = figure(lambda ax: _predictive(ax, data, samples), size=(4.5, 4.5))
    if "mode_centre" in constant:
        from inference.diagnostics.modes import draw_modes, seen_modes  # it draws by what is here

        rows, made = (torch.as_tensor(part).flatten(1) for part in (data, samples))
        drawn["modes"] = draw_modes(mode_coverage(made, seen_modes(constant)), made, rows)
    return drawn


def figure(draw: Callable[[Axes], None], size: tuple[float, float] = (6.0, 3.5)) -> Figure:
    """One pair of axes in the house style, drawn on by a function."""
    with sns.axes_style("whitegrid"):
        made = Figure(figsize=size, layout="constrained")
        draw(made.subplots())
    return made


def _history(ax: Axes, history: pd.DataFrame) -> None:
    losses = [name for name in history if name == "loss" or str(name).endswith(".loss") or name == "held_out"]
    for name in losses or [name for name in history if name != "step"]:
        seen = history[["step", name]].dropna()
        ax.plot(seen["step"], seen[name], label=str(name))
    ax.set(title="Training", xlabel="step", ylabel=history.attrs.get("unit", NATS))
    ax.legend()


def _likelihood(ax: Axes, values: np.ndarray, kind: str) -> None:
    ax.hist(values[np.isfinite(values)], bins=40, color=MODEL)
    ax.axvline(values.mean(), color=LIMIT, linestyle="--", label=f"mean {values.mean():.2f}")
    ax.set(title=f"Log-likelihood of the rows ({kind})", xlabel="nats", ylabel="rows")
    ax.legend()


def _pareto(ax: Axes, k: np.ndarray) -> None:
    shown = np.where(np.isfinite(k), k, np.nan)
    ax.plot(np.sort(shown), np.linspace(0, 1, len(k)), color=MODEL)
    ax.axvline(RELIABLE, color=LIMIT, linestyle="--", label=f"reliable below {RELIABLE}")
    ax.set(title="Pareto k of the guide", xlabel="Pareto k", ylabel="share of rows at most this", ylim=(0, 1))
    ax.legend()


def _units(ax: Axes, name: str, variance: np.ndarray) -> None:
    order = np.sort(variance)[::-1]
    ax.bar(np.arange(len(order)), np.maximum(order, 1e-6), color=[MODEL if v > ACTIVE else DATA for v in order])
    ax.axhline(ACTIVE, color=LIMIT, linestyle="--", label=f"active above {ACTIVE}")
    ax.set(title=f"Active units of {name}", xlabel="units, sorted", ylabel="variance of the mean over rows")
    ax.set_yscale("log")
    ax.legend(loc="lower left")


def _predictive(ax: Axes, data: np.ndarray, samples: np.ndarray) -> None:
    both, _ = columns(np.concatenate([data, samples]))
    rows, drawn = both[: len(data)], both[len(data) :]
    for what, of_data, of_samples, marker in (
        ("mean", rows.mean(0), drawn.mean(0), "o"),
        ("standard deviation", rows.std(0), drawn.std(0), "x"),
    ):
        ax.scatter(of_data, of_samples, s=14, marker=marker, label=what, alpha=0.7)
    low, high = ax.get_xlim()
    ax.plot([low, high], [low, high], color=LIMIT, linewidth=1)
    ax.set(title="Samples beside the data", xlabel="data, each column", ylabel="samples")
    ax.legend()
