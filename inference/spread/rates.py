"""Rates of a spread drawn given a whole history of it: Metropolis steps of their logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from inference.near import near
from inference.spread.moves import Moves
from inference.spread.sweeps import njit

TRIES = 3
"""Steps of each rate after a sweep over the nodes: they cost little beside it."""
WANTED = 0.44
"""The share of steps to accept, best for one number at a time."""


class Rates:
    """The rates of one chain: those with a prior move, the others are the spread's.

    Parameters:
        priors: rate -> a distribution of positive numbers.

    Raises:
        ValueError: a prior of an unknown rate, or one that is no distribution.
    """

    def __init__(self, moves: Moves, priors: Mapping[str, Any], steps: int, random: np.random.Generator) -> None:
        for name, prior in priors.items():
            if name not in moves.parameters:
                raise ValueError(f"the spread has no rate {name!r}{near(name, moves.parameters)}")
            if not hasattr(prior, "log_prob"):
                raise ValueError(f"the prior of {name!r} is a distribution, not {prior!r}")
        self.moves, self.priors, self.random = moves, dict(priors), random
        self.values = {name: float(prior.sample()) for name, prior in priors.items()}
        self.scales = dict.fromkeys(priors, 0.5)
        self.table = moves.rates(steps, self.values)
        """[T, J], what sweeps read."""

    def update(self, states: np.ndarray, pressure: np.ndarray, warming: bool) -> None:
        """A few steps of each rate that has a prior; their lengths are learned while the chain warms up."""
        if not self.priors:
            return
        law = self.moves.source, self.moves.target, self.moves.group
        spent, rows, hits, when = counted(states, pressure, *law)

        def log_density(name: str, value: float, table: np.ndarray) -> float:
            prior = self.priors[name].log_prob(torch.tensor(value, dtype=torch.float64)).item()
            return prior + math.log(value) + weighed(spent, rows, hits, when, table)

        for name in self.priors:
            column = self.moves.rate_of == self.moves.parameters.index(name)
            for _ in range(TRIES):
                now = log_density(name, self.values[name], self.table)
                value = self.values[name] * math.exp(self.scales[name] * self.random.standard_normal())
                table = self.table.copy()
                table[:, column] *= value / self.values[name]
                accept = math.log(1 - self.random.random()) < log_density(name, value, table) - now
                if accept:
                    self.values[name], self.table = value, table
                if warming:
                    self.scales[name] *= math.exp(0.2 * (accept - WANTED))


@njit(cache=True, nogil=True)
def counted(states, pressure, source, target, group):
    """What a history says of rates: `spent` [T, J], the exposure of those who stayed; of each move its exposures [J]
    to all transitions that there were, which of them it may have been, and the step."""
    steps, size = states.shape[1] - 1, len(source)
    moved = 0
    for node in range(len(states)):
        for t in range(steps):
            moved += states[node, t] != states[node, t + 1]
    spent, rows = np.zeros((steps, size)), np.zeros((moved, size))
    hits, when = np.zeros((moved, size)), np.zeros(moved, np.int64)
    place = 0
    for node in range(len(states)):
        for t in range(steps):
            before, after = states[node, t], states[node, t + 1]
            for j in range(size):
                if source[j] == before:
                    exposure = pressure[node, t, group[j]] if group[j] >= 0 else 1.0
                    if before == after:
                        spent[t, j] += exposure
                    else:
                        rows[place, j] = exposure
                        hits[place, j] = exposure if target[j] == after else 0.0
            if before != after:
                when[place] = t
                place += 1
    return spent, rows, hits, when


@njit(cache=True, nogil=True)
def weighed(spent, rows, hits, when, rates):
    """log p(a history | rates [T, J]) up to what rates do not change, by what was counted of it."""
    found = -(spent * rates).sum()
    for place in range(len(rows)):
        total = (rows[place] * rates[when[place]]).sum()
        mine = (hits[place] * rates[when[place]]).sum()
        if mine <= 0:
            return -math.inf
        found += math.log(-math.expm1(-total)) + math.log(mine / total)
    return found
