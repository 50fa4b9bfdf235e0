"""What a spread on a graph does in a step, as arrays that sweeps over histories read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from inference.protocols import name_of


@dataclass(frozen=True)
class Moves:
    """The transitions of a spread, and who meets whom.

    The last transition is a stray, that a node is reached from nowhere: its rate is 0 but in chains that explore.

    Attributes:
        names: the K compartments.
        nodes: the labels of the n nodes.
        arcs: `indptr` [n + 1], `indices` [A], `weights` [A]: out-edges by rows.
        source, target: [J], compartments of each transition.
        group: [J], the row of `met` whose pressure it needs, -1 where it needs no contact.
        met: [G, K], 1 for compartments that pass something on.
        first: the compartment of those who begin it.
        parameters: the names of the rates, and `rate_of` [J], which is whose, -1 of the stray.
        step: its length.
    """

    spread: Any
    names: tuple[str, ...]
    nodes: tuple[Any, ...]
    arcs: tuple[np.ndarray, np.ndarray, np.ndarray]
    source: np.ndarray
    target: np.ndarray
    group: np.ndarray
    met: np.ndarray
    first: int
    parameters: tuple[str, ...]
    rate_of: np.ndarray
    step: float

    @property
    def law(self) -> tuple[np.ndarray, ...]:
        return self.source, self.target, self.group, self.met

    @cached_property
    def places(self) -> dict[Any, int]:
        return {label: place for place, label in enumerate(self.nodes)}

    def rates(self, steps: int, given: Mapping[str, float] | None = None) -> np.ndarray:
        """[steps, J], the rate of each transition times the length of a step; some may be other than the spread's."""
        rates = {**self.spread.rates, **(given or {})}
        each = np.stack([self.spread.compartments.rates(rates, t * self.step).cpu().numpy() for t in range(steps)])
        if each.ndim > 2:
            raise ValueError(f"histories are of one spread, but its rates are {each.shape[1]} of each")
        return np.concatenate([each[:, self.rate_of[:-1]] * self.step, np.zeros((steps, 1))], 1)


def moves_of(spread: Any) -> Moves:
    """The moves of a spread.

    Raises:
        ValueError: births, deaths, groups, or a graph that changes: its histories are not those of one graph's nodes.
    """
    compartments, graph = spread.compartments, spread.graph
    names, transitions = tuple(compartments.names), compartments.transitions
    if compartments.groups is not None:
        raise ValueError(f"{name_of(spread)} has groups, but histories are of the nodes of a graph")
    if endless := [t for t in transitions if t.source is None or t.target is None]:
        raise ValueError(f"the transition {endless[0].label} is of births or deaths, but the nodes of a graph stay")
    if not hasattr(graph, "indptr"):
        raise ValueError("histories are of one graph; give a spread on each, where the graph changes in time")
    groups = list(dict.fromkeys(t.by for t in transitions if t.by))
    weights = np.ones(len(graph.indices)) if graph.weights is None else graph.weights.cpu().numpy().astype(float)
    met = np.array([[float(name in group) for name in names] for group in groups]).reshape(-1, len(names))
    first = next((t for t in transitions if t.by and t.source == names[0]), None)
    if first is None:
        raise ValueError(f"nobody leaves {names[0]} by a contact, so that nothing spreads on the graph")
    return Moves(
        spread,
        names,
        tuple(graph.nodes),
        (graph.indptr.cpu().numpy(), graph.indices.cpu().numpy(), weights),
        np.array([*(names.index(t.source) for t in transitions), 0]),
        np.array([*(names.index(t.target) for t in transitions), names.index(first.target)]),
        np.array([*(groups.index(t.by) if t.by else -1 for t in transitions), -1]),
        met,
        names.index(first.by[0]),
        compartments.parameters,
        np.array([*(compartments.parameters.index(t.rate) for t in transitions), -1]),
        float(spread.step),
    )
