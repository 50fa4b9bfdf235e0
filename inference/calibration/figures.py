"""Figures of a calibration: rank histograms, ECDF differences and coverage, each with where right code would stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import bdtrik

from inference.calibration.uniformity import Band
from inference.diagnostics.plots import LIMIT, MODEL

BAD = sns.color_palette("colorblind")[3]
WARM = sns.color_palette("autumn", 5)
BINS, EACH, SHOWN, NAMED = 20, 10, 12, len(WARM)
"""Bars of a histogram at most, data sets a bar at least; quantities shown and named at most, the worst first."""


def panels(names: Sequence[str], bad: Sequence[bool], draw: Callable[[Axes, int], None], title: str, x: str) -> Figure:
    """Small axes for each quantity, those that are not uniform titled in another colour; `draw(ax, i)` fills them."""
    shown = min(len(names), SHOWN)
    wide = min(4, shown)
    tall = math.ceil(shown / wide)
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(max(4.2, 2.7 * wide), 0.7 + 2.1 * tall), layout="constrained")
        grid = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False).flat
        for i, ax in enumerate(grid):
            if i >= shown:
                ax.set_visible(False)
                continue
            draw(ax, i)
            ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            ax.set_title(names[i], fontsize=9, color=BAD if bad[i] else "black")
    rest = f" (the worst {shown} of {len(names)})" if shown < len(names) else ""
    figure.suptitle(f"{title}{rest}", fontsize=11)
    figure.supxlabel(x, fontsize=9)
    return figure


def histogram(ax: Axes, pit: np.ndarray, bad: bool, level: float) -> None:
    """Ranks in bars, and between which heights all bars of uniform ranks stay at this level."""
    bins = max(2, min(BINS, len(pit) // EACH))
    low, high = bar_limits(len(pit), bins, level)
    ax.axhspan(low, high, color="0.85", zorder=0)
    ax.axhline(len(pit) / bins, color=LIMIT, linewidth=0.8)
    ax.hist(pit, bins=bins, range=(0, 1), color=BAD if bad else MODEL, alpha=0.8, edgecolor="white", linewidth=0.4)


def bar_limits(n: int, bins: int, level: float) -> tuple[float, float]:
    """Between which counts every one of the bars of n uniform numbers stays, with at least this probability."""
    rare = (1 - level) / bins / 2
    return float(np.floor(bdtrik(rare, n, 1 / bins))), float(np.ceil(bdtrik(1 - rare, n, 1 / bins)))


def ecdf_difference(ax: Axes, pit: np.ndarray, bad: bool, band: Band) -> None:
    """The share of ranks below each point less that of uniform ones, in the band that holds all of it at once."""
    edges = np.concatenate([[0], band.points, [1]])
    low, high = (np.concatenate([[0], limit - band.points, [0]]) for limit in (band.low, band.high))
    ax.fill_between(edges, low, high, color="0.85", zorder=0, linewidth=0)
    ax.axhline(0, color=LIMIT, linewidth=0.8)
    at = np.linspace(0, 1, 401)
    share = np.searchsorted(np.sort(pit), at, side="right") / len(pit)
    ax.plot(at, share - at, color=BAD if bad else MODEL, linewidth=1.2)


def coverage_of(pits: np.ndarray, names: Sequence[str], bad: Sequence[bool], level: float) -> Figure:
    """How often central intervals of every width hold the truth, of all quantities [S, Q]; the worst are named."""
    n, at = len(pits), np.linspace(0.01, 0.99, 99)
    rare = (1 - level) / 2
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(5.4, 4.4), layout="constrained")
        ax = figure.subplots()
        ax.fill_between(at, bdtrik(rare, n, at) / n, bdtrik(1 - rare, n, at) / n, color="0.85", linewidth=0)
        ax.plot([0, 1], [0, 1], color=LIMIT, linewidth=0.8)
        for i, (name, pit) in enumerate(zip(names, pits.T, strict=True)):
            inside = (np.abs(pit[:, None] - 0.5) <= at / 2).mean(0)
            named = name if bad[i] and i < NAMED else None
            ax.plot(at, inside, color=WARM[i % NAMED] if bad[i] else MODEL, linewidth=1.2, alpha=0.8, label=named)
        if any(bad):
            ax.legend(fontsize=8, title="not uniform", title_fontsize=8)
        ax.set(
            title="Coverage of central intervals",
            xlabel=f"what an interval claims (grey: {level:.0%} of right code, at each)",
            ylabel="how often it holds the truth",
        )
    return figure
