"""A spread as a chain of whole heads: in steps of time (binomial), in leaps, and event by event (Gillespie).

Each runs all replicates of all rates of a batch together, on the device of the rates, and gives a `Course` whose heads
are [replicates?, *batch, T, K], begun at the first of `times`. A rate is a number, a tensor [*batch], or a function of
time that gives either. Numbers never become negative, and are drawn from the seed alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course
from zoo.spread.given import Given, Times
from zoo.spread.leaps import Leaps, RatesAt


def binomial_chain(
    model: Compartments,
    rates: Mapping[str, Rate],
    start: Tensor,
    times: Times,
    *,
    step: float = 1.0,
    replicates: int | None = None,
    seed: int = 0,
) -> Course:
    """The chain in discrete time: in a step each head leaves by the chance 1 - exp(-h step), h its hazards' sum.

    All changes of a step depend on the heads before it, and those who leave share their exits by the hazards. Between
    two times there is a whole number of equal steps, none longer than `step`.

    Raises:
        ValueError: a step that is not positive, and all that `Given.of` names.
    """
    given = Given.of(model, rates, start, times, replicates, seed)
    leaps = Leaps(given.model)
    return _leaping(given, leaps, leaps.competing, step)


def tau_leaping(
    model: Compartments,
    rates: Mapping[str, Rate],
    start: Tensor,
    times: Times,
    *,
    step: float = 0.1,
    replicates: int | None = None,
    seed: int = 0,
) -> Course:
    """The chain in continuous time, approximately: leaps of `step` by the events to expect half a step on.

    The number of events is binomial, so that no more heads leave than there are (Tian and Burrage, 2004,
    https://doi.org/10.1063/1.1810475), by the hazards to expect at the midpoint (Gillespie, 2001,
    https://doi.org/10.1063/1.1378322): the mean's error falls as step^2.

    Raises:
        ValueError: a step that is not positive, and all that `Given.of` names.
    """
    given = Given.of(model, rates, start, times, replicates, seed)
    leaps = Leaps(given.model)
    return _leaping(given, leaps, leaps.midpoint, step)


@torch.no_grad()
def _leaping(
    given: Given, leaps: Leaps, chances: Callable[[Tensor, float, float, RatesAt], Tensor], step: float
) -> Course:
    if not step > 0:
        raise ValueError(f"the step is a time above 0, not {step}")
    constant = given.rates_at(given.times[0])
    rates: RatesAt = given.rates_at if given.changing else (lambda _: constant)
    change = given.model.change
    happened = [given.heads.new_zeros(len(given.heads), len(change))]
    for span in itertools.pairwise(given.times):
        heads = given.heads + happened[-1] @ change
        happened.append(happened[-1] + leaps.over(heads, span, step, rates, chances, given.generator))
    return given.course(torch.stack(happened, -2))


@torch.no_grad()
def gillespie(
    model: Compartments,
    rates: Mapping[str, Rate],
    start: Tensor,
    times: Times,
    *,
    replicates: int | None = None,
    seed: int = 0,
) -> Course:
    """The chain in continuous time, exactly: event by event, the first of the waits for each event that can come.

    All chains take their next event together; those past the last time, or where nothing can happen, drop out. The
    work is that of the longest chain: some 1,500 rounds for SIR among 763.

    References:
        A General Method for Numerically Simulating the Stochastic Time Evolution of Coupled Chemical Reactions
        (Gillespie, 1976), the first reaction method, https://doi.org/10.1016/0021-9991(76)90041-3

    Raises:
        ValueError: a rate that is a function of time, and all that `Given.of` names.
    """
    given = Given.of(model, rates, start, times, replicates, seed)
    if given.changing:
        raise ValueError(
            f"gillespie needs rates that stay as they are, and {given.changing[0]!r} is a function of time: use "
            "tau_leaping, which takes it, with a short step"
        )
    return given.course(_events(given))


def _events(given: Given) -> Tensor:
    """What happened until each time, [R, T, E]."""
    model, heads = given.model, given.heads.clone()
    moments = torch.tensor(given.times, dtype=heads.dtype, device=heads.device)
    rates = given.rates_at(given.times[0])
    recorded = heads.new_zeros(len(heads), len(moments), len(model.change))
    rows = torch.arange(len(heads), device=heads.device)
    clock, passed = moments[:1].expand(len(heads)).clone(), torch.ones_like(rows)
    happened, ordinal = heads.new_zeros(len(heads), len(model.change)), torch.arange(len(moments), device=heads.device)
    following = torch.cat([moments, moments.new_full((1,), torch.inf)])
    while len(rows):
        waits = torch.empty_like(happened).exponential_(generator=given.generator)
        wait, event = (waits / model.propensities(heads, rates)).min(-1)
        clock = clock + wait
        crossed = (clock > following[passed]).nonzero()[:, 0]
        if len(crossed):
            later = (ordinal >= passed[crossed, None])[..., None]
            where = rows[crossed]
            recorded[where] = torch.where(later, happened[crossed, None], recorded[where])
            passed[crossed] = torch.searchsorted(moments, clock[crossed])
        heads += model.change[event]
        happened.scatter_add_(-1, event[:, None], torch.ones_like(wait)[:, None])
        live = (passed < len(moments)).nonzero()[:, 0]
        if len(live) < len(rows):
            rows, heads, rates, clock = rows[live], heads[live], rates[live], clock[live]
            passed, happened = passed[live], happened[live]
    return recorded
