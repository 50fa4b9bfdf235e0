"""The deterministic course of a spread: the rate equations, solved by Runge and Kutta's fourth-order method.

Everything is linear but one product: events happen at rate * (heads that may) * (share of those they meet), and heads
are the start plus the events. So the state is what those products need, kept up to date by one matrix product a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from zoo.spread.checks import one_batch
from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course


def ode(
    model: Compartments,
    rates: Mapping[str, Rate],
    start: Tensor,
    times: Tensor | Sequence[float],
    *,
    step: float = 0.2,
) -> Course:
    """Solve d heads / dt = hazards(heads, rates) @ change, from `start` at the first of `times`.

    Differentiable in rates and start, and works within `torch.func.vmap` and `grad`. The error falls as step^4.

    Parameters:
        model: compartments and transitions.
        rates: by name, a unit of time each: a number, a tensor [*batch], or a function of time that gives either.
        start: heads [K] or [*batch, K].
        times: [T], increasing; the course is told at each.
        step: the longest step, in the unit of the times; each interval is divided evenly.

    Returns:
        heads [*batch, T, K] and events since the first time [*batch, T, E].

    Raises:
        ValueError: a rate that is missing, unknown, negative or not finite; a start that is none; times that do not
            increase; a step that is not above 0.

    References:
        A contribution to the mathematical theory of epidemics (Kermack and McKendrick, 1927),
        https://doi.org/10.1098/rspa.1927.0118
    """
    moments = model.clock(times)
    if not step > 0:
        raise ValueError(f"a step must be a time above 0, not {step}")
    start, pace = model.checked(start), _paces(model, rates, moments[0])
    first = pace(moments[0])
    batch = one_batch({"rates": first.shape[:-1], "a start": start.shape[:-1]})
    start = start.to(first.device).expand(*batch, model.size)
    field = (_Closed if model.closed else _Open)(model.to(start.device), start)
    seen = _runge_kutta(field, pace, moments, step)
    heads, happened = field.told(torch.stack(seen, -2))
    return Course(model, torch.tensor(moments, dtype=torch.float64), heads, happened)


def _paces(model: Compartments, rates: Mapping[str, Rate], first: float) -> Callable[[float], Tensor]:
    """The rate of every event at a time; found once where none of them changes."""

    def pace(time: float) -> Tensor:
        found = model.rates(rates, time)
        return model.to(found.device).paces(found)

    if any(callable(rate) for rate in rates.values()):
        return pace
    constant = pace(first)
    return lambda time: constant


class _Closed:
    """No event moves heads between groups: in shares of each group, whose size stays."""

    def __init__(self, model: Compartments, start: Tensor) -> None:
        taken, met, change = model.taken.T, model.met.T, model.change
        sizes = model.sizes(start)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        self.of_heads, self.of_events = sizes[..., model.group_of_heads], sizes[..., model.group_of_events]
        self.widths = [len(change), len(change), model.size, len(change)]
        shares = start / self.of_heads
        parts = shares @ taken, shares @ met + model.alone, shares, torch.zeros_like(self.of_events)
        self.first = torch.cat(parts, -1)
        self.change = torch.cat([change @ taken, change @ met, change, torch.eye(len(change)).to(change)], -1)

    def flow(self, state: Tensor, pace: Tensor) -> Tensor:
        takers, pressure, _, _ = state.split(self.widths, -1)
        return pace * takers * pressure

    def told(self, states: Tensor) -> tuple[Tensor, Tensor]:
        _, _, heads, happened = states.split(self.widths, -1)
        return heads * self.of_heads[..., None, :], happened * self.of_events[..., None, :]


class _Open:
    """Groups grow, shrink or mix: their sizes are found anew in every stage."""

    def __init__(self, model: Compartments, start: Tensor) -> None:
        self.model, change = model, model.change
        self.widths = [model.size, len(change)]
        self.first = torch.cat([start, start.new_zeros(*start.shape[:-1], len(change))], -1)
        self.change = torch.cat([change, torch.eye(len(change)).to(change)], -1)

    def flow(self, state: Tensor, pace: Tensor) -> Tensor:
        return self.model.flow(state.split(self.widths, -1)[0], pace)

    def told(self, states: Tensor) -> tuple[Tensor, Tensor]:
        heads, happened = states.split(self.widths, -1)
        return heads, happened


def _runge_kutta(
    field: _Closed | _Open, pace: Callable[[float], Tensor], moments: Sequence[float], step: float
) -> list[Tensor]:
    """The states at each of the moments."""
    state = field.first
    seen = [state]
    for begin, end in pairwise(moments):
        number = ceil((end - begin) / step - 1e-9)
        width = (end - begin) / number
        whole, half, sixth = (field.change * (width / part) for part in (1, 2, 6))
        for n in range(number):
            early, middle, late = (pace(begin + (n + part) * width) for part in (0, 0.5, 1))
            one = field.flow(state, early)
            two = field.flow(state + one @ half, middle)
            three = field.flow(state + two @ half, middle)
            four = field.flow(state + three @ whole, late)
            state = state + (one + four).add(two + three, alpha=2) @ sixth
        seen.append(state)
    return seen
