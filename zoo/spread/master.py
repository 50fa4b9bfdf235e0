"""The exact law of a spread among few heads: the probability of every state, by the master equation.

law = master_equation(sir, {"beta": 2.0, "gamma": 1.0}, sir.state(S=19, I=1), [0, 5, 10])
law.marginal("R")[-1]                   # [21], how many have recovered by 10
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Rate
from zoo.spread.given import Given, Times

STATES = 50_000
"""How many states are followed at most."""


@dataclass(frozen=True)
class Law:
    """The probabilities of the states of a spread.

    Attributes:
        compartments: what was run.
        times: [T].
        states: [M, K], heads in each state that can be reached.
        probabilities: [*batch, T, M].
        beyond: [*batch, T], the probability that there have been more heads than were followed; the probabilities of
            the states are too low by this in all.
    """

    compartments: Compartments
    times: Tensor
    states: Tensor
    probabilities: Tensor
    beyond: Tensor

    def mean(self) -> Tensor:
        """Heads to expect, [*batch, T, K]."""
        return self.probabilities @ self.states

    def marginal(self, name: str, group: int = 0) -> Tensor:
        """The probability of 0, 1, ... heads in a compartment, [*batch, T, most + 1]."""
        heads = self.states[:, self.compartments.index(name, group)].long()
        empty = self.probabilities.new_zeros(*self.probabilities.shape[:-1], int(heads.max()) + 1)
        return empty.index_add(-1, heads, self.probabilities)


@torch.no_grad()
def master_equation(
    model: Compartments, rates: Mapping[str, Rate], start: Tensor, times: Times, *, at_most: int | None = None
) -> Law:
    """Solve dp/dt = p Q over all states that can be reached from `start`, to 1e-12.

    The exponential exp(Q t) acts by uniformisation: with all states left at one pace, a Poisson number of steps of a
    chain in discrete time (Jensen, 1953). Nothing negative is ever added, so that nothing cancels.

    Parameters:
        model: compartments and transitions.
        rates: by name, numbers or tensors [*batch].
        start: whole heads [K] or [*batch, K], where it is at the first of `times`.
        times: [T], increasing.
        at_most: how many heads in all are followed, where births have no end (the finite state projection of Munsky
            and Khammash, 2006, https://doi.org/10.1063/1.2145882); what is lost is told as `beyond`.

    Raises:
        ValueError: too many states; births without `at_most`, or more heads than it; a rate that is a function of time;
            what `Given.of` names.
    """
    given = Given.of(model, rates, start, times, None, 0)
    if given.changing:
        raise ValueError(
            f"the master equation needs rates that stay, and {given.changing[0]!r} is a function of time: solve it "
            "piece by piece, or run `tau_leaping` with replicates"
        )
    pace, model = given.rates_at(given.times[0]), given.model
    if at_most is None and (model.change.sum(-1) > 0).any():
        raise ValueError("births have no end, and so have the states: say by at_most= how many heads to follow")
    if at_most is not None and (given.heads.sum(-1) > at_most).any():
        raise ValueError(f"at_most is {at_most}, and the start has {float(given.heads.sum(-1).max()):g} heads")
    places, states = _reachable(model, pace, given.heads, math.inf if at_most is None else at_most)
    begun = [places[tuple(row)] for row in given.heads.long().tolist()]
    first = torch.nn.functional.one_hot(torch.tensor(begun, device=pace.device), len(states) + 1).to(pace)
    steps = _Steps(model, pace, states, places)
    found = [first]
    for before, after in zip(given.times, given.times[1:], strict=False):
        found.append(steps.after(found[-1], after - before))
    told = torch.stack(found, -2).reshape(*given.shape, len(found), -1)
    clock = torch.tensor(given.times, dtype=torch.float64)
    return Law(given.compartments, clock, states, told[..., :-1], told[..., -1])


def _reachable(
    model: Compartments, rates: Tensor, start: Tensor, at_most: float
) -> tuple[dict[tuple[int, ...], int], Tensor]:
    """Places of the states, and the states [M, K], each found from those before it."""
    possible = rates.amax(0)
    places: dict[tuple[int, ...], int] = {}
    frontier = start.unique(dim=0)
    while len(frontier):
        new = [row for row in map(tuple, frontier.long().tolist()) if row not in places]
        places.update(zip(new, range(len(places), len(places) + len(new)), strict=True))
        if len(places) > STATES:
            raise ValueError(
                f"more than {STATES} states can be reached from {start.sum(-1).max():g} heads: the master equation is "
                "for fewer, and `gillespie` with replicates for these"
            )
        here = start.new_tensor(new).reshape(-1, model.size)
        following = here[:, None] + model.change
        can = (model.propensities(here, possible) > 0) & (following.sum(-1) <= at_most)
        frontier = following[can].unique(dim=0)
    return places, start.new_tensor(list(places))


class _Steps:
    """The chain in discrete time whose steps come at one pace, over the states and, last, all that is not followed."""

    def __init__(
        self, model: Compartments, rates: Tensor, states: Tensor, places: Mapping[tuple[int, ...], int]
    ) -> None:
        self.flow = model.propensities(states[None], rates[:, None])  # [rows, M, E]
        following = (states[:, None] + model.change).long().flatten(0, 1).tolist()
        to = [places.get(tuple(row), len(states)) for row in following]
        self.to = torch.tensor(to, device=states.device).reshape(len(states), -1)
        self.pace = float(self.flow.sum(-1).max())
        self.chance = self.flow / max(self.pace, 1e-300)
        self.stay = 1 - self.chance.sum(-1)

    def _step(self, now: Tensor) -> Tensor:
        inside = now[:, :-1]
        after = torch.cat([inside * self.stay, now[:, -1:]], -1)
        for event in range(self.to.shape[-1]):
            after.index_add_(-1, self.to[:, event], inside * self.chance[..., event])
        return after

    def after(self, now: Tensor, time: float) -> Tensor:
        """The probabilities [rows, M + 1] some time later."""
        expected = self.pace * time
        most = math.ceil(expected + 10 * math.sqrt(expected) + 40)
        numbers = torch.arange(most + 1, dtype=torch.float64)
        weights = torch.distributions.Poisson(torch.tensor(expected, dtype=torch.float64)).log_prob(numbers).exp()
        weights = (weights / weights.sum()).tolist()
        found = now * weights[0]
        for weight in weights[1:]:
            now = self._step(now)
            found += weight * now
        return found
