"""The exact law of spreads on small graphs, by adding up every way they can go."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.stats import chi2

Law = Mapping[tuple, float]


def chain(names: str, transitions: Sequence[tuple], edges: Callable, begun: str, steps: int) -> Law:
    """The law of (states, first leavings) after steps of length 1.

    `transitions` are (source, target, rate, by), `edges(t)` a mapping (a, b) -> weight of directed edges.
    """
    law = {(begun, tuple(0 if s != names[0] else -1 for s in begun)): 1.0}
    for t in range(steps):
        after: dict[tuple, float] = defaultdict(float)
        for (states, reached), mass in law.items():
            each = [node(v, states, transitions, edges(t)) for v in range(len(states))]
            for ways in itertools.product(*(one.items() for one in each)):
                new = "".join(state for state, _ in ways)
                left = tuple(t + 1 if r < 0 and s != names[0] else r for r, s in zip(reached, new, strict=True))
                after[new, left] += mass * math.prod(chance for _, chance in ways)
        law = after
    return law


def node(v: int, states: str, transitions: Sequence[tuple], edges: Mapping) -> Law:
    """Where a node goes in one step, given all states."""
    hazards: dict[str, float] = defaultdict(float)
    for source, target, rate, by in transitions:
        if states[v] == source:
            met = sum(w for (a, b), w in edges.items() if b == v and states[a] in by) if by else 1.0
            hazards[target] += rate * met
    total = sum(hazards.values())
    out = {states[v]: math.exp(-total)}
    for target, hazard in hazards.items():
        if hazard:
            out[target] = (1 - math.exp(-total)) * hazard / total
    return out


def hops(n: int, live: Sequence[tuple[int, int]], begun: Sequence[int], steps: int) -> tuple[int, ...]:
    """After how many edges each node is reached, -1 for more than `steps`."""
    found = dict.fromkeys(begun, 0)
    for t in range(1, steps + 1):
        for a, b in live:
            if found.get(a) == t - 1 and b not in found:
                found[b] = t
    return tuple(found.get(v, -1) for v in range(n))


def cascade(n: int, chances: Mapping, begun: Sequence[int], steps: int) -> Law:
    """The law of the steps at which nodes are reached: every set of live edges."""
    law: dict[tuple, float] = defaultdict(float)
    for coins in itertools.product((False, True), repeat=len(chances)):
        mass = math.prod(p if up else 1 - p for up, p in zip(coins, chances.values(), strict=True))
        live = [edge for up, edge in zip(coins, chances, strict=True) if up]
        law[hops(n, live, begun, steps)] += mass
    return law


def thresholds(n: int, weights: Mapping, begun: Sequence[int], steps: int) -> Law:
    """The same for linear thresholds: each node keeps one in-edge, by its weight (Kempe et al. 2003)."""
    law: dict[tuple, float] = defaultdict(float)
    choices = []
    for v in range(n):
        into = [((a, b), w) for (a, b), w in weights.items() if b == v]
        total = sum(w for _, w in into)
        choices.append([(edge, w / total) for edge, w in into] or [(None, 1.0)])
    for kept in itertools.product(*choices):
        live = [edge for edge, _ in kept if edge]
        law[hops(n, live, begun, steps)] += math.prod(mass for _, mass in kept)
    return law


def p_value(law: Law, seen: Sequence[tuple]) -> float:
    """Of Pearson's chi-square; cells expected less than five times are put together. Impossible ones are 0."""
    counts: dict[tuple, int] = defaultdict(int)
    for one in seen:
        counts[one] += 1
    if any(law.get(one, 0.0) <= 0 for one in counts):
        return 0.0
    rare = {one for one, mass in law.items() if mass * len(seen) < 5}
    cells = [(counts[one], mass * len(seen)) for one, mass in law.items() if one not in rare]
    if rare:
        cells.append((sum(counts[one] for one in rare), sum(law[one] for one in rare) * len(seen)))
    got, expected = np.array(cells).T
    return float(chi2.sf(((got - expected) ** 2 / expected).sum(), max(1, len(cells) - 1)))
