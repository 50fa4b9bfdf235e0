"""What pictures of a spread are drawn with: edges, nodes, rings, and the colour of each compartment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from zoo.spread.layouts import ends

INK, THREAD = "0.15", "0.72"
HUES = {"S": 0, "E": 1, "I": 3, "R": 2, "V": 9, "ignorant": 0, "spreader": 3, "stifler": 2}
"""Which colour of the palette a compartment always has; any other has the next that is free."""
SHOWN, MANY = 15_000, 1000
"""Edges drawn at most; nodes, or edges, from which on they are drawn fine."""


def draw_edges(ax: Axes, graph: Any, at: np.ndarray) -> LineCollection:
    """The edges, some of them at random where they are many: more would be a grey cloth."""
    pairs = ends(graph)
    if pairs.shape[1] > SHOWN:
        pairs = pairs[:, torch.randperm(pairs.shape[1], generator=torch.Generator().manual_seed(0))[:SHOWN]]
    many = pairs.shape[1] > MANY
    lines = LineCollection(
        list(at[pairs.T.numpy()]), colors=THREAD, linewidths=0.25 if many else 0.7, alpha=0.5 if many else 1.0, zorder=1
    )
    lines.set_rasterized(True)
    ax.add_collection(lines)
    low, high = at.min(0), at.max(0)
    pad = 0.04 * (high - low) + 1e-6
    ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]), xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
    return lines


def draw_nodes(ax: Axes, at: np.ndarray, values: np.ndarray, colours: Any, top: float) -> PathCollection:
    """Nodes coloured by numbers from 0 to the top."""
    return ax.scatter(
        at[:, 0], at[:, 1], c=values, cmap=colours, vmin=0, vmax=max(top, 1e-9), s=node_size(len(at)),
        linewidths=0 if len(at) > MANY else 0.5, edgecolors=INK, zorder=2,
    )  # fmt: skip


def draw_rings(ax: Axes, at: np.ndarray, marked: Mapping[str, Any], size: float) -> list[PathCollection]:
    """A ring about each node of a group, in the group's colour."""
    palette = sns.color_palette("colorblind")
    return [
        ax.scatter(
            at[as_numbers(nodes).astype(int), 0],
            at[as_numbers(nodes).astype(int), 1],
            s=2.0 * size + 28,
            facecolors="none",
            edgecolors=[palette[i]],
            linewidths=1.4,
            label=words,
            zorder=3,
        )
        for i, (words, nodes) in enumerate(marked.items())
    ]


def node_size(n: int) -> float:
    """The area of a node in square points, less where there are more of them."""
    return float(np.clip(3000 / n, 2.5, 70))


def colours_of(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each name, a compartment's its own."""
    palette = sns.color_palette("colorblind")
    palette = palette if len(set(names)) <= len(palette) else sns.husl_palette(len(set(names)))
    free = (i for i in range(len(palette)) if i not in {HUES.get(name) for name in names})
    return {name: palette[HUES[name] if name in HUES else next(free)] for name in dict.fromkeys(names)}


def columns(figure: Figure, words: Sequence[str], fontsize: float) -> int:
    """How many entries of a legend fit beside one another below a figure."""
    entry = (max(len(word) for word in words) * 0.62 + 5) * fontsize / 72
    return min(len(words), max(1, int(figure.get_figwidth() / entry)))


def as_numbers(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
