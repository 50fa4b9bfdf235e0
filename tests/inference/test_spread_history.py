"""Histories by chains, held to the enumeration of all histories of small graphs, and to the truth of simulated ones."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoo.spread import Compartments, Transition
from zoo.spread.graph import Graph

SI = Compartments("SI", [Transition("S", "I", "beta", by="I")])
SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
SEIR = Compartments(
    "SEIR", [Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")]
)
VACCINE = Compartments(
    "SIV", [Transition("S", "I", "beta", by="I"), Transition("S", "V", "nu"), Transition("I", "V", "gamma")]
)
RUMOUR = Compartments(
    ("ignorant", "spreader", "stifler"),
    [
        Transition("ignorant", "spreader", "beta", by="spreader"),
        Transition("spreader", "stifler", "alpha", by=("spreader", "stifler")),
    ],
)


def spread(compartments: Compartments, edges: list, weights=None, directed=False, step=1.0, **rates: float) -> Any:
    graph = Graph.of(edges, weights=weights, directed=directed, nodes=sorted({v for edge in edges for v in edge}))
    return SimpleNamespace(compartments=compartments, graph=graph, rates=rates, step=step)


Path = tuple[tuple[str, ...], ...]


def every_history(model: Any, start: list[dict[str, float]], steps: int) -> dict[Path, float]:
    """The probability of every history, a tuple of the states of all nodes at each step, one step after the other."""
    n = len(start)
    arcs = defaultdict(list)
    graph = model.graph
    weights = [1.0] * len(graph.indices) if graph.weights is None else graph.weights.tolist()
    for u in range(n):
        for place in range(int(graph.indptr[u]), int(graph.indptr[u + 1])):
            arcs[int(graph.indices[place])].append((u, weights[place]))

    def options(states: tuple[str, ...], v: int) -> dict[str, float]:
        hazards = {}
        for move in model.compartments.transitions:
            if move.source == states[v]:
                met = sum(w for u, w in arcs[v] if states[u] in move.by) if move.by else 1.0
                hazards[move.target] = hazards.get(move.target, 0) + model.rates[move.rate] * met * model.step
        total = sum(hazards.values())
        chances = {k: (1 - math.exp(-total)) * h / total for k, h in hazards.items() if h > 0}
        return {**chances, states[v]: math.exp(-total)}

    def products(parts: list[dict[str, float]]) -> Iterator[tuple[tuple[str, ...], float]]:
        for chosen in itertools.product(*(part.items() for part in parts)):
            yield tuple(k for k, _ in chosen), math.prod(p for _, p in chosen)

    found: dict[Path, float] = {(states,): p for states, p in products(start) if p > 0}
    for _ in range(steps):
        after: dict[Path, float] = {}
        for past, p in found.items():
            for states, q in products([options(past[-1], v) for v in range(n)]):
                after[(*past, states)] = p * q
        found = after
    return found


def seeds(model: Any, chance: float, at: str) -> list[dict[str, float]]:
    first = model.compartments.names[0]
    return [{first: 1 - chance, at: chance} for _ in range(model.graph.n)]


def came(past: Path, v: int, name: str) -> int:
    return next((t for t, states in enumerate(past) if states[v] == name), len(past))


def left(past: Path, v: int) -> int:
    return next((t for t, states in enumerate(past) if states[v] != "S" and states[v] != "ignorant"), len(past))
