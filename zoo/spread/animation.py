"""A spread on a graph as a moving picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zoo.spread.layouts import layout
from zoo.spread.strokes import as_numbers, colours_of, columns, draw_edges, draw_nodes


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
            f"frames are [frames, {graph.n}], of course.frames(steps), a state of each node, not {list(states.shape)}"
        )
    if states.min() < 0 or states.max() >= len(names):
        wrong = states.min() if states.min() < 0 else states.max()
        raise ValueError(f"frames have the state {int(wrong)}, but there are {len(names)} names of states from 0 on")
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
    across = columns(figure, names, fontsize=9)
    below = 0.03 + 0.04 * -(-len(names) // across)
    ax = figure.add_axes((0.02, below, 0.96, 0.94 - below))
    threads = draw_edges(ax, graph, at)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba()).copy()
    threads.remove()
    figure.figimage(drawn, zorder=-1)
    ax.patch.set_alpha(0)
    colours = list(colours_of(names).values())
    dots = draw_nodes(ax, at, np.zeros(graph.n), ListedColormap(colours), len(names) - 1)
    key = [Line2D([], [], marker="o", ls="", color=c, label=n) for n, c in zip(names, colours, strict=True)]
    figure.legend(handles=key, loc="lower center", ncols=across, fontsize=9, frameon=False)
    return figure, ax, dots
