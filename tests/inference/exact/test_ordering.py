"""Elimination orders against a plain recount."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.exact.ordering import cheapest_order


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


def test_no_edge_is_added_where_none_is_needed():
    """On chordal graphs nothing is filled in: the cliques of the order are those of the graph."""
    random = np.random.default_rng(0)
    for _ in range(20):
        # a k-tree: each new vertex joins a clique of those before it
        scopes, cliques = [[0, 1, 2]], [[0, 1], [0, 2], [1, 2]]
        for v in range(3, 12):
            clique = cliques[random.integers(len(cliques))]
            scopes.append([*clique, v])
            cliques += [[clique[0], v], [clique[1], v]]
        order = cheapest_order(scopes, [2] * 12)
        assert order.width == 2 and order.total == 8 * 10 + 4 + 2


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
