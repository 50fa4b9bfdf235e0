"""Spreads on tiny graphs by enumeration: all states after each step, all sets of live edges."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

State = tuple[str, ...]


def outcomes(
    spread: Any,
    start: Mapping[str, Iterable[int]],
    steps: int,
    *,
    closed: Iterable[int] = (),
    cut: Iterable[tuple[int, int]] = (),
    contacts: Callable[[int], float] = lambda step: 1.0,
) -> dict[tuple[State, int, int, frozenset[int]], float]:
    """Probabilities of (last state, peak, its step, who was ever reached), nodes being 0 to n - 1."""
    graph, names = spread.graph, spread.compartments.names
    gone = {*cut, *((b, a) for a, b in cut)}
    edges = []
    for a in range(graph.n):
        for place in range(int(graph.indptr[a]), int(graph.indptr[a + 1])):
            b, w = int(graph.indices[place]), 1.0 if graph.weights is None else float(graph.weights[place])
            if (a, b) not in gone and not {a, b} & set(closed):
                edges.append((a, b, w))
    first = tuple(next((name for name, nodes in start.items() if v in nodes), names[0]) for v in range(graph.n))
    passing = {name for t in spread.compartments.transitions for name in t.by}
    at = sum(name in passing for name in first)
    reached = frozenset(v for v in range(graph.n) if first[v] != names[0])
    law = {(first, at, 0, reached): 1.0}
    for step in range(steps):
        after: dict[Any, float] = defaultdict(float)
        for (state, peak, when, seen), p in law.items():
            for following, q in _after(spread, state, edges, contacts(step)).items():
                now = sum(name in passing for name in following)
                met = seen | {v for v in range(graph.n) if state[v] != following[v]}
                top = (now, step + 1) if now > peak else (peak, when)
                after[following, *top, met] += p * q
        law = dict(after)
    return law


def _after(spread: Any, state: State, edges: list[tuple[int, int, float]], factor: float) -> dict[State, float]:
    ways = []
    for v, name in enumerate(state):
        (move,) = [t for t in spread.compartments.transitions if t.source == name] or [None]
        if move is None:
            ways.append([(name, 1.0)])
            continue
        rate = float(spread.rates[move.rate]) * spread.step
        hazard = rate
        if move.by:
            hazard = rate * factor * sum(w for a, b, w in edges if b == v and state[a] in move.by)
        ways.append([(move.target, -math.expm1(-hazard)), (name, math.exp(-hazard))])
    found: dict[State, float] = defaultdict(float)
    for together in itertools.product(*ways):
        p = math.prod(q for _, q in together)
        if p > 0:
            found[tuple(name for name, _ in together)] += p
    return found


def mean(law: Mapping[Any, float], figure: Callable[[State, int, int, frozenset[int]], float]) -> float:
    assert abs(sum(law.values()) - 1) < 1e-9
    return sum(p * figure(*what) for what, p in law.items())


def cascade_reach(
    n: int, chances: Mapping[tuple[int, int], float], seeds: Iterable[int], without: Iterable[int] = ()
) -> float:
    """The expected number reached in an independent cascade, over all sets of live edges."""
    total, gone = 0.0, set(without)
    for alive in itertools.product((True, False), repeat=len(chances)):
        p = math.prod(q if on else 1 - q for q, on in zip(chances.values(), alive, strict=True))
        live = [edge for edge, on in zip(chances, alive, strict=True) if on]
        reached = set(seeds) - gone
        while more := {b for a, b in live if a in reached and b not in gone} - reached:
            reached |= more
        total += p * len(reached)
    return total
