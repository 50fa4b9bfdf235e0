"""A graph that changes in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from zoo.spread.graph import Graph


class ChangingGraph:
    """A graph that changes: pairs of a step and the graph from then on, the first from step 0; all of the same nodes.

    Raises:
        ValueError: none from step 0; steps that don't go up; graphs of different nodes.
    """

    def __init__(self, parts: Sequence[tuple[int, Graph]]) -> None:
        self.parts = tuple((int(step), graph) for step, graph in parts)
        steps = [step for step, _ in self.parts]
        if not steps or steps[0] != 0 or sorted(set(steps)) != steps:
            raise ValueError(f"a changing graph begins at step 0, and its steps go up, not {steps}")
        for step, graph in self.parts[1:]:
            if list(graph.nodes) != list(self.nodes):
                raise ValueError(f"the graph from step {step} on has other nodes than the first: give `nodes` to each")

    def __repr__(self) -> str:
        return f"ChangingGraph({self.parts!r})"

    @property
    def nodes(self) -> Sequence[Hashable]:
        return self.parts[0][1].nodes

    @property
    def n(self) -> int:
        return self.parts[0][1].n

    def at(self, step: int) -> Graph:
        """The graph at a step."""
        return next(graph for start, graph in reversed(self.parts) if start <= step)

    def index(self, labels: Iterable[Hashable]) -> Tensor:
        return self.parts[0][1].index(labels)

    def each(self, change: Callable[[Graph], Graph]) -> ChangingGraph:
        """Every part changed in the same way."""
        return ChangingGraph([(step, change(graph)) for step, graph in self.parts])

    def to(self, device: torch.device | str) -> ChangingGraph:
        return self.each(lambda graph: graph.to(device))

    def reversed(self) -> ChangingGraph:
        return self.each(lambda graph: graph.reversed())

    def without_nodes(self, labels: Iterable[Hashable]) -> ChangingGraph:
        labels = list(labels)
        return self.each(lambda graph: graph.without_nodes(labels))

    def without_edges(self, pairs: Iterable[tuple[Hashable, Hashable]]) -> ChangingGraph:
        """Without these edges, in every part that has them.

        Raises:
            ValueError: one that is in no part.
        """
        ends = [(a, b) for a, b in pairs]
        there = [[graph.has(a, b) for a, b in ends] for _, graph in self.parts]
        if missing := [pair for pair, has in zip(ends, zip(*there, strict=True), strict=False) if not any(has)]:
            raise ValueError(f"no part of the graph has the edge {missing[0][0]!r} - {missing[0][1]!r}")
        return ChangingGraph(
            [
                (step, graph.without_edges([pair for pair, has in zip(ends, which, strict=True) if has]))
                for (step, graph), which in zip(self.parts, there, strict=True)
            ]
        )

    def scaled(self, factor: float) -> ChangingGraph:
        return self.each(lambda graph: graph.scaled(factor))
