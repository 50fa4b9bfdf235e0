"""Elimination orders against a plain recount."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.exact import ordering
from inference.exact.ordering import bits, cheapest_order


@st.composite
def hypergraphs(draw) -> tuple[list[list[int]], list[int], list[int]]:
    n = draw(st.integers(1, 30))
    cards = draw(st.lists(st.integers(1, 6), min_size=n, max_size=n))
    scopes = draw(st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=4, unique=True), min_size=1))
    used = sorted({v for scope in scopes for v in scope})
    return scopes, cards, draw(st.lists(st.sampled_from(used), max_size=3, unique=True))


def recount(scopes, cards, last, order) -> tuple[int, int, int]:
    """Total, largest and width, by eliminating from a graph of plain sets."""
    edges = {v: set() for scope in scopes for v in scope}
    for scope in [*scopes, last]:
        for v in scope:
            edges[v] |= set(scope) - {v}
    sizes, widths = [], []
    for v in order:
        around = edges.pop(v)
        sizes.append(cards[v] * math.prod(cards[u] for u in around))
        widths.append(len(around))
        for u in around:
            edges[u] = (edges[u] | around) - {u, v}
    return sum(sizes), max(sizes, default=0), max(widths, default=0)


@settings(max_examples=300, deadline=None)
@given(hypergraphs())
def test_an_order_eliminates_all_but_the_kept_and_costs_what_it_says(graph):
    scopes, cards, last = graph
    order = cheapest_order(scopes, cards, last)
    assert sorted(order.variables) == sorted({v for scope in scopes for v in scope} - set(last))
    assert (order.total, order.largest, order.width) == recount(scopes, cards, last, order.variables)


@settings(max_examples=200, deadline=None)
@given(hypergraphs())
def test_the_cheapest_of_the_orders_is_kept(graph):
    """Each heuristic alone costs as much or more; the third is tried only where it could matter."""
    scopes, cards, last = graph
    free = sorted({v for scope in scopes for v in scope} - set(last))
    alone = {}
    for heuristic in (ordering._MinFill, ordering._MinSize, ordering._WeightedMinFill):
        found = ordering._greedy(free, ordering._moral(scopes, len(cards), last), cards, heuristic, None)
        assert recount(scopes, cards, last, found.variables)[0] == found.total
        alone[heuristic.name] = found.total
    kept = cheapest_order(scopes, cards, last)
    assert kept.total == alone[kept.heuristic]
    assert kept.total == min(alone["min-fill"], alone["min-size"]) or kept.total == min(alone.values())


@settings(max_examples=100, deadline=None)
@given(hypergraphs())
def test_scores_kept_up_to_date_are_scores_worked_out_afresh(graph):
    """The greedy order by hand: at each step the least score of all, ties to the lowest variable."""
    scopes, cards, last = graph
    free = sorted({v for scope in scopes for v in scope} - set(last))
    for heuristic in (ordering._MinFill, ordering._MinSize, ordering._WeightedMinFill):
        found = ordering._greedy(free, ordering._moral(scopes, len(cards), last), cards, heuristic, None)
        neighbours = ordering._moral(scopes, len(cards), last)
        left, plain = set(free), []
        while left:
            score = heuristic(neighbours, cards)
            v = min(left, key=lambda v: (score(v), v))
            plain.append(v)
            left.discard(v)
            members = list(bits(neighbours[v]))
            ordering._eliminate(v, members, neighbours, True)
        assert list(found.variables) == plain


def test_min_fill_counts_the_edges_it_would_add():
    random = np.random.default_rng(0)
    for _ in range(20):
        n = 9
        scopes = [sorted(random.choice(n, 3, replace=False).tolist()) for _ in range(6)]
        neighbours = ordering._moral(scopes, n, ())
        score = ordering._MinFill(neighbours, [2] * n)
        for v in range(n):
            around = list(bits(neighbours[v]))
            missing = sum(not neighbours[a] >> b & 1 for i, a in enumerate(around) for b in around[:i])
            assert score(v) == missing


@pytest.mark.parametrize("length", [3, 10, 200])
def test_a_chain_has_width_one(length):
    scopes = [[v, v + 1] for v in range(length - 1)]
    order = cheapest_order(scopes, [3] * length)
    assert (order.width, order.largest) == (1, 9)


def test_a_star_is_eliminated_from_its_leaves():
    """A hub with more neighbours than are kept up to date at each step."""
    scopes = [[0, v] for v in range(1, 100)]
    order = cheapest_order(scopes, [2] * 100)
    assert order.width == 1 and 0 in order.variables[-2:]
