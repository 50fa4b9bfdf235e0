"""In which order to eliminate variables: several greedy orders, the cheapest kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def cheapest_order(scopes: Sequence[Sequence[int]], cards: Sequence[int], last: Sequence[int] = ()) -> Order:
    """The cheapest of the greedy orders of the variables in `scopes`; those in `last` are kept, not eliminated.

    Min-fill adds the fewest edges at each step, min-size takes the smallest clique, weighted min-fill weighs
    edges by their number of states: Triangulation of Graphs (Kjaerulff, 1990).
    """
    neighbours = _moral(scopes, len(cards), last)
    free = sorted({v for scope in scopes for v in scope} - set(last))
    best = None
    for heuristic in (_MinFill, _MinSize, _WeightedMinFill):
        if heuristic is _WeightedMinFill and best is not None and best.total < WORTH_ANOTHER_TRY:
            break
        found = _greedy(free, list(neighbours), cards, heuristic, None if best is None else best.total)
        best = found or best
    assert best is not None
    return best


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones of an integer."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _moral(scopes: Sequence[Sequence[int]], n: int, last: Sequence[int]) -> list[int]:
    """The neighbours of each variable, as the bits of an integer."""
    neighbours = [0] * n
    for scope in (*scopes, last):
        mask = 0
        for v in scope:
            mask |= 1 << v
        for v in scope:
            neighbours[v] |= mask
    return [mask & ~(1 << v) for v, mask in enumerate(neighbours)]


class _MinFill:
    name = "min-fill"
    two_steps = True  # the score of a neighbour's neighbour changes too

    def __init__(self, neighbours: list[int], cards: Sequence[int]) -> None:
        self.neighbours = neighbours

    def __call__(self, v: int) -> float:
        around = self.neighbours[v]
        rest, degree, present = around, around.bit_count(), 0
        while rest:
            low = rest & -rest
            present += (around & self.neighbours[low.bit_length() - 1]).bit_count()
            rest ^= low
        return (degree * (degree - 1) - present) / 2


class _MinSize:
    name = "min-size"
    two_steps = False

    def __init__(self, neighbours: list[int], cards: Sequence[int]) -> None:
        self.neighbours, self.cards = neighbours, cards

    def __call__(self, v: int) -> float:
        size = 1
        for u in bits(self.neighbours[v]):
            size *= self.cards[u]
        return size


class _WeightedMinFill:
    name = "weighted min-fill"
    two_steps = True

    def __init__(self, neighbours: list[int], cards: Sequence[int]) -> None:
        self.neighbours, self.cards = neighbours, cards

    def __call__(self, v: int) -> float:
        around = self.neighbours[v]
        total = 0
        for u in bits(around):
            missing = sum(self.cards[w] for w in bits(around & ~self.neighbours[u])) - self.cards[u]
            total += self.cards[u] * missing
        return total / 2


def _greedy(
    free: Sequence[int],
    neighbours: list[int],
    cards: Sequence[int],
    heuristic: Callable,
    bound: int | None,
) -> Order | None:
    """The greedy order, or None as soon as it costs as much as the bound."""
    score = heuristic(neighbours, cards)
    heap = [(score(v), v) for v in free]
    current = {v: s for s, v in heap}
    heapify(heap)
    order: list[int] = []
    stale: set[int] = set()
    total = largest = width = 0
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
        order.append(v)
        around = neighbours[v]
        members = list(bits(around))
        size = cards[v]
        for u in members:
            size *= cards[u]
        total += size
        if bound is not None and total >= bound:
            return None
        largest, width = max(largest, size), max(width, len(members))
        changed = _eliminate(v, members, neighbours, score.two_steps)
        for u in bits(changed):
            if u in current:
                if neighbours[u].bit_count() > MANY:
                    stale.add(u)
                    continue
                s = score(u)
                if s != current[u]:
                    current[u] = s
                    heappush(heap, (s, u))
    return Order(tuple(order), total, largest, width, score.name)


def _eliminate(v: int, members: list[int], neighbours: list[int], two_steps: bool) -> int:
    """Join v's neighbours to each other and take v out; the mask of those whose score may have changed."""
    around = neighbours[v]
    gone = ~(1 << v)
    changed = around
    for u in members:
        before = neighbours[u]
        after = (before | around) & gone & ~(1 << u)
        neighbours[u] = after
        added = after & ~before
        if two_steps and added:
            # a vertex next to both ends of a new edge lacks one edge less
            for w in bits(added):
                changed |= before & neighbours[w]
    return changed
