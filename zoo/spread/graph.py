"""Who meets whom: a graph as its out-edges, row by row, for millions of edges."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import torch
from torch import Tensor

from zoo.registry import near
from zoo.spread.changing_graph import ChangingGraph
from zoo.spread.edge_files import read
from zoo.spread.edge_lists import Listed, listed, placed
from zoo.spread.edge_rows import ends_of, rows, weighed

__all__ = ["ChangingGraph", "Graph"]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and their out-edges in rows (CSR); an undirected edge is there twice.

    An edge told twice is one edge, and one from a node to itself is dropped: nobody infects himself.

    Attributes:
        nodes: the labels, in the order of their places.
        indptr: int64 [n + 1], where the out-edges of each node begin.
        indices: int64 [E], where they lead.
        weights: float64 [E], or None where all are 1.
        directed: whether an edge leads one way only.
    """

    nodes: Sequence[Hashable]
    indptr: Tensor
    indices: Tensor
    weights: Tensor | None = None
    directed: bool = False

    @classmethod
    def of(
        cls, given: Any, *, weights: Any = None, directed: bool = False, nodes: Sequence[Hashable] | None = None
    ) -> Graph:
        """A graph of what you have.

        Parameters:
            given: a networkx graph (directed if it is); edges as an array [E, 2] or pairs of labels; a sparse adjacency
                of scipy or torch, whose row is where an edge comes from and whose numbers are weights.
            weights: a number for each edge; for a networkx graph also the name of an attribute, whose numbers are not
                used unless it is named.
            nodes: all nodes there are; those that have an edge where None.

        Raises:
            ValueError: an edge of an unknown node, or to nowhere; weights that are negative, or another count.
        """
        return cls._built(listed(given, weights, directed), nodes)

    @classmethod
    def read(cls, path: str | Path, *, directed: bool = False, nodes: Sequence[Hashable] | None = None) -> Graph:
        """A graph of a file with an edge a line: two labels, and a weight if there is one.

        Labels are whole numbers, or names, between blanks or commas; lines before the first edge that begin with # or %
        are skipped. A million edges take about a second.

        Raises:
            ValueError: a line that is no such edge.
        """
        return cls._built(read(path, directed), nodes)

    @classmethod
    def _built(cls, edges: Listed, nodes: Sequence[Hashable] | None) -> Graph:
        edges = placed(weighed(edges), nodes)
        assert edges.nodes is not None
        return cls(edges.nodes, *rows(edges, len(edges.nodes)), edges.directed)

    def __repr__(self) -> str:
        kind = ("weighted " if self.weights is not None else "") + ("directed " if self.directed else "")
        edges = len(self.indices) if self.directed else len(self.indices) // 2
        return f"Graph of {self.n:,} nodes and {edges:,} {kind}edges"

    @property
    def n(self) -> int:
        return len(self.nodes)

    @cached_property
    def degrees(self) -> Tensor:
        """[n], out-edges of each node."""
        return self.indptr.diff()

    @cached_property
    def heaviest(self) -> float:
        """The largest weight, 1 without weights."""
        if self.weights is None:
            return 1.0
        return float(self.weights.max()) if len(self.weights) else 0.0

    @property
    def sources(self) -> Tensor:
        """[E], where each edge comes from."""
        return torch.arange(self.n, device=self.indptr.device).repeat_interleave(self.degrees)

    def at(self, step: int) -> Graph:
        """The graph at a step: this one."""
        return self

    def each(self, change: Callable[[Graph], Graph]) -> Graph:
        """Every part of it changed: itself."""
        return change(self)

    def to(self, device: torch.device | str) -> Graph:
        weights = None if self.weights is None else self.weights.to(device)
        return replace(self, indptr=self.indptr.to(device), indices=self.indices.to(device), weights=weights)

    @cached_property
    def _places(self) -> dict[Hashable, int]:
        return {node: place for place, node in enumerate(self.nodes)}

    def index(self, labels: Iterable[Hashable]) -> Tensor:
        """The places of nodes, int64 [len(labels)].

        Raises:
            ValueError: one that isn't in the graph.
        """
        if isinstance(labels, str) or not hasattr(labels, "__iter__"):
            raise ValueError(f"nodes are given as a list: [{labels!r}], not {labels!r}")
        listed_ = labels.tolist() if hasattr(labels, "tolist") else list(labels)
        try:
            places = [self._places[label] for label in listed_]
        except (KeyError, TypeError):
            unknown = next(x for x in listed_ if not isinstance(x, Hashable) or x not in self._places)
            close = near(str(unknown), [str(node) for node in self.nodes[:10_000]])
            raise ValueError(f"the graph has no node {unknown!r}{close}") from None
        return torch.tensor(places, dtype=torch.long, device=self.indptr.device)

    def has(self, a: Hashable, b: Hashable) -> bool:
        """Whether an edge leads from a to b."""
        here, there = self.index([a, b]).tolist()
        return bool((self.indices[self.indptr[here] : self.indptr[here + 1]] == there).any())

    # ---- graphs made of this one

    def reversed(self) -> Graph:
        """All edges the other way: the out-edges of a node are its in-edges here."""
        if not self.directed:
            return self
        order = self.indices.argsort(stable=True)
        counts = torch.bincount(self.indices, minlength=self.n)
        weights = None if self.weights is None else self.weights[order]
        return replace(self, indptr=ends_of(counts), indices=self.sources[order], weights=weights)

    def _kept(self, keep: Tensor) -> Graph:
        counts = torch.bincount(self.sources[keep], minlength=self.n)
        weights = None if self.weights is None else self.weights[keep]
        return replace(self, indptr=ends_of(counts), indices=self.indices[keep], weights=weights)

    def without_nodes(self, labels: Iterable[Hashable]) -> Graph:
        """Without the edges of these nodes, which keep their places."""
        gone = torch.zeros(self.n, dtype=torch.bool, device=self.indptr.device)
        gone[self.index(labels)] = True
        return self._kept(~(gone[self.sources] | gone[self.indices]))

    def without_edges(self, pairs: Iterable[tuple[Hashable, Hashable]]) -> Graph:
        """Without these edges.

        Raises:
            ValueError: one that isn't in the graph.
        """
        ends = [(a, b) for a, b in pairs]
        a, b = (self.index(side) for side in (zip(*ends, strict=True) if ends else ((), ())))
        there, cut = self.sources * self.n + self.indices, a * self.n + b
        if (missing := ~torch.isin(cut, there)).any():
            first = ends[int(missing.int().argmax())]
            raise ValueError(f"the graph has no edge {first[0]!r} - {first[1]!r}")
        return self._kept(~torch.isin(there, cut if self.directed else torch.cat([cut, b * self.n + a])))

    def scaled(self, factor: float) -> Graph:
        """All weights times a number from 0 on."""
        if not 0 <= factor < float("inf"):
            raise ValueError(f"contacts are scaled by a number from 0 on, not {factor}")
        old = torch.ones(len(self.indices), dtype=torch.float64) if self.weights is None else self.weights
        return replace(self, weights=old.to(self.indices.device) * factor)

    def to_networkx(self) -> nx.Graph:
        """As a Graph or DiGraph of networkx, weights in the attribute "weight"."""
        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(self.nodes)
        weights = {} if self.weights is None else {"weight": self.weights.tolist()}
        for edge, (a, b) in enumerate(zip(self.sources.tolist(), self.indices.tolist(), strict=True)):
            graph.add_edge(self.nodes[a], self.nodes[b], **{name: values[edge] for name, values in weights.items()})
        return graph
