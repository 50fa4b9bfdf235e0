"""A network drawn with what is known and what follows from it: `draw_network(graph, answer, given)`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from inference.diagnostics.layered import Corner, layered
from inference.near import near
from inference.protocols import graph_of, name_of

INK, PALE, BAR, EDGE = "#22303c", "#eef2f6", "#4c84b6", "#8795a1"
SEEN, SET = "#5b6670", "#c8641b"
"""The colours of what is observed and of what is set by an intervention."""
NAME, STATE, LINE, PAD, BARS = 8.5, 7.0, 0.145, 0.07, 0.62
"""Font sizes in points; a line's height, the padding and a full bar in inches."""


@dataclass(frozen=True)
class Box:
    """What is written on a node: its name, a line (state, probability) for each state shown, and what it is."""

    name: str
    lines: list[tuple[str, float]]
    colour: str = INK
    mark: str = ""
    size: Corner = field(default=(0.0, 0.0))


def draw_network(
    graph: Any,
    answer: Any = None,
    given: Mapping[Hashable, Any] | None = None,
    do: Mapping[Hashable, Any] | None = None,
    *,
    states: int = 5,
    title: str | None = None,
) -> Figure:
    """A directed graph from causes down to effects, each node with the probabilities of its states as bars.

    Parameters:
        graph: a pgmpy network, a model that has one, or any networkx directed graph without cycles.
        answer: what `query` gave, or a mapping from variables to labelled arrays of probabilities; none for names only.
        given: the variables that are known, with their states: shaded.
        do: the variables that an intervention set, with their states: marked, the edges into them dashed.
        states: how many states of a variable are shown, the likeliest; the rest are summed in one line.

    Save it by `figure.savefig("asia.png", dpi=150)` or as .svg; its size follows the network's.
    """
    directed = _directed(graph)
    given, do = dict(given or {}), dict(do or {})
    beliefs = _beliefs(answer, directed)
    for where, known in (("given", given), ("do", do)):
        for v in known:
            if v not in directed:
                raise ValueError(f"{where}: the network has no variable {v!r}{near(v, directed.nodes())}")
    if states < 1:
        raise ValueError(f"states is {states}, but at least one must be shown")
    boxes = {v: _box(v, beliefs.get(v), given, do, states) for v in directed.nodes()}
    place = layered(directed, {v: box.size for v, box in boxes.items()})
    key = [(SEEN, "observed")] * bool(given) + [(SET, "set by intervention")] * bool(do)
    figure, ax = _canvas(place.width, place.height, title, bool(key))
    for (_, v), points in place.routes.items():
        _arrow(ax, points, dashed=v in do)
    for v, box in boxes.items():
        _draw_box(ax, box, place.centres[v])
    for i, (colour, text) in enumerate(key):
        _text(ax, 0.2 + 1.1 * i, -place.height - 0.28, text, STATE)
        ax.add_patch(Rectangle((1.1 * i, -place.height - 0.335), 0.13, 0.11, facecolor=colour))
    return figure


def _directed(graph: Any) -> Any:
    found = graph_of(graph) if graph_of(graph) is not None else graph
    if not isinstance(found, nx.DiGraph):
        raise TypeError(f"a directed graph can be drawn, not a {name_of(graph)}")
    if not len(found):
        raise ValueError("the graph has no variables to draw")
    if not nx.is_directed_acyclic_graph(found):
        cycle = [str(edge[0]) for edge in nx.find_cycle(found)]
        raise ValueError(f"the graph has a cycle: {' -> '.join([*cycle, cycle[0]])}")
    return found


def _beliefs(answer: Any, graph: Any) -> dict[Hashable, tuple[list[str], np.ndarray]]:
    """The states and probabilities of each variable that an answer tells of; a joint one tells of each of its own."""
    if answer is None:
        return {}
    values = answer if isinstance(answer, Mapping) else answer.values
    found = {}
    for target, array in values.items():
        variables = (target,) if target in graph or not isinstance(target, tuple) else target
        for v in variables:
            if v not in graph:
                raise ValueError(
                    f"the network has no variable {v!r}, which the answer tells of{near(v, graph.nodes())}"
                )
        if set(array.dims) != set(variables):
            raise ValueError(f"the answer for {target!r} has axes {tuple(array.dims)}: choose one row, to be drawn")
        for v in variables:
            own = array.sum([dim for dim in array.dims if dim != v])
            found[v] = ([str(state) for state in own.coords[v].values], np.asarray(own.values, dtype=float))
    return found


def _box(v: Hashable, belief: Any, given: Mapping, do: Mapping, most: int) -> Box:
    colour, mark, lines = INK, "", _lines(belief[0], belief[1], most) if belief else []
    for known, shade, sign in ((given, SEEN, "= "), (do, SET, "do = ")):
        if v in known:
            colour, mark = shade, f"{sign}{known[v]}"
            lines = []
    name = _short(str(v), 26)
    wide = _width(name, NAME, bold=True)
    if mark:
        wide = max(wide, _width(_short(mark, 26), STATE))
    if lines:
        label = max(_width(text, STATE) for text, _ in lines)
        wide = max(wide, label + BARS + _width("100 %", STATE) + 2 * PAD)
    height = 0.2 + LINE * (len(lines) + bool(mark)) + (PAD if lines or mark else 0.04)
    return Box(name, lines, colour, _short(mark, 26), (max(wide + 2.5 * PAD, 0.6), height))


def _lines(names: list[str], p: np.ndarray, most: int) -> list[tuple[str, float]]:
    """The likeliest states in their own order, and the rest in a line."""
    if len(names) <= most + 1:
        return [(_short(name, 18), float(q)) for name, q in zip(names, p, strict=True)]
    shown = sorted(np.argsort(-p, kind="stable")[:most])
    rest = float(p.sum() - p[shown].sum())
    return [*((_short(names[i], 18), float(p[i])) for i in shown), (f"{len(names) - most} others", max(rest, 0.0))]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text in inches."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    if not text.strip():
        return 0.0
    return TextPath((0, 0), text.replace("$", "S"), size=size, prop=font, usetex=False).get_extents().x1 / 72


def percent(p: float) -> str:
    """A probability as a person reads it: none of what may be called impossible or certain though it isn't."""
    shown = 100 * p
    if 0 < shown < 0.1:
        return "<0.1 %"
    if 99.9 < shown < 100:
        return ">99.9 %"
    return f"{shown:.0f} %" if shown in (0, 100) else f"{shown:.1f} %"


def _canvas(width: float, height: float, title: str | None, key: bool) -> tuple[Figure, Axes]:
    margin, above, below = 0.25, 0.4 if title else 0.0, 0.3 if key else 0.0
    width = max(width, 2.4, _width(title, 11.0, bold=True) if title else 0.0)
    size = (width + 2 * margin, height + above + below + 2 * margin)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(-margin, width + margin), ylim=(-height - below - margin, above + margin))
    ax.axis("off")
    if title:
        _text(ax, 0.0, above - 0.05, title, 11.0, weight="bold")
    return figure, ax


def _text(ax: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    font = {"family": "DejaVu Sans", "color": INK, "va": "center", "zorder": 4, **style}
    ax.text(x, y, text, fontsize=size, parse_math=False, **font)


def _draw_box(ax: Axes, box: Box, centre: Corner) -> None:
    (width, height), (x, y) = box.size, centre
    left, top = x - width / 2, y + height / 2
    known = bool(box.mark)
    rounded = "round,pad=0,rounding_size=0.06"
    face = box.colour if known else (PALE if not box.lines else "white")
    ax.add_patch(
        FancyBboxPatch(
            (left, y - height / 2), width, height, rounded, facecolor=face, edgecolor=box.colour, lw=1, zorder=2
        )
    )
    ink = "white" if known else INK
    _text(ax, x, top - 0.11, box.name, NAME, weight="bold", ha="center", color=ink)
    if known:
        _text(ax, x, top - 0.2 - LINE / 2, box.mark, STATE, ha="center", color=ink)
    start = left + width - PAD - _width("100 %", STATE) - BARS - PAD
    for i, (state, p) in enumerate(box.lines):
        at = top - 0.2 - LINE * (i + 0.5)
        _text(ax, start - 0.6 * PAD, at, state, STATE, ha="right")
        ax.add_patch(Rectangle((start, at - 0.36 * LINE), BARS, 0.72 * LINE, facecolor=PALE, zorder=3))
        ax.add_patch(Rectangle((start, at - 0.36 * LINE), BARS * p, 0.72 * LINE, facecolor=BAR, zorder=3))
        _text(ax, left + width - PAD, at, percent(p), STATE, ha="right")


def _arrow(ax: Axes, points: list[Corner], dashed: bool) -> None:
    """A line that is straight through layers and bends between them, its head at the last point."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for i, ((ax0, ay0), (bx, by)) in enumerate(pairwise(points)):
        if i % 2 == 0:
            vertices, codes = [*vertices, (bx, by)], [*codes, Path.LINETO]
        else:
            middle = (ay0 + by) / 2
            vertices = [*vertices, (ax0, middle), (bx, middle), (bx, by)]
            codes = [*codes, *[Path.CURVE4] * 3]
    ax.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>,head_length=4,head_width=2",
            color=EDGE,
            lw=0.9,
            linestyle=(0, (3, 2)) if dashed else "solid",
            shrinkA=0,
            shrinkB=0,
            zorder=1,
        )
    )
