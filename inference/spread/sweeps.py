"""Sweeps over the histories of a spread on a graph: machine code where numba is installed, plain Python elsewhere.

Of one chain: `states` [n, T + 1], the compartment of each node at each step; `pressure` and `contacts` [n, T, G], the
weights and the number of a node's in-edges from compartments of each group of those that pass something on. Rates
[T, J] are those of the J transitions, times the length of a step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

try:
    from numba import njit
except ImportError:  # the extra `compiled` is not installed: the same, a hundred times as slow

    def njit(**_: Any) -> Any:
        return lambda function: function


NEVER = -math.inf


@njit(cache=True, nogil=True)
def weigh_contacts(states, indptr, indices, weights, met, pressure, contacts):
    """Fill `pressure` and `contacts` for these states; `met` [G, K] says which compartments make up each group."""
    pressure[:] = 0.0
    contacts[:] = 0
    for node in range(len(states)):
        for t in range(states.shape[1] - 1):
            for group in range(len(met)):
                if met[group, states[node, t]] > 0:
                    for arc in range(indptr[node], indptr[node + 1]):
                        pressure[indices[arc], t, group] += weights[arc]
                        contacts[indices[arc], t, group] += 1


@njit(cache=True, nogil=True)
def log_chances(at, x, rates, source, target, group, out):
    """Fill `out` [K] with the log chance of each compartment after one step from the compartment `at` under x [G]."""
    total = 0.0
    out[:] = 0.0
    for j in range(len(source)):
        if source[j] == at:
            hazard = rates[j] * (x[group[j]] if group[j] >= 0 else 1.0)
            out[target[j]] += hazard
            total += hazard
    share = math.log(-math.expm1(-total) / total) if total > 0 else 0.0
    for k in range(len(out)):
        out[k] = math.log(out[k]) + share if out[k] > 0 else NEVER
    out[at] = -total


@njit(cache=True, nogil=True)
def log_joint(states, pressure, rates, source, target, group, log_start):
    """log p(this history), nats."""
    out = np.empty(log_start.shape[1])
    total = 0.0
    for node in range(len(states)):
        total += log_start[node, states[node, 0]]
        for t in range(states.shape[1] - 1):
            log_chances(states[node, t], pressure[node, t], rates[t], source, target, group, out)
            total += out[states[node, t + 1]]
    return total


@njit(cache=True, nogil=True)
def _told_by_children(node, states, pressure, contacts, arcs, rates, source, target, group, met, spared, told):
    """Fill `told` [T, K]: what the moves of a node's out-neighbours say of its compartment at each step, in nats."""
    indptr, indices, weights = arcs
    groups, size = met.shape
    x, out = np.empty(groups), np.empty(size)
    told[:] = 0.0
    for arc in range(indptr[node], indptr[node + 1]):
        child, weight = indices[arc], weights[arc]
        for t in range(len(told)):
            before, after = states[child, t], states[child, t + 1]
            if before == after:
                for k in range(size):
                    told[t, k] -= weight * spared[t, before, k]
                continue
            for k in range(size):
                for g in range(groups):
                    mine = met[g, states[node, t]]
                    others = contacts[child, t, g] - mine
                    x[g] = (pressure[child, t, g] - weight * mine if others > 0 else 0.0) + weight * met[g, k]
                log_chances(before, x, rates[t], source, target, group, out)
                told[t, k] += out[after]


@njit(cache=True, nogil=True)
def _added(a, b):
    """log(exp(a) + exp(b))."""
    top = max(a, b)
    return top if top == NEVER else top + math.log(math.exp(a - top) + math.exp(b - top))


@njit(cache=True, nogil=True)
def _drawn(logits, random):
    """A place, with the chance that its logit says; -1 where none has any."""
    total = NEVER
    for value in logits:
        total = _added(total, value)
    if total == NEVER:
        return -1
    left = random.random()
    last = -1
    for k in range(len(logits)):
        if logits[k] > NEVER:
            last = k
            left -= math.exp(logits[k] - total)
            if left < 0:
                break
    return last


@njit(cache=True, nogil=True)
def _path(pressure, told, rates, source, target, group, log_start, allowed, random, path):
    """Draw a node's whole path [T + 1] given its neighbours', forward filtering and backward sampling."""
    steps, size = told.shape
    ahead = np.full((steps + 1, size), NEVER)
    moves = np.empty((steps, size, size))
    for k in range(size):
        if allowed[0, k]:
            ahead[0, k] = log_start[k]
    for t in range(steps):
        for k in range(size):
            log_chances(k, pressure[t], rates[t], source, target, group, moves[t, k])
            mine = ahead[t, k] + told[t, k]
            if mine > NEVER:
                for after in range(size):
                    if allowed[t + 1, after] and moves[t, k, after] > NEVER:
                        ahead[t + 1, after] = _added(ahead[t + 1, after], mine + moves[t, k, after])
    state = _drawn(ahead[steps], random)
    if state < 0:  # which only rounding can bring about: the path stays
        return
    path[steps] = state
    for t in range(steps - 1, -1, -1):
        path[t] = _drawn(ahead[t] + told[t] + moves[t, :, path[t + 1]], random)


@njit(cache=True, nogil=True)
def put(node, path, states, pressure, contacts, arcs, met):
    """Give a node another path, and its out-neighbours the pressure that comes of it."""
    indptr, indices, weights = arcs
    for t in range(len(path) - 1):
        old, new = states[node, t], path[t]
        for g in range(len(met)):
            change = met[g, new] - met[g, old]
            if change != 0:
                for arc in range(indptr[node], indptr[node + 1]):
                    child = indices[arc]
                    contacts[child, t, g] += int(change)
                    there = contacts[child, t, g] > 0
                    pressure[child, t, g] = pressure[child, t, g] + change * weights[arc] if there else 0.0
    states[node] = path


@njit(cache=True, nogil=True)
def sweep(states, pressure, contacts, arcs, rates, law, log_start, allowed, order, random):
    """Draw the path of each node of `order` from its exact conditional given all the others'."""
    source, target, group, met = law
    steps, size = states.shape[1] - 1, met.shape[1]
    spared = np.zeros((steps, size, size))
    for t in range(steps):
        for j in range(len(source)):
            if group[j] >= 0:
                spared[t, source[j]] += rates[t, j] * met[group[j]]
    told, path = np.empty((steps, size)), np.empty(steps + 1, states.dtype)
    for node in order:
        _told_by_children(node, states, pressure, contacts, arcs, rates, source, target, group, met, spared, told)
        path[:] = states[node]
        _path(pressure[node], told, rates, source, target, group, log_start[node], allowed[node], random, path)
        put(node, path, states, pressure, contacts, arcs, met)
