"""The rate equations of compartments by Runge and Kutta's fourth-order method, in torch's own operations.

Everything is linear but one product: events happen at rate * (heads that may) * (share of those they meet), and heads
are the start plus the events. So the state is what those products need, kept up to date by one matrix product a stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments


@dataclass(frozen=True)
class Plan:
    """The steps between each moment and the next: how many, and how long each is."""

    model: Compartments
    counts: tuple[int, ...]
    widths: tuple[float, ...]

    @classmethod
    def of(cls, model: Compartments, moments: Sequence[float], step: float) -> Plan:
        spans = [end - begin for begin, end in pairwise(moments)]
        counts = tuple(ceil(span / step - 1e-9) for span in spans)
        return cls(model, counts, tuple(span / count for span, count in zip(spans, counts, strict=True)))

    def stages(self, begin: float) -> Iterator[float]:
        """When rates are asked for: where each step between two moments begins, its middle, and where the last ends."""
        for count, width in zip(self.counts, self.widths, strict=True):
            yield from (begin + n * width / 2 for n in range(2 * count + 1))
            begin += count * width


def by_torch(start: Tensor, paces: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Heads [..., T, K] and events [..., T, E] from heads [..., K] and rates of events [..., S, E].

    S is 1 where rates stay as they are, else the number of the plan's stages.
    """
    model = plan.model.to(start.device)
    field = (_Closed if model.closed else _Open)(model, start)
    changing, at, state = paces.shape[-2] > 1, 0, field.first
    rates, seen = paces.unbind(-2), [state]
    for count, width in zip(plan.counts, plan.widths, strict=True):
        whole, half, sixth = (field.change * (width / part) for part in (1, 2, 6))
        for _ in range(count):
            early, middle, late = rates[at : at + 3] if changing else rates * 3
            one = field.flow(state, early)
            two = field.flow(state + one @ half, middle)
            three = field.flow(state + two @ half, middle)
            four = field.flow(state + three @ whole, late)
            state = state + (one + four).add(two + three, alpha=2) @ sixth
            at += 2
        at += 1
        seen.append(state)
    return field.told(torch.stack(seen, -2))


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
