"""Rates of a spread drawn given a whole history of it: Metropolis steps of their logarithms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
        if negative := [name for name, value in self.values.items() if not value > 0]:
            raise ValueError(
                f"a rate is positive, but its prior drew {self.values[negative[0]]:.3g} for {negative[0]!r}: give one "
                "of positive numbers"
            )
        self.scales = dict.fromkeys(priors, 0.5)
        self.table = moves.rates(steps, self.values)
        """[T, J], what sweeps read."""

    def log_prior(self, name: str, values: np.ndarray) -> np.ndarray:
        """The log density of the logarithm of a rate at some values, -inf outside the prior's support."""
        prior, numbers = self.priors[name], torch.from_numpy(values)
        inside = prior.support.check(numbers)
        found = torch.full_like(numbers, -math.inf)
        found[inside] = prior.log_prob(numbers[inside]).to(found)
        return found.numpy() + np.log(values)

    def step(self, name: str, factors: np.ndarray, prior: np.ndarray, known: Any, warming: bool) -> None:
        """A few Metropolis steps of a rate, to a product of `factors`, whose log priors are known."""
        column = self.moves.rate_of == self.moves.parameters.index(name)
        luck = np.log(1 - self.random.random(TRIES))
        place, accepted = _steps(*known, self.table, column, factors, prior, luck)
        self.values[name] *= float(factors[place])
        if warming:
            self.scales[name] *= math.exp(0.2 * (accepted - TRIES * WANTED))


def update(each: Sequence[Rates], histories: Iterable[tuple[np.ndarray, np.ndarray]], warming: bool) -> None:
    """A few steps of each rate that has a prior, of several chains at once; their lengths are learned while they warm
    up. A history is its states and its pressure.

    All that the steps of all chains can come to is asked of a prior at once, as a question costs more than a sweep.
    """
    if not each[0].priors:
        return
    law = each[0].moves.law[:3]
    known = [counted(states, pressure, *law) for states, pressure in histories]
    for name in each[0].priors:
        factors = np.stack([_products(np.exp(r.scales[name] * r.random.standard_normal(TRIES))) for r in each])
        now = np.array([[rates.values[name]] for rates in each])
        prior = each[0].log_prior(name, now * factors)
        for place, rates in enumerate(each):
            rates.step(name, factors[place], prior[place], known[place], warming)


def _products(factors: np.ndarray) -> np.ndarray:
    """Of every set of factors, each in the place whose binary digits say which are in it."""
    found = np.ones(1)
    for factor in factors:
        found = np.concatenate([found, found * factor])
    return found


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


@njit(cache=True, nogil=True)
def _steps(spent, rows, hits, when, table, column, factors, prior, luck):
    """Metropolis steps of the columns of `table`, which become those of the last one: its place among the factors, and
    how many were accepted."""
    first = table.copy()
    here, accepted, told = 0, 0, weighed(spent, rows, hits, when, table)
    for number in range(len(luck)):
        there = here + 2**number
        other = np.where(column, first * factors[there], first)
        new = weighed(spent, rows, hits, when, other)
        if luck[number] < prior[there] + new - prior[here] - told:
            here, accepted, told = there, accepted + 1, new
            table[:] = other
    return here, accepted
