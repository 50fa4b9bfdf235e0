"""In which order to eliminate variables: several greedy orders, the cheapest kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

MANY = 24
"""Neighbours above which a changed score is worked out only when its variable comes up: a hub changes at each step."""

WORTH_ANOTHER_TRY = 20_000
"""Entries over all cliques above which the third, slower heuristic is tried too."""


@dataclass(frozen=True)
class Order:
    """Variables in the order of their elimination, and what it costs.

    `total` is the number of entries over all cliques, `largest` that of the largest one, `width` its number of
    variables less one.
    """

    variables: tuple[int, ...]
    total: int
    largest: int
    width: int
    heuristic: str


def cheapest_order(
    scopes: Sequence[Sequence[int]], cards: Sequence[int], kept: Sequence[int] = (), late: Sequence[int] = ()
) -> Order:
    """The cheapest of the greedy orders of the variables in `scopes`.

    Those in `kept` are not eliminated, and joined to each other; those in `late` come after all the others.

    Min-fill adds the fewest edges at each step, min-size takes the smallest clique, weighted min-fill weighs
    edges by their number of states: Triangulation of Graphs (Kjaerulff, 1990).
    """
    neighbours = _moral(scopes, len(cards), kept)
    free = {v for scope in scopes for v in scope} - set(kept)
    phases = [sorted(part) for part in (free - set(late), free & set(late)) if part]
    best = None
    for heuristic in (_MinFill, _MinSize, _WeightedMinFill):
        if heuristic is _WeightedMinFill and best is not None and best.total < WORTH_ANOTHER_TRY:
            break
        found = _greedy(phases, list(neighbours), cards, heuristic, None if best is None else best.total)
        best = found or best
    assert best is not None
    return best


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones of an integer."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _moral(scopes: Sequence[Sequence[int]], n: int, kept: Sequence[int]) -> list[int]:
    """The neighbours of each variable, as the bits of an integer."""
    neighbours = [0] * n
    for scope in (*scopes, kept):
        mask = 0
        for v in scope:
            mask |= 1 << v
        for v in scope:
            neighbours[v] |= mask
    return [mask & ~(1 << v) for v, mask in enumerate(neighbours)]


class _Score:
    """What eliminating a variable costs now; the least goes first."""

    name: str
    two_steps: bool  # whether the score of a neighbour's neighbour changes too

    def __init__(self, neighbours: list[int], cards: Sequence[int]) -> None:
        self.neighbours, self.cards = neighbours, cards

    def __call__(self, v: int) -> float:
        raise NotImplementedError


class _MinFill(_Score):
    name = "min-fill"
    two_steps = True

    def __call__(self, v: int) -> float:
        around = self.neighbours[v]
        rest, degree, present = around, around.bit_count(), 0
        while rest:
            low = rest & -rest
            present += (around & self.neighbours[low.bit_length() - 1]).bit_count()
            rest ^= low
        return (degree * (degree - 1) - present) / 2


class _MinSize(_Score):
    name = "min-size"
    two_steps = False

    def __call__(self, v: int) -> float:
        size = 1
        for u in bits(self.neighbours[v]):
            size *= self.cards[u]
        return size


class _WeightedMinFill(_Score):
    name = "weighted min-fill"
    two_steps = True

    def __call__(self, v: int) -> float:
        around = self.neighbours[v]
        total = 0
        for u in bits(around):
            missing = sum(self.cards[w] for w in bits(around & ~self.neighbours[u])) - self.cards[u]
            total += self.cards[u] * missing
        return total / 2


def _greedy(
    phases: Sequence[Sequence[int]],
    neighbours: list[int],
    cards: Sequence[int],
    heuristic: type[_Score],
    bound: int | None,
) -> Order | None:
    """The greedy order, phase after phase, or None as soon as it costs as much as the bound."""
    score = heuristic(neighbours, cards)
    order: list[int] = []
    total = largest = width = 0
    for free in phases:
        for v in _greedy_phase(free, neighbours, score):
            size, degree = cards[v], 0
            for u in bits(neighbours[v]):
                size *= cards[u]
                degree += 1
            total += size
            if bound is not None and total >= bound:
                return None
            order.append(v)
            largest, width = max(largest, size), max(width, degree)
    return Order(tuple(order), total, largest, width, score.name)


def _greedy_phase(free: Sequence[int], neighbours: list[int], score: _Score) -> Iterator[int]:
    """These variables one after the other, that of the least score first; each is eliminated after it is told."""
    current = {v: score(v) for v in free}
    heap = [(s, v) for v, s in current.items()]
    heapify(heap)
    stale: set[int] = set()
    while heap:
        s, v = heappop(heap)
        if current.get(v) != s:
            continue
        if v in stale:
            stale.discard(v)
            current[v] = score(v)
            heappush(heap, (current[v], v))
            continue
        del current[v]
        yield v
        for u in bits(_eliminate(v, neighbours, score.two_steps)):
            if u not in current:
                continue
            if neighbours[u].bit_count() > MANY:
                stale.add(u)
                continue
            s = score(u)
            if s != current[u]:
                current[u] = s
                heappush(heap, (s, u))


def _eliminate(v: int, neighbours: list[int], two_steps: bool) -> int:
    """Join v's neighbours to each other and take v out; the mask of those whose score may have changed."""
    around = neighbours[v]
    gone = ~(1 << v)
    changed = around
    for u in bits(around):
        before = neighbours[u]
        after = (before | around) & gone & ~(1 << u)
        neighbours[u] = after
        added = after & ~before
        if two_steps and added:
            # a vertex next to both ends of a new edge lacks one edge less
            for w in bits(added):
                changed |= before & neighbours[w]
    return changed
