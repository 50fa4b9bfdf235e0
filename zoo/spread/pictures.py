"""Pictures of a spread: curves with bands, a graph coloured by probability, and an animation of it.

    draw_curves(course.times, {"I": course["I"]}, observed={"I": cases})
    draw_graph(graph, {"day 1": p[1], "day 5": p[5]}, marked={"vaccinated": places})
    animate(graph, frames, "rumour.gif", names=("S", "I", "R"))

Figures are drawn apart from pyplot: save them by `figure.savefig("curves.png", dpi=150)`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zoo.spread.layouts import layout
from zoo.spread.strokes import MANY, as_numbers, colours_of, draw_edges, draw_nodes, draw_rings, node_size

HEAT = "rocket_r"
BANDS = ((0.9, 0.18), (0.5, 0.32))
"""The shares of draws within each band, and how dark it is."""
ACROSS = 4
"""Panels in a row at most."""


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
    ax.legend(fontsize=8, frameon=True)
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
    """A graph once for each title, its nodes coloured from 0 to 1, laid out alike in all panels.

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
        dots = draw_nodes(ax, at[order], each[order], sns.color_palette(HEAT, as_cmap=True), 1.0)
        rings = draw_rings(ax, at, marked or {}, node_size(graph.n))
        ax.set_title(title, fontsize=10)
    figure.colorbar(dots, ax=axes, label=label, shrink=0.8, aspect=30)
    if rings:
        figure.legend(handles=rings, loc="outside lower center", ncols=len(rings), fontsize=8, frameon=False)
    return figure


def animate(
    graph: Any,
    frames: Any,
    path: str | os.PathLike[str],
    *,
    names: Sequence[str],
    places: Any = None,
    titles: Sequence[str] | None = None,
    fps: int = 3,
    seed: int = 0,
) -> Path:
    """A spread as a GIF: each node in the colour of the compartment that it is in, [frames, n] of places in `names`.

    The file is written beside and then renamed, so that there is a whole one or none.

    Raises:
        ValueError: frames that are not a state of each node, or one without a name; another number of titles.
    """
    states = as_numbers(frames)
    if states.ndim != 2 or states.shape[1] != graph.n or not len(states):
        raise ValueError(
            f"frames are [frames, {graph.n}], a state of each node, as course.frames(steps) gives them, "
            f"not {list(states.shape)}"
        )
    if states.min() < 0 or states.max() >= len(names):
        raise ValueError(
            f"frames have the state {int(states.max())}, but there are {len(names)} names of states from 0 on"
        )
    told = [f"step {step}" for step in range(len(states))] if titles is None else list(titles)
    if len(told) != len(states):
        raise ValueError(f"there are {len(states)} frames, but {len(told)} titles")
    at = as_numbers(layout(graph, seed=seed) if places is None else places)
    figure, ax, dots = _stage(graph, at, list(names))
    target = Path(path)
    beside = target.with_name(f".{target.stem}.{os.getpid()}.gif")
    writer = PillowWriter(fps=fps)
    try:
        with writer.saving(figure, str(beside), dpi=100):
            for title, each in zip(told, states, strict=True):
                dots.set_array(each)
                ax.set_title(title, fontsize=11)
                writer.grab_frame()
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _stage(graph: Any, at: np.ndarray, names: list[str]) -> tuple[Figure, Axes, PathCollection]:
    """A figure whose edges are painted once, as an image behind the nodes, since lines take long in each frame."""
    figure = Figure(figsize=(5.0, 5.2))
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100)
    ax = figure.add_axes((0.02, 0.07, 0.96, 0.87))
    threads = draw_edges(ax, graph, at)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba()).copy()
    threads.remove()
    figure.figimage(drawn, zorder=-1)
    ax.patch.set_alpha(0)
    colours = list(colours_of(names).values())
    dots = draw_nodes(ax, at, np.zeros(graph.n), ListedColormap(colours), len(names) - 1)
    key = [Line2D([], [], marker="o", ls="", color=c, label=n) for n, c in zip(names, colours, strict=True)]
    figure.legend(handles=key, loc="lower center", ncols=len(names), fontsize=9, frameon=False)
    return figure, ax, dots


def _of_nodes(graph: Any, title: str, given: Any) -> np.ndarray:
    values = as_numbers(given)
    if values.shape != (graph.n,):
        raise ValueError(f"the panel {title!r} needs a number for each of {graph.n} nodes, not {list(values.shape)}")
    return values
