"""Figures of what a program predicts: replicated data, statistics, single observations, the weight of its prior."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.diagnostics.leave_one_out import Loo
from inference.diagnostics.plots import DATA, LIMIT, MODEL, figure
from inference.diagnostics.posterior_findings import Findings
from inference.diagnostics.power_scaling import SENSITIVE, PowerScaling

BAD = "tab:red"
REPLICATES, SITES, NAMED, VALUES = 40, 3, 6, 1000
"""At most: replicated data sets, observed sites, named points, values along a curve."""


def figures(found: Findings) -> dict[str, Figure]:
    """By name."""
    drawn: dict[str, Figure] = {}
    for name in list(found.observed)[:SITES]:
        ending = "" if len(found.observed) == 1 else f"_{name}"
        y, replicated = found.observed[name].ravel(), found.drawn[name].reshape(len(found.drawn[name]), -1)
        y, replicated = y[~np.isnan(y)], replicated[:, ~np.isnan(y)]
        drawn[f"predictive{ending}"] = figure(partial(_predictive, name=name, y=y, replicated=replicated))
    if found.checks is not None:
        drawn["statistics"] = figure(partial(_statistics, found=found), size=(6.0, 1.2 + 0.35 * len(found.checks)))
    if found.pit is not None:
        values = found.pit
        drawn["loo_pit"] = figure(lambda ax: _pit(ax, values))
    if found.loo is not None:
        left_out = found.loo
        drawn["pareto_k_loo"] = figure(lambda ax: _pareto(ax, left_out))
    if found.power is not None:
        power = found.power
        drawn["power_scaling"] = figure(lambda ax: _power(ax, power), size=(5.0, 4.0))
    return drawn


def _predictive(ax: Axes, name: str, y: np.ndarray, replicated: np.ndarray) -> None:
    """The data's cumulative shares among those of replicated data, which needs no bandwidth and no bins."""
    step = max(1, len(replicated) // REPLICATES)
    for i, each in enumerate(replicated[::step]):
        label = "drawn from the posterior" if i == 0 else None
        ax.plot(*_cumulated(each), color=MODEL, alpha=0.25, linewidth=0.8, label=label, drawstyle="steps-post")
    ax.plot(*_cumulated(y), color="black", linewidth=1.8, label="data", drawstyle="steps-post")
    low, high = np.quantile(np.concatenate([replicated.ravel(), y]), [0.001, 0.999])
    low, high = min(low, y.min()), max(high, y.max())
    ax.set(title=f"{name}: data and replicated data", xlabel=name, ylabel="share below", xlim=(low, high))
    ax.legend(fontsize=8)


def _cumulated(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and the share up to each; of so many values at most."""
    ordered = np.sort(x)
    kept = np.linspace(0, len(x) - 1, min(len(x), VALUES)).astype(int)
    return np.r_[ordered[0], ordered[kept]], np.r_[0.0, (kept + 1) / len(x)]


def _statistics(ax: Axes, found: Findings) -> None:
    """Statistics of the data, in sds of those of replicated data from their mean."""
    table = found.checks
    assert table is not None
    sd = table["sd"].where(table["sd"] > 0, 1.0)
    z = ((table["observed"] - table["predicted"]) / sd).clip(-6, 6)
    for i, ((site, name), row) in enumerate(table.iterrows()):
        ax.plot([-2, 2], [-i, -i], color=MODEL, linewidth=5, alpha=0.35, solid_capstyle="round")
        colour = BAD if min(row["p"], 1 - row["p"]) < 0.01 else "black"
        ax.plot(z[(site, name)], -i, "o", color=colour)
        ax.annotate(f"p {row['p']:.2f}", (1.01, -i), xycoords=("axes fraction", "data"), fontsize=8, va="center")
    ax.set_yticks(-np.arange(len(table)), [f"{name} of {site}" for site, name in table.index], fontsize=8)
    ax.set(title="Statistics of the data among replicated data", xlabel="sds from what is predicted", xlim=(-6.3, 6.3))
    ax.set_ylim(0.7 - len(table), 0.7)


def _pit(ax: Axes, values: np.ndarray) -> None:
    u = np.sort(values)
    grid = np.linspace(0, 1, 201)
    below = np.searchsorted(u, grid, side="right") / len(u)
    sd = np.sqrt(grid * (1 - grid) / len(u))
    ax.fill_between(grid, -3 * sd, 3 * sd, color=DATA, alpha=0.25, linewidth=0, label="to be expected")
    ax.step(grid, below - grid, where="post", color=MODEL, label="observations")
    ax.axhline(0, color=LIMIT, linewidth=0.8)
    ax.set(
        title="LOO-PIT: where observations fall in their predictions",
        xlabel="P(predicted from the others < observed)",
        ylabel="share below, less uniform",
    )
    ax.legend(fontsize=8)


def _pareto(ax: Axes, found: Loo) -> None:
    high = ~(found.k <= found.good_k)
    shown = np.where(np.isfinite(found.k), found.k, 2.0)
    place = np.arange(len(shown))
    ax.scatter(place, shown, s=24, c=np.where(high, BAD, "tab:blue"), linewidths=0)
    ax.axhline(found.good_k, color=LIMIT, linestyle="--", label=f"reliable below {found.good_k:.2f}")
    for i in np.argsort(-shown)[:NAMED]:
        if high[i]:
            ax.annotate(found.names[i], (i, shown[i]), xytext=(4, 3), textcoords="offset points", fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(title="Pareto k: which observations sway the posterior", xlabel="observation", ylabel="Pareto k")
    ax.legend(fontsize=8)


def _power(ax: Axes, found: PowerScaling) -> None:
    table = found.table
    hit = table["diagnosis"] != ""
    ax.scatter(table["prior"], table["likelihood"], s=24, c=np.where(hit, BAD, "tab:blue"), linewidths=0)
    for name, row in table[hit].sort_values("prior", ascending=False).head(NAMED).iterrows():
        place = (row["prior"], row["likelihood"])
        ax.annotate(str(name), place, xytext=(4, 3), textcoords="offset points", fontsize=8)
    ax.axvline(SENSITIVE, color=LIMIT, linestyle="--", linewidth=0.9)
    ax.axhline(SENSITIVE, color=LIMIT, linestyle="--", linewidth=0.9, label=f"sensitive above {SENSITIVE}")
    ax.set(title="How much each number hangs on ...", xlabel="the prior", ylabel="the likelihood")
    ax.set(xlim=(0, max(0.1, table["prior"].max() * 1.15)), ylim=(0, max(0.1, table["likelihood"].max() * 1.15)))
    ax.legend(fontsize=8)
