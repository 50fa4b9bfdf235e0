"""The chance of a history of a spread on a graph; arrays are those of `inference.spread.sweeps`."""

from __future__ import annotations

import math

from inference.spread.sweeps import NEVER, njit


@njit(cache=True, nogil=True)
def log_chance(at, after, x, rates, source, target, group):
    """The log of the chance to be in the compartment `after` one step after being in `at`, under x [G]."""
    total = mine = 0.0
    for j in range(len(source)):
        if source[j] == at:
            hazard = rates[j] * (x[group[j]] if group[j] >= 0 else 1.0)
            total += hazard
            if target[j] == after:
                mine += hazard
    if at == after:
        return -total
    return math.log(mine / total * -math.expm1(-total)) if mine > 0 else NEVER


@njit(cache=True, nogil=True)
def log_joint(states, pressure, rates, source, target, group, log_start):
    """log p(this history), nats."""
    total = 0.0
    for node in range(len(states)):
        total += log_start[node, states[node, 0]]
        for t in range(states.shape[1] - 1):
            at, after = states[node, t], states[node, t + 1]
            total += log_chance(at, after, pressure[node, t], rates[t], source, target, group)
    return total


@njit(cache=True, nogil=True)
def gained(states, pressure, rates, other, source, target, group):
    """log p(this history), nats, under the rates `other` less under `rates`, which differ in the last one alone."""
    total = 0.0
    for node in range(len(states)):
        for t in range(states.shape[1] - 1):
            at, after = states[node, t], states[node, t + 1]
            if at != source[-1]:
                continue
            if at == after:
                total -= other[t, -1] - rates[t, -1]
            else:
                total += log_chance(at, after, pressure[node, t], other[t], source, target, group)
                total -= log_chance(at, after, pressure[node, t], rates[t], source, target, group)
    return total
