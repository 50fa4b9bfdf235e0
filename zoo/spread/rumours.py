"""Rumours and fashions on a graph: who hears it passes it on once, or joins when enough of his friends have.

References:
    Maximizing the Spread of Influence through a Social Network (Kempe, Kleinberg and Tardos, 2003)
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Transition
from zoo.spread.frontier import Walk
from zoo.spread.graph import ChangingGraph, Graph
from zoo.spread.on_graph import GraphSpread
from zoo.spread.replicates import OnGraph, Step, checked

ONCE = Compartments(
    ("ignorant", "spreader", "stifler"),
    [Transition("ignorant", "spreader", "passed", by="spreader"), Transition("spreader", "stifler", "done")],
)
JOINED = Compartments(("ignorant", "spreader"), [Transition("ignorant", "spreader", "joined", by="spreader")])
SURE = 1e3
"""A hazard after which the chance is 1."""


def independent_cascade(graph: Graph | ChangingGraph, *, chance: float | None = None) -> GraphSpread:
    """Each node that has heard it tries each of its out-edges once, in the next step, and is a stifler from then on.

    Parameters:
        graph: who tells whom; its weights are the chances of its edges where `chance` is None.
        chance: that of every edge.

    Raises:
        ValueError: a chance outside 0 to 1.
    """
    if chance is not None and not 0 <= chance <= 1:
        raise ValueError(f"an edge passes it on with a chance from 0 to 1, not {chance}")

    def hazards(part: Graph) -> Graph:
        if chance is not None:
            chances = torch.full(part.indices.shape, chance, dtype=torch.float64, device=part.indices.device)
        elif part.weights is None:
            raise ValueError("the graph has no weights to be the chances of its edges: give chance=")
        elif len(part.weights) and part.weights.max() > 1:
            raise ValueError(f"an edge passes it on with a chance from 0 to 1, not its weight {part.weights.max():g}")
        else:
            chances = part.weights
        return replace(part, weights=(-torch.log1p(-chances)).clamp(max=SURE))

    return GraphSpread(ONCE, checked(graph).each(hazards), {"passed": 1.0, "done": SURE})


def linear_threshold(graph: Graph | ChangingGraph) -> LinearThreshold:
    """Each node joins once the weights of those in-neighbours who have exceed its threshold, drawn from 0 to 1.

    The weights that lead to a node are divided by their sum.
    """
    return LinearThreshold(checked(graph).each(_normalised))


class LinearThreshold(OnGraph):
    """A spread by thresholds; the weights that lead to each node of its graph have the sum 1."""

    compartments = JOINED

    def __init__(self, graph: Graph | ChangingGraph) -> None:
        self.graph = graph

    def __repr__(self) -> str:
        return f"LinearThreshold on a {self.graph!r}"

    @property
    def active(self) -> frozenset[int]:
        return frozenset({1})

    def _walk(self, begun: Tensor, portion: slice, of: int, generator: torch.Generator) -> tuple[Walk, Step]:
        walk = Walk(begun, self.compartments.size, followed=[1])
        threshold = torch.rand(walk.states.shape, dtype=torch.float64, device=begun.device, generator=generator)
        return walk, _Thresholds(self.graph, threshold).step


class _Thresholds:
    """Steps of a portion of the replicates: those who joined last press on their neighbours, once."""

    def __init__(self, graph: Graph | ChangingGraph, threshold: Tensor) -> None:
        self.graph, self.threshold, self.pressure = graph, threshold, torch.zeros_like(threshold)
        self.before, self.last = graph.at(0), 0

    def step(self, walk: Walk, t: int) -> None:
        graph, joined = self.graph.at(t), walk.members[1]
        if graph is not self.before:  # other weights: everyone presses anew
            self.pressure.zero_()
            self.before, self.last = graph, 0
        fresh, self.last = joined[self.last :], len(joined)
        edges, targets = _edges(walk, graph, fresh)
        weights = graph.weights[edges] if graph.weights is not None else torch.ones_like(edges, dtype=torch.float64)
        self.pressure.index_add_(0, targets, weights)
        ready = targets[(walk.states[targets] == 0) & (self.pressure[targets] > self.threshold[targets])].unique()
        walk.move([(ready, 0, 1)], t + 1)


def _edges(walk: Walk, graph: Graph, places: Tensor) -> tuple[Tensor, Tensor]:
    """The out-edges of those at places, and where they lead."""
    nodes = walk.nodes(places)
    begin, degree = graph.indptr[nodes], graph.indptr[nodes + 1] - graph.indptr[nodes]
    row = torch.arange(len(places), device=places.device).repeat_interleave(degree)
    edges = torch.arange(len(row), device=places.device) + (begin - degree.cumsum(0) + degree)[row]
    return edges, graph.indices[edges] + (places - nodes)[row]


def _normalised(graph: Graph) -> Graph:
    weights = torch.ones(len(graph.indices), dtype=torch.float64, device=graph.indices.device)
    weights = weights if graph.weights is None else graph.weights
    sums = weights.new_zeros(graph.n).index_add_(0, graph.indices, weights)[graph.indices]
    return replace(graph, weights=torch.where(sums > 0, weights / sums.clamp(min=1e-300), 0.0))
