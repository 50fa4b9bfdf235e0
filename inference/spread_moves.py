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

    Attributes:
        names: the K compartments.
        nodes: the labels of the n nodes.
        arcs: `indptr` [n + 1], `indices` [A], `weights` [A]: out-edges by rows.
        source, target: [J], compartments of each transition.
        group: [J], the row of `met` whose pressure it needs, -1 where it needs no contact.
        met: [G, K], 1 for compartments that pass something on.
        parameters: the names of the rates, and `rate_of` [J], which is whose.
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
    parameters: tuple[str, ...]
    rate_of: np.ndarray
    step: float

    @property
    def law(self) -> tuple[np.ndarray, ...]:
        return self.source, self.target, self.group, self.met

    @cached_property
    def places(self) -> dict[Any, int]:
        return {label: place for place, label in enumerate(self.nodes)}

    @property
    def first(self) -> int:
        """The compartment in which one spreads first: where those are who begin it."""
        passing = [self.met[g].argmax() for s, g in zip(self.source, self.group, strict=True) if s == 0 and g >= 0]
        if not passing:
            raise ValueError(f"nobody leaves {self.names[0]} by a contact, so that nothing spreads on the graph")
        return int(passing[0])

    def rates(self, steps: int, given: Mapping[str, float] | None = None) -> np.ndarray:
        """[steps, J], the rate of each transition times the length of a step; some may be other than the spread's."""
        rates = {**self.spread.rates, **(given or {})}
        each = [self.spread.compartments.rates(rates, t * self.step).numpy() for t in range(steps)]
        return np.stack(each)[:, self.rate_of] * self.step


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
    weights = np.ones(len(graph.indices)) if graph.weights is None else graph.weights.numpy().astype(float)
    return Moves(
        spread,
        names,
        tuple(graph.nodes),
        (graph.indptr.numpy(), graph.indices.numpy(), weights),
        np.array([names.index(t.source) for t in transitions]),
        np.array([names.index(t.target) for t in transitions]),
        np.array([groups.index(t.by) if t.by else -1 for t in transitions]),
        np.array([[float(name in group) for name in names] for group in groups]).reshape(-1, len(names)),
        compartments.parameters,
        np.array([compartments.parameters.index(t.rate) for t in transitions]),
        float(spread.step),
    )
