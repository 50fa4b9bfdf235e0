"""The deterministic course of a spread: the rate equations, solved by Runge and Kutta's fourth-order method.

Everything is linear but one product: events happen at rate * (heads that may) * (share of those they meet), and heads
are the start plus the events. So the state is what those products need, kept up to date by one matrix product a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course

_ORDERS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


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
    clock = model.clock(times)
    if not step > 0:
        raise ValueError(f"a step is a time above 0, not {step}")
    steps = [ceil((after - before) / step - 1e-9) for before, after in zip(clock, clock[1:], strict=False)]
    pace = _paces(model, rates, clock[0])
    start = model.checked(start).to(device=pace(clock[0]).device)
    batch = torch.broadcast_shapes(start.shape[:-1], pace(clock[0]).shape[:-1])
    flat = start.expand(*batch, model.size).reshape(-1, model.size)
    field = _Closed(model, flat) if model.closed else _Open(model, flat)
    seen = _runge_kutta(field, lambda time: _flat(pace(time), batch), clock, steps)
    heads, happened = field.told(torch.stack(seen, -2))
    return Course(
        model,
        torch.tensor(clock, dtype=torch.float64),
        heads.unflatten(0, batch) if batch else heads[0],
        happened.unflatten(0, batch) if batch else happened[0],
    )


def _flat(pace: Tensor, batch: Sequence[int]) -> Tensor:
    return pace.expand(*batch, pace.shape[-1]).reshape(-1, pace.shape[-1])


def _paces(model: Compartments, rates: Mapping[str, Rate], first: float) -> Callable[[float], Tensor]:
    """The rate of every event at a time; found once where none of them changes."""
    constant = model.paces(model.rates(rates, first))
    if any(callable(rate) for rate in rates.values()):
        return lambda time: model.paces(model.rates(rates, time))
    return lambda time: constant


class _Closed:
    """No event moves heads between groups: in shares of each group, whose size stays."""

    def __init__(self, model: Compartments, start: Tensor) -> None:
        taken, met, change, alone = (
            table.to(start.device) for table in (model.taken, model.met, model.change, model.alone)
        )
        sizes = model.sizes(start)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        self.of_heads, self.of_events = sizes[:, model.group_of_heads], sizes[:, model.group_of_events]
        self.widths = [len(change), len(change), model.size, len(change)]
        shares = start / self.of_heads
        self.first = torch.cat([shares @ taken.T, shares @ met.T + alone, shares, torch.zeros_like(self.of_events)], -1)
        self.change = torch.cat([change @ taken.T, change @ met.T, change, torch.eye(len(change)).to(change)], -1)

    def flow(self, state: Tensor, pace: Tensor) -> Tensor:
        takers, pressure, _, _ = state.split(self.widths, -1)
        return pace * takers * pressure

    def told(self, states: Tensor) -> tuple[Tensor, Tensor]:
        _, _, heads, happened = states.split(self.widths, -1)
        return heads * self.of_heads[:, None], happened * self.of_events[:, None]


class _Open:
    """Groups grow, shrink or mix: their sizes are found anew in every stage."""

    def __init__(self, model: Compartments, start: Tensor) -> None:
        self.model = model
        change = model.change.to(start.device)
        self.widths = [model.size, len(change)]
        self.first = torch.cat([start, start.new_zeros(len(start), len(change))], -1)
        self.change = torch.cat([change, torch.eye(len(change)).to(change)], -1)

    def flow(self, state: Tensor, pace: Tensor) -> Tensor:
        return self.model.flow(state.split(self.widths, -1)[0], pace)

    def told(self, states: Tensor) -> tuple[Tensor, Tensor]:
        heads, happened = states.split(self.widths, -1)
        return heads, happened


def _runge_kutta(
    field: _Closed | _Open, pace: Callable[[float], Tensor], clock: Sequence[float], steps: Sequence[int]
) -> list[Tensor]:
    """The states at each time of the clock."""
    state, change = field.first, field.change
    together = torch.cat([weight * change for weight in _ORDERS])
    seen = [state]
    for begin, end, number in zip(clock, clock[1:], steps, strict=False):
        width = (end - begin) / number
        for n in range(number):
            early, middle, late = (pace(begin + (n + part) * width) for part in (0, 0.5, 1))
            one = field.flow(state, early)
            two = field.flow(torch.addmm(state, one, change, alpha=width / 2), middle)
            three = field.flow(torch.addmm(state, two, change, alpha=width / 2), middle)
            four = field.flow(torch.addmm(state, three, change, alpha=width), late)
            state = torch.addmm(state, torch.cat([one, two, three, four], -1), together, alpha=width)
        seen.append(state)
    return seen
