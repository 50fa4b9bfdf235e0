"""Runs on a graph: a start told by labels, replicates in portions that fit into memory."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.spread.compartments import Compartments
from zoo.spread.frontier import Walk
from zoo.spread.graph import ChangingGraph, Graph
from zoo.spread.graph_course import GraphCourse

PORTION = 2**20
"""Places that are walked at once."""

Start = Mapping[str, Iterable[Hashable]] | Tensor
Step = Callable[[Walk, int], None]


def checked(graph: Any) -> Any:
    """A graph that a spread can run on.

    Raises:
        TypeError: another thing, such as a graph of networkx.
    """
    if not isinstance(graph, Graph | ChangingGraph):
        whose = "networkx " if type(graph).__module__.startswith("networkx") else ""
        raise TypeError(f"the graph of a spread is a {whose}{type(graph).__name__}: give Graph.of(it)")
    return graph


class OnGraph(ABC):
    """A spread whose states are compartments of a graph's nodes."""

    compartments: Compartments
    graph: Graph | ChangingGraph

    @property
    @abstractmethod
    def active(self) -> frozenset[int]:
        """Compartments without whose members nothing ever happens."""

    @abstractmethod
    def _walk(self, begun: Tensor, portion: slice, of: int, generator: torch.Generator) -> tuple[Walk, Step]:
        """The walk of a portion of so many replicates, and what makes a step of it."""

    def simulate(self, start: Start, steps: int, *, replicates: int = 1, seed: int = 0) -> GraphCourse:
        """Run it.

        Parameters:
            start: labels of nodes by compartment, all others being in the first; or the compartments' places, uint8 [n]
                or [replicates, n], as in a course's `states`.
            steps: how many.
            replicates: how many independent runs.
            seed: of all randomness; the same seed and replicates give the same course.

        Raises:
            ValueError: unknown compartments or nodes; a node told twice; nobody who could pass anything on.
        """
        if not (isinstance(steps, Integral) and isinstance(replicates, Integral) and steps >= 0 and replicates >= 1):
            raise ValueError(f"steps are whole, 0 or more, and replicates 1 or more, not {steps!r} and {replicates!r}")
        begun = self._begun(start, replicates)
        asked = copy.copy(self)

        def again(wanted: Sequence[int], replicate: int) -> Tensor:
            return asked._frames(begun, wanted, replicate, replicates, seed)

        counts = torch.empty(replicates, steps + 1, self.compartments.size, dtype=torch.long, device=begun.device)
        states = torch.empty(replicates, self.graph.n, dtype=torch.uint8, device=begun.device)
        reached = torch.empty(replicates, self.graph.n, dtype=torch.int32, device=begun.device)
        for part, walk, step in self._portions(begun, replicates, seed):
            counts[part, 0] = walk.heads
            for t in range(steps):
                step(walk, t)
                counts[part, t + 1] = walk.heads
            states[part], reached[part] = walk.states.view(-1, walk.n), walk.reached.view(-1, walk.n)
        return GraphCourse(self.compartments, self.graph.nodes, counts, states, reached, again)

    @property
    def _portion(self) -> int:
        """Replicates that are walked at once."""
        return max(1, PORTION // max(1, self.graph.n))

    def _portions(self, begun: Tensor, replicates: int, seed: int, which: int | None = None) -> Iterator[Any]:
        """Portions, or one of them: which replicates, their walk, and what makes a step of it."""
        for number, first in enumerate(range(0, replicates, self._portion)):
            if which is None or number == which:
                part = slice(first, min(first + self._portion, replicates))
                rows = begun[part] if len(begun) > 1 else begun.expand(part.stop - part.start, -1)
                generator = torch.Generator(begun.device)
                generator.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1))
                yield part, *self._walk(rows, part, replicates, generator)

    def _frames(self, begun: Tensor, wanted: Sequence[int], replicate: int, replicates: int, seed: int) -> Tensor:
        which, row = divmod(replicate, self._portion)
        ((_, walk, step),) = self._portions(begun, replicates, seed, which)
        seen = {0: walk.states.view(-1, walk.n)[row].clone()}
        for t in range(max(wanted, default=0)):
            step(walk, t)
            if t + 1 in wanted:
                seen[t + 1] = walk.states.view(-1, walk.n)[row].clone()
        return torch.stack([seen[t] for t in wanted]) if wanted else seen[0][None][:0]

    # ---- who begins it

    def _begun(self, start: Start, replicates: int) -> Tensor:
        if not isinstance(start, Tensor | Mapping):
            first = self.compartments.names[min(self.active, default=0)]
            raise TypeError(f"a start is {{{first!r}: [nodes]}}, or a tensor of states, not a {type(start).__name__}")
        begun = self._given(start, replicates) if isinstance(start, Tensor) else self._placed(start)
        if not torch.isin(begun.unique(), torch.tensor(sorted(self.active), device=begun.device)).any():
            names = " or ".join(self.compartments.names[k] for k in sorted(self.active))
            raise ValueError(f"nobody begins in {names}, so that nothing would spread: give start={{...: [a node]}}")
        return begun

    def _given(self, start: Tensor, replicates: int) -> Tensor:
        rows = start.reshape(-1, start.shape[-1]) if start.dim() else start.reshape(1, 1)
        if start.dim() not in (1, 2) or rows.shape[1] != self.graph.n or len(rows) not in (1, replicates):
            raise ValueError(
                f"a start of states is [{self.graph.n}] or [{replicates}, {self.graph.n}], not {list(start.shape)}"
            )
        if not torch.isin(rows, torch.arange(self.compartments.size, device=rows.device)).all():
            raise ValueError(f"a start's states are whole numbers, 0 to {self.compartments.size - 1}")
        return rows.to(device=self.graph.at(0).indptr.device, dtype=torch.uint8)

    def _placed(self, start: Mapping[str, Iterable[Hashable]]) -> Tensor:
        begun = torch.zeros(self.graph.n, dtype=torch.uint8, device=self.graph.at(0).indptr.device)
        told = torch.zeros_like(begun)
        for name, labels in start.items():
            k, places = self.compartments.index(name), self.graph.index(labels)
            if told[places].any():
                twice = self.graph.nodes[int(places[told[places].nonzero()[0, 0]])]
                raise ValueError(f"the node {twice!r} begins in {name} and in another compartment: one is needed")
            begun[places], told[places] = k, 1
        return begun[None]
