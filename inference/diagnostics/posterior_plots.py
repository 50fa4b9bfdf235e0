"""Figures of a posterior's diagnosis: chains first, then what its program predicts.

Numbers of which little is known (the least effective draws) are shown first, and few of them.

References:
    Graphical test for discrete uniformity and its applications (Säilynoja, Bürkner and Vehtari, 2022),
    https://arxiv.org/abs/2103.10522, for ECDFs as differences to the uniform one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from inference.diagnostics import convergence, criticism_plots
from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.plots import DATA, LIMIT, MODEL, figure
from inference.diagnostics.posterior_findings import Findings

BAD = "tab:red"
SHORT = 12
"""Draws of each chain below which effective draws are not told of."""
SHOWN, ROWS, LINES, POINTS = 4, 30, 16, 3000
"""At most: numbers in panels, rows of a forest, chains drawn as lines, points of a cloud."""


def figures(found: Findings) -> dict[str, Figure]:
    """A figure for each thing that was found, by name."""
    drawn: dict[str, Figure] = {}
    worst = list(found.statistics["ess_bulk"].nsmallest(SHOWN).index)
    energy, diverging = found.stat("energy"), found.stat("diverging")
    if "r_hat" in found.statistics and found.posterior.log_weights is None and len(found.coordinates.values) > 1:
        bad = None if diverging is None else diverging.astype(bool)
        drawn["trace"] = panels(worst, lambda ax, name: _trace(ax, _of(found, name), bad), (4.2, 2.4))
        drawn["ranks"] = panels(worst, lambda ax, name: _ranks(ax, _of(found, name)), (4.2, 2.6))
        if found.coordinates.values.shape[1] >= 2 * SHORT:
            drawn["effective_draws"] = figure(lambda ax: _effective(ax, found, worst[0]))
        drawn["pairs"] = _pairs(found, bad)
    if energy is not None and energy.shape[1] > 3:
        drawn["energy"] = figure(lambda ax: _energy(ax, energy))
    drawn["forest"] = figure(lambda ax: _forest(ax, found), size=(6.0, 1.2 + 0.24 * min(ROWS, len(found.statistics))))
    return {**drawn, **criticism_plots.figures(found)}


def panels(names: Sequence[str], draw: Callable[[Axes, str], None], size: tuple[float, float]) -> Figure:
    """A small pair of axes for each name, two in a row."""
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    with sns.axes_style("whitegrid"):
        made = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        for ax, name in zip(made.subplots(rows, columns, squeeze=False).ravel(), names, strict=False):
            draw(ax, name)
            ax.set_title(name, fontsize=10)
        for ax in made.axes[len(names) :]:
            ax.set_visible(False)
    return made


def _of(found: Findings, name: str) -> np.ndarray:
    """The draws of one number, [chains, draws]."""
    return found.coordinates.values[:, :, found.coordinates.names.index(name)]


def _trace(ax: Axes, x: np.ndarray, diverging: np.ndarray | None) -> None:
    """Lines of some chains, and the middle half and nine tenths of all."""
    draws = np.arange(x.shape[1])
    if len(x) > LINES:
        for low, high, shade in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.3)):
            ax.fill_between(draws, *np.quantile(x, [low, high], axis=0), color=MODEL, alpha=shade, linewidth=0)
    palette = sns.color_palette("colorblind", min(len(x), 8))
    few = x if len(x) <= LINES else x[:: -(-len(x) // 3)]
    for chain, colour in zip(few, palette * 2, strict=False):
        ax.plot(draws, chain, color=colour, linewidth=0.6, alpha=0.8)
    if diverging is not None and diverging.any():
        at = np.flatnonzero(diverging.any(0))
        ax.plot(at, np.full(len(at), x.min()), "|", color=BAD, markersize=6, label="divergent")
        ax.legend(loc="upper right", fontsize=7)
    ax.set_xlabel("draw")


def _ranks(ax: Axes, x: np.ndarray) -> None:
    """How far each chain's ranks among all draws are from uniform ones, cumulated."""
    share = rankdata(x).reshape(x.shape) / x.size
    grid = np.linspace(0, 1, min(100, x.shape[1]) + 1)
    for each in share:
        below = np.searchsorted(np.sort(each), grid, side="right") / len(each)
        ax.plot(grid, below - grid, color=MODEL, linewidth=0.9, alpha=max(0.25, 1 - len(x) / 40))
    by_chain = convergence.statistics(Coordinates.of_draws({"chain": x.T[None]}))["ess_bulk"]
    _band(ax, grid, min(float(by_chain.fillna(x.shape[1]).median()), x.shape[1]), len(x))
    ax.set(xlabel="rank among all draws", ylabel="share below, less uniform")


def _band(ax: Axes, grid: np.ndarray, n: float, lines: int = 1) -> None:
    """Where nearly all ECDFs of n uniform numbers lie, less the uniform: 99 of 100 of so many lines, at each point."""
    sd = np.sqrt(grid * (1 - grid) / max(n, 1.0))
    wide = 2.576 + 0.35 * np.log(max(lines, 1))
    ax.fill_between(grid, -wide * sd, wide * sd, color=DATA, alpha=0.25, linewidth=0, label="to be expected")
    ax.legend(loc="upper right", fontsize=7)


def _effective(ax: Axes, found: Findings, name: str) -> None:
    """Effective draws of the worst number by how many draws there were."""
    x = _of(found, name)
    parts = np.unique(np.linspace(max(SHORT, x.shape[1] // 10), x.shape[1], 10).astype(int))
    seen = [convergence.statistics(Coordinates.of_draws({"x": x[:, :n]})) for n in parts]
    for kind, label, colour in (("ess_bulk", "bulk (averages)", MODEL), ("ess_tail", "tail (ends of intervals)", DATA)):
        values = [table[kind].iloc[0] if len(table) else np.nan for table in seen]
        ax.plot(parts * len(x), values, "o-", label=label, color=colour)
    ax.axhline(convergence.ESS, color=LIMIT, linestyle="--", label=f"enough: {convergence.ESS}")
    ax.set(title=f"Effective draws of {name}", xlabel="draws of all chains", ylabel="effective draws", ylim=(0, None))
    ax.legend(fontsize=8)


def _energy(ax: Axes, energy: np.ndarray) -> None:
    centred, moves = (energy - energy.mean()).ravel(), np.diff(energy, axis=1).ravel()
    bins = np.histogram_bin_edges(np.concatenate([centred, moves]), 50).tolist()
    ax.hist(centred, bins, density=True, color=DATA, alpha=0.5, label="energy, about its mean")
    ax.hist(moves, bins, density=True, histtype="step", color=MODEL, linewidth=1.5, label="change between draws")
    bfmi = np.median(convergence.bfmi(energy))
    ax.set(title=f"Energy: the two should be alike (E-BFMI {bfmi:.2f})", xlabel="nats", ylabel="density")
    ax.legend(fontsize=8)


def _pairs(found: Findings, diverging: np.ndarray | None) -> Figure:
    """The numbers that trouble gathers in, against each other, divergent draws marked."""
    names = _troubled(found)
    x = np.stack([_of(found, name).ravel() for name in names], 1)
    bad = np.zeros(len(x), bool) if diverging is None else diverging.ravel()
    labels = [f"log {name}" if _is_scale(x[:, i]) else name for i, name in enumerate(names)]
    x = np.stack([np.log(column) if _is_scale(column) else column for column in x.T], 1)
    step = max(1, len(x) // POINTS)
    size = len(names)
    with sns.axes_style("white"):
        made = Figure(figsize=(2.3 * size + 0.4, 2.3 * size), layout="constrained")
        grid = made.subplots(size, size, squeeze=False)
        for i in range(size):
            for j in range(size):
                _pair(grid[i, j], x[::step], x[bad], i, j)
                grid[i, j].set(xlabel=labels[j] if i == size - 1 else "", ylabel=labels[i] if j == 0 and i else "")
        marked = f", {bad.sum()} divergent in red" if bad.any() else ""
        made.suptitle(f"Draws in pairs{marked}", fontsize=11)
    return made


def _pair(ax: Axes, x: np.ndarray, bad: np.ndarray, i: int, j: int) -> None:
    if j > i:
        ax.set_visible(False)
    elif i == j:
        ax.hist(x[:, i], bins=40, color=MODEL, alpha=0.6)
        ax.set_yticks([])
    else:
        ax.scatter(x[:, j], x[:, i], s=3, color=MODEL, alpha=0.25, linewidths=0)
        ax.scatter(bad[:, j], bad[:, i], s=9, color=BAD, alpha=0.8, linewidths=0, zorder=3)


def _troubled(found: Findings) -> list[str]:
    names: list[str] = []
    if found.funnel is not None:
        names += [
            found.coordinates.names[found.coordinates.of[s].start] for s in (found.funnel.site, found.funnel.scale)
        ]
    if found.gathering is not None:
        names.append(found.gathering.name)
    names += list(found.statistics["ess_bulk"].nsmallest(3).index)
    return list(dict.fromkeys(names))[:3]


def _is_scale(x: np.ndarray) -> bool:
    return bool((x > 0).all() and x.max() > 20 * x.min())


def _forest(ax: Axes, found: Findings) -> None:
    """Medians, the middle half and nine tenths; those of which the least is known, in the program's order."""
    coordinates = found.coordinates
    kept = set(found.statistics["ess_bulk"].nsmallest(ROWS).index)
    names = [name for name in coordinates.names if name in kept]
    weights = found.posterior.weights.flatten().cpu().numpy()
    for i, name in enumerate(names):
        low, left, middle, right, high = _quantiles(_of(found, name).ravel(), weights)
        ax.plot([low, high], [-i, -i], color=MODEL, linewidth=1.2)
        ax.plot([left, right], [-i, -i], color=MODEL, linewidth=3.5)
        ax.plot(middle, -i, "o", color="white", markeredgecolor=MODEL, markersize=5)
    ax.set_yticks(-np.arange(len(names)), names, fontsize=8)
    rest = len(found.statistics) - len(names)
    ax.set(
        title="Posterior: median, 50 % and 90 %" + (f" ({rest} numbers more)" if rest else ""),
        ylim=(0.7 - len(names), 0.7),
    )


def _quantiles(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(x)
    place = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp([0.05, 0.25, 0.5, 0.75, 0.95], place, x[order])
