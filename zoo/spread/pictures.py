"""Pictures of a spread: curves with bands, a graph coloured by probability, and an animation of it.

    draw_curves(course.times, {"I": course["I"]}, observed={"I": cases})
    draw_graph(graph, {"day 1": p[1], "day 5": p[5]}, marked={"vaccinated": places})
    animate(graph, frames, "rumour.gif", names=("S", "I", "R"))

Figures are drawn apart from pyplot: save them by `figure.savefig("curves.png", dpi=150)`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.spread.animation import animate
from zoo.spread.layouts import layout
from zoo.spread.strokes import MANY, as_numbers, colours_of, columns, draw_edges, draw_nodes, draw_rings, node_size

__all__ = ["animate", "draw_curves", "draw_graph"]

HEAT = "rocket_r"
BANDS = ((0.9, 0.18), (0.5, 0.32))
"""The shares of draws within each band, and how dark it is."""
ACROSS, TITLE = 4, 32
"""Panels in a row at most, and letters in a line of a title."""
FEW, HALF = 8, 0.5
"""Curves whose names are written into the picture at most; a largest probability below which colours go up to it."""


def draw_curves(
    times: Any,
    draws: Mapping[str, Any],
    *,
    observed: Mapping[str, Any] | None = None,
    title: str = "",
    xlabel: str = "time",
    ylabel: str = "heads",
) -> Figure:
    """Medians over time, with bands that hold half and nine tenths of the draws.

    Parameters:
        times: [T].
        draws: name -> [..., T], all but the last axis draws; a single curve is drawn as a line.
        observed: name -> what was seen, [T] (NaN where nothing was), or a pair (times, values).

    Raises:
        ValueError: curves that are not as long as the times.
    """
    at = as_numbers(times)
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
    for name, colour in colours_of([*draws, *(observed or {})]).items():
        if name in draws:
            _curve(ax, at, name, as_numbers(draws[name]), colour)
        if observed is not None and name in observed:
            seen = observed[name]
            when, values = seen if isinstance(seen, tuple) else (at, seen)
            label = f"{name}, observed" if name in draws else name
            ax.plot(
                as_numbers(when),
                as_numbers(values),
                "o",
                ms=4.5,
                mfc="white",
                mec=colour,
                mew=1.4,
                label=label,
                zorder=4,
            )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    ax.margins(x=0.01)
    aside: dict[str, Any] = {} if len(ax.lines) <= FEW else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    ax.legend(fontsize=8, frameon=True, **aside)
    return figure


def _curve(ax: Axes, times: np.ndarray, name: str, values: np.ndarray, colour: Any) -> None:
    if values.shape[-1] != len(times):
        raise ValueError(f"the curves of {name!r} have {values.shape[-1]} times, but there are {len(times)} times")
    rows = values.reshape(-1, len(times))
    if len(rows) > 1:
        for share, shade in BANDS:
            low, high = np.quantile(rows, [(1 - share) / 2, (1 + share) / 2], axis=0)
            ax.fill_between(times, low, high, color=colour, alpha=shade, linewidth=0)
    told = f"{name} (median, 50 %, 90 %)" if len(rows) > 1 else name
    ax.plot(times, np.median(rows, axis=0), color=colour, linewidth=1.8, label=told)


def draw_graph(
    graph: Any,
    panels: Mapping[str, Any],
    *,
    marked: Mapping[str, Any] | None = None,
    places: Any = None,
    label: str = "probability",
    seed: int = 0,
) -> Figure:
    """A graph once for each title, its nodes coloured by probabilities, laid out alike in all panels.

    Colours go from 0 to 1, or to the largest probability in all panels where that is below a half.

    Parameters:
        graph: a `Graph`.
        panels: title -> [n], from 0 to 1, in the order of the nodes.
        marked: what to ring, by the words of the legend -> places of nodes in the order of the graph.
        places: [n, 2], where the nodes are; `layout(graph, seed=seed)` where None.

    Raises:
        ValueError: no panel; numbers that are not one a node.
    """
    if not panels:
        raise ValueError("there is no panel to draw: give titles with a number for each node")
    values = {title: _of_nodes(graph, title, given) for title, given in panels.items()}
    largest = max(float(each.max(initial=0.0)) for each in values.values())
    top = largest if largest < HALF else 1.0
    at = as_numbers(layout(graph, seed=seed) if places is None else places)
    down = -(-len(panels) // ACROSS)
    across = -(-len(panels) // down)
    wide = 4.0 if graph.n > MANY else 3.0
    figure = Figure(figsize=(wide * across + 0.6, (wide + 0.1) * down + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, each) in zip(axes.flat, values.items(), strict=False):
        draw_edges(ax, graph, at)
        order = np.argsort(each, kind="stable")  # so that what is likely is not covered by what isn't
        dots = draw_nodes(ax, at[order], each[order], sns.color_palette(HEAT, as_cmap=True), top)
        rings = draw_rings(ax, at, marked or {}, node_size(graph.n))
        ax.set_title(textwrap.fill(title, TITLE), fontsize=10)
    figure.colorbar(dots, ax=axes, label=label, shrink=0.8, aspect=30)
    if rings:
        across = columns(figure, list(marked or {}), fontsize=8)
        figure.legend(
            handles=rings, loc="outside lower center", ncols=across, fontsize=8, frameon=False, markerscale=0.7
        )
    return figure


def _of_nodes(graph: Any, title: str, given: Any) -> np.ndarray:
    values = as_numbers(given)
    if values.shape != (graph.n,):
        raise ValueError(f"the panel {title!r} needs a number for each of {graph.n} nodes, not {list(values.shape)}")
    return values
