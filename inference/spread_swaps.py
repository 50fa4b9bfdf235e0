"""Neighbours of a spread's history that exchange their paths: how who began it moves along the edges."""

from __future__ import annotations

import math

import numpy as np

from inference.spread_sweeps import NEVER, log_chances, njit, put


@njit(cache=True, nogil=True)
def _own(node, states, pressure, rates, source, target, group, log_start, out):
    """log p(a node's path | those of its in-neighbours)."""
    total = log_start[node, states[node, 0]]
    for t in range(states.shape[1] - 1):
        if total == NEVER:
            break
        log_chances(states[node, t], pressure[node, t], rates[t], source, target, group, out)
        total += out[states[node, t + 1]]
    return total


@njit(cache=True, nogil=True)
def _around(one, other, states, pressure, rates, law, log_start, arcs, out, marked, mark):
    """log p(the paths of two nodes and of all their out-neighbours | the others')."""
    indptr, indices, _ = arcs
    source, target, group, _ = law
    total = 0.0
    marked[one] = marked[other] = mark
    for node in (one, other):
        total += _own(node, states, pressure, rates, source, target, group, log_start, out)
        for arc in range(indptr[node], indptr[node + 1]):
            child = indices[arc]
            if marked[child] != mark and total > NEVER:
                marked[child] = mark
                total += _own(child, states, pressure, rates, source, target, group, log_start, out)
    return total


@njit(cache=True, nogil=True)
def _may(path, allowed):
    for t in range(len(path)):
        if not allowed[t, path[t]]:
            return False
    return True


@njit(cache=True, nogil=True)
def swap(states, pressure, contacts, arcs, rates, law, log_start, allowed, order, random):
    """Propose to each node of `order` to exchange paths with an out-neighbour; a pair is as likely proposed back."""
    met = law[3]
    indptr, indices, _ = arcs
    out, marked = np.empty(log_start.shape[1]), np.zeros(len(states), np.int64)
    mark = 0
    for one in order:
        degree = indptr[one + 1] - indptr[one]
        if degree == 0:
            continue
        other = indices[indptr[one] + min(int(random.random() * degree), degree - 1)]
        mine, theirs = states[one].copy(), states[other].copy()
        if (mine == theirs).all() or not (_may(mine, allowed[other]) and _may(theirs, allowed[one])):
            continue
        mark += 2
        before = _around(one, other, states, pressure, rates, law, log_start, arcs, out, marked, mark - 1)
        put(one, theirs, states, pressure, contacts, arcs, met)
        put(other, mine, states, pressure, contacts, arcs, met)
        after = _around(one, other, states, pressure, rates, law, log_start, arcs, out, marked, mark)
        if math.log(1.0 - random.random()) >= after - before:
            put(one, mine, states, pressure, contacts, arcs, met)
            put(other, theirs, states, pressure, contacts, arcs, met)
