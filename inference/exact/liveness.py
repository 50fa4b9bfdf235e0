"""Where the tables of a program lie in its arena: a stretch is free again after the last use of what lay there."""

from __future__ import annotations

import numpy as np
from numba import njit

CONTRACT, INVERSE, SCALE, LOAD, STORE, GATHER = range(6)
"""What an operation does; two of them bring likelihoods in and answers out."""


@njit(cache=True)
def last_uses(operations, consts, kept):
    last = np.full(len(consts), -1)
    for i in range(len(operations)):
        kind, _, a, b = operations[i]
        if kind != LOAD:
            last[a] = i
        if b >= 0:
            last[b] = i
    for slot in kept:
        last[slot] = len(operations)
    return last


@njit(cache=True)
def take(gaps, free, size):
    """The first stretch long enough, and how many stretches there are then."""
    g = 0
    while gaps[g, 1] < size:
        g += 1
    start = gaps[g, 0]
    gaps[g, 0] += size
    gaps[g, 1] -= size
    if gaps[g, 1] == 0:
        free = _close(gaps, free, g)
    return start, free


@njit(cache=True)
def _close(gaps, free, g):
    """Take stretch g out of the list."""
    for k in range(g, free - 1):
        gaps[k, 0], gaps[k, 1] = gaps[k + 1, 0], gaps[k + 1, 1]
    return free - 1


@njit(cache=True)
def give(gaps, free, start, size):
    """Add a stretch to the free ones, joined to its neighbours; how many there are then."""
    g = 0
    while gaps[g, 0] < start:
        g += 1
    below = g > 0 and gaps[g - 1, 0] + gaps[g - 1, 1] == start
    above = start + size == gaps[g, 0]
    if below:
        gaps[g - 1, 1] += size + (gaps[g, 1] if above else 0)
        if above:
            free = _close(gaps, free, g)
    elif above:
        gaps[g, 0], gaps[g, 1] = start, size + gaps[g, 1]
    else:
        for k in range(free, g, -1):
            gaps[k, 0], gaps[k, 1] = gaps[k - 1, 0], gaps[k - 1, 1]
        gaps[g, 0], gaps[g, 1] = start, size
        free += 1
    return free
