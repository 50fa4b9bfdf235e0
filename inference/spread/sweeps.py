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
def _hazards(rates, source, target, group, met):
    """What nodes do by themselves, `own` [T, K, K], and for each unit of pressure, `met_by` [T, K, K, G]; and what a
    node's compartment adds per weight to what leaves its out-neighbour's, `heard` [T, K, K]."""
    groups, size = met.shape
    own, met_by = np.zeros((len(rates), size, size)), np.zeros((len(rates), size, size, groups))
    heard = np.zeros((len(rates), size, size))
    for t in range(len(rates)):
        for j in range(len(source)):
            if group[j] < 0:
                own[t, source[j], target[j]] += rates[t, j]
            else:
                met_by[t, source[j], target[j], group[j]] += rates[t, j]
                heard[t, source[j]] += rates[t, j] * met[group[j]]
    return own, met_by, heard


@njit(cache=True, nogil=True, inline="always")
def _told_by_children(node, states, pressure, contacts, arcs, met, hazards, x, stayed, told):
    """Fill `told` [T, K]: what the moves of a node's out-neighbours say of its compartment at each step, in nats, up to
    what is the same for all compartments."""
    indptr, indices, weights = arcs
    own, met_by, heard = hazards
    groups, size = met.shape
    told[:] = 0.0
    stayed[:] = 0.0
    for arc in range(indptr[node], indptr[node + 1]):
        child, weight = indices[arc], weights[arc]
        for t in range(len(told)):
            before, after = states[child, t], states[child, t + 1]
            if before == after:
                stayed[t, before] += weight
                continue
            for g in range(groups):
                mine = met[g, states[node, t]]
                x[g] = pressure[child, t, g] - weight * mine if contacts[child, t, g] > mine else 0.0
            for k in range(size):
                total, wanted = 0.0, 0.0
                for to in range(size):
                    hazard = own[t, before, to]
                    for g in range(groups):
                        hazard += met_by[t, before, to, g] * (x[g] + weight * met[g, k])
                    total += hazard
                    wanted = hazard if to == after else wanted
                told[t, k] += math.log(wanted / total * -math.expm1(-total)) if wanted > 0 else NEVER
    for t in range(len(told)):
        for k in range(size):
            for before in range(size):
                told[t, k] -= stayed[t, before] * heard[t, before, k]


@njit(cache=True, nogil=True, inline="always")
def _added(a, b):
    """log(exp(a) + exp(b))."""
    if a == NEVER or b == NEVER:
        return max(a, b)
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


@njit(cache=True, nogil=True, inline="always")
def _drawn(logits, luck):
    """A place, with the chance that its logit says, by a number uniform in [0, 1); -1 where none has any."""
    last, count, top = -1, 0, NEVER
    for k in range(len(logits)):
        if logits[k] > NEVER:
            last, count, top = k, count + 1, max(top, logits[k])
    if count < 2:
        return last
    total = 0.0
    for k in range(len(logits)):
        total += math.exp(logits[k] - top)
    left = total * luck
    for k in range(last):
        left -= math.exp(logits[k] - top)
        if left < 0:
            return k
    return last


@njit(cache=True, nogil=True, inline="always")
def _forward(node, pressure, hazards, told, log_start, allowed, ahead, moves):
    """Fill `ahead` [T + 1, K], the log chances of what was seen and told of a node up to each step and of its
    compartment then, and `moves` [T, K, K], those of each step from there."""
    own, met_by, _ = hazards
    steps, size = told.shape
    for k in range(size):
        ahead[0, k] = log_start[node, k] if allowed[node, 0, k] else NEVER
    for t in range(steps):
        ahead[t + 1] = NEVER
        for k in range(size):
            ahead[t, k] += told[t, k]
            if ahead[t, k] == NEVER:
                continue
            total = 0.0
            for after in range(size):
                hazard = own[t, k, after]
                for g in range(met_by.shape[3]):
                    hazard += met_by[t, k, after, g] * pressure[node, t, g]
                moves[t, k, after] = hazard
                total += hazard
            share = -math.expm1(-total) / total if total > 0 else 0.0
            for after in range(size):
                chance = moves[t, k, after] * share
                moves[t, k, after] = -total if after == k else math.log(chance) if chance > 0 else NEVER
                if allowed[node, t + 1, after]:
                    ahead[t + 1, after] = _added(ahead[t + 1, after], ahead[t, k] + moves[t, k, after])


@njit(cache=True, nogil=True, inline="always")
def _backward(ahead, moves, luck, logits, path):
    """Draw a path [T + 1], from its end, by numbers uniform in [0, 1), one a step."""
    state = _drawn(ahead[-1], luck[-1])
    if state < 0:  # which only rounding can bring about: the path stays
        return
    path[-1] = state
    for t in range(len(moves) - 1, -1, -1):
        for k in range(len(logits)):
            logits[k] = ahead[t, k] + moves[t, k, path[t + 1]] if ahead[t, k] > NEVER else NEVER
        path[t] = _drawn(logits, luck[t])


@njit(cache=True, nogil=True, inline="always")
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
def sweep(states, pressure, contacts, arcs, rates, law, log_start, allowed, order, luck):
    """Draw the path of each node of `order` from its exact conditional given all the others', by forward filtering and
    backward sampling, and by numbers uniform in [0, 1), `luck` [len(order), T + 1]."""
    source, target, group, met = law
    steps, size = states.shape[1] - 1, met.shape[1]
    hazards = _hazards(rates, source, target, group, met)
    x, stayed = np.empty(len(met)), np.empty((steps, size))
    told, path, logits = np.empty((steps, size)), np.empty(steps + 1, states.dtype), np.empty(size)
    ahead, moves = np.empty((steps + 1, size)), np.empty((steps, size, size))
    for place in range(len(order)):
        node = order[place]
        _told_by_children(node, states, pressure, contacts, arcs, met, hazards, x, stayed, told)
        _forward(node, pressure, hazards, told, log_start, allowed, ahead, moves)
        path[:] = states[node]
        _backward(ahead, moves, luck[place], logits, path)
        put(node, path, states, pressure, contacts, arcs, met)
