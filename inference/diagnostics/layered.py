"""Layered layouts of directed acyclic graphs: causes above their effects, few crossings, no overlaps.

Layers, the order within them and the places along them are chosen one after another, as in: Methods for Visual
Understanding of Hierarchical System Structures (Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from scipy.optimize import isotonic_regression

SLOT, GAP, HEAD = 0.08, 0.22, 0.12
"""The width of an edge that passes a layer, the least space between two neighbours, an arrowhead; inches."""

Corner = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything goes, in inches, y growing upwards.

    `centres` holds a box's middle, `routes` the points of each edge, from the lower border of its tail to the upper
    border of its head: two points that follow each other inside a layer have the same x, so an edge is straight
    there, and it bends only between layers, where there are no boxes.
    """

    centres: dict[Hashable, Corner]
    routes: dict[tuple[Hashable, Hashable], list[Corner]]
    width: float
    height: float


def layered(graph: Any, sizes: Mapping[Hashable, Corner], between: float = 0.5) -> Layout:
    """The layout of a graph whose boxes have these sizes (width, height), in inches."""
    depth = _depths(graph)
    chains = {(u, v): [u, *((u, v, d) for d in range(depth[u] + 1, depth[v])), v] for u, v in graph.edges()}
    links = nx.Graph()
    links.add_nodes_from(graph.nodes())
    for chain in chains.values():
        nx.add_path(links, chain)
    level = {node: d for chain in chains.values() for d, node in enumerate(chain, depth[chain[0]])} | depth
    layers = _ordered(links, level)
    widths = {node: sizes[node][0] if node in sizes else SLOT for node in links}
    x = _places(links, layers, widths, set(sizes))
    tall = [max((sizes[n][1] for n in layer if n in sizes), default=0.0) for layer in layers]
    # edges that travel far sideways need more room to turn
    far = [max((abs(x[u] - x[v]) for u in layer for v in links[u] if level[v] > d), default=0.0)
           for d, layer in enumerate(layers)]  # fmt: skip
    tops = [0.0]
    for height, sideways in zip(tall, far, strict=True):
        tops.append(tops[-1] - height - between - 0.07 * sideways)
    middle = [top - height / 2 for top, height in zip(tops, tall, strict=False)]
    centres = {v: (x[v], middle[level[v]]) for v in graph.nodes()}
    routes = {edge: _route(chain, x, level, tops, tall, centres, sizes) for edge, chain in chains.items()}
    _spread(routes, sizes)
    right = max(x[n] + widths[n] / 2 for n in links)
    return Layout(centres, routes, right, -(tops[-2] - tall[-1]))


def _depths(graph: Any) -> dict[Hashable, int]:
    """The layer of each node: below all its parents, and where it may be lowered, just above its highest child."""
    order = list(nx.topological_sort(graph))
    depth: dict[Hashable, int] = {}
    for v in order:
        depth[v] = max((depth[u] + 1 for u in graph.predecessors(v)), default=0)
    for v in reversed(order):
        if graph.in_degree(v) <= graph.out_degree(v) and graph.out_degree(v):
            depth[v] = min(depth[w] for w in graph.successors(v)) - 1
    return depth


def _ordered(links: Any, level: Mapping[Hashable, int]) -> list[list[Hashable]]:
    """The layers from above, ordered by sweeps of barycentres; the order with the fewest crossings is kept."""
    layers: list[list[Hashable]] = [[] for _ in range(max(level.values()) + 1)]
    for node in nx.dfs_preorder_nodes(links) if nx.is_connected(links) else _all_parts(links):
        layers[level[node]].append(node)
    best, fewest = [list(layer) for layer in layers], _crossings(links, layers, level)
    for sweep in range(24):
        down = sweep % 2 == 0
        step = 1 if down else -1
        for d in list(range(len(layers)))[::step]:
            place = {n: i for layer in layers for i, n in enumerate(layer)}
            centre = {n: _mean([place[m] for m in links[n] if level[m] == d - step], place[n]) for n in layers[d]}
            layers[d].sort(key=centre.__getitem__)
        crossings = _crossings(links, layers, level)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _all_parts(links: Any) -> list[Hashable]:
    parts = sorted(nx.connected_components(links), key=len, reverse=True)
    return [node for part in parts for node in nx.dfs_preorder_nodes(links.subgraph(part))]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(links: Any, layers: list[list[Hashable]], level: Mapping[Hashable, int]) -> int:
    place = {n: i for layer in layers for i, n in enumerate(layer)}
    total = 0
    for d, layer in enumerate(layers):
        pairs = np.array([(place[n], place[m]) for n in layer for m in links[n] if level[m] == d + 1]).reshape(-1, 2)
        left, right = pairs[:, 0][:, None] - pairs[:, 0], pairs[:, 1][:, None] - pairs[:, 1]
        total += int((left * right < 0).sum()) // 2
    return total


def _places(
    links: Any, layers: list[list[Hashable]], widths: Mapping[Hashable, float], boxes: set[Hashable]
) -> dict[Hashable, float]:
    """The x of each node: as near to its neighbours as the order and the widths allow, by least squares a layer."""
    x: dict[Hashable, float] = {}
    for layer in layers:
        x.update(zip(layer, _gaps(layer, widths), strict=True))
    for sweep in range(60):
        for layer in layers[:: 1 if sweep % 2 else -1]:
            gaps = _gaps(layer, widths)
            wanted = np.array([_mean([x[m] for m in links[n]], x[n]) for n in layer])
            # an edge that passes by is kept straighter than a box is kept central
            weights = np.array([0.5 + len(links[n]) if n in boxes else 4.0 for n in layer])
            x.update(zip(layer, isotonic_regression(wanted - gaps, weights=weights).x + gaps, strict=True))
    left = min(x[n] - widths[n] / 2 for n in links)
    return {n: float(value - left) for n, value in x.items()}


def _gaps(layer: list[Hashable], widths: Mapping[Hashable, float]) -> np.ndarray:
    """The places of a layer's nodes packed as tightly as they may be."""
    half = np.array([widths[n] / 2 for n in layer])
    return np.concatenate([[0.0], np.cumsum(half[:-1] + half[1:] + GAP)])


def _route(
    chain: list[Hashable],
    x: Mapping[Hashable, float],
    level: Mapping[Hashable, int],
    tops: list[float],
    tall: list[float],
    centres: Mapping[Hashable, Corner],
    sizes: Mapping[Hashable, Corner],
) -> list[Corner]:
    tail, *passed, head = chain
    low, high = centres[tail][1] - sizes[tail][1] / 2, centres[head][1] + sizes[head][1] / 2
    points = [(x[tail], low), (x[tail], tops[level[tail]] - tall[level[tail]])]
    for node in passed:
        d = level[node]
        points += [(x[node], tops[d]), (x[node], tops[d] - tall[d])]
    return [*points, (x[head], tops[level[head]] + HEAD), (x[head], high)]


def _at(routes: dict[tuple[Hashable, Hashable], list[Corner]], point: int) -> Callable[[Any], float]:
    return lambda edge: routes[edge][point][0]


def _spread(routes: dict[tuple[Hashable, Hashable], list[Corner]], sizes: Mapping[Hashable, Corner]) -> None:
    """Let edges leave and reach a box side by side, in the order of where they come from or go."""
    for end, inner, outer in ((0, (0, 1), 2), (1, (-1, -2), -3)):
        for v in sizes:
            met = sorted((edge for edge in routes if edge[end] == v), key=_at(routes, outer))
            step = min(0.16, 0.6 * sizes[v][0] / len(met)) if met else 0.0
            for i, edge in enumerate(met):
                for at in inner:
                    px, py = routes[edge][at]
                    routes[edge][at] = (px + step * (i - (len(met) - 1) / 2), py)
