"""Chains over the histories of a spread, many in one batch: who began it, and when each node was reached.

A sweep draws every node's (x, r) from its exact conditional given all others', then proposes to swap the source's with
an early node's. The source that a chain has after a sweep is a draw from the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.spread_law import Histories, log_hit

EARLY = 2
"""Steps after the source's within which a node must have been reached to be proposed as the source instead."""


@dataclass(frozen=True)
class _Place:
    """A node's edges: from whom (`into`), to whom (`out`), with their hazards."""

    into: Tensor
    into_hazards: Tensor
    out: Tensor
    out_hazards: Tensor


class Chains:
    """C chains, whose state is `option` [C, n] and `source` [C]."""

    def __init__(self, law: Histories, option: Tensor, source: Tensor, seed: int) -> None:
        self.law, self.option, self.source = law, option.clone(), source.clone()
        self.x, self.r = law.options[option].unbind(-1)
        self.x, self.r = self.x.clone(), self.r.clone()
        self.generator = torch.Generator().manual_seed(seed)
        self.swapped = self.proposed = 0
        self._places = list(self._edges())
        self._option = torch.full((law.steps + 2, law.steps + 2), -1)
        self._option[tuple(law.options.T)] = torch.arange(len(law.options))
        self._pressures()

    def _edges(self):
        law = self.law
        who, whom = law.ends.T
        into = torch.argsort(whom, stable=True).split(torch.bincount(whom, minlength=law.n).tolist())
        out = torch.argsort(who, stable=True).split(torch.bincount(who, minlength=law.n).tolist())
        for i, o in zip(into, out, strict=True):
            yield _Place(who[i], law.hazards[i], whom[o], law.hazards[o])

    def _pressures(self) -> None:
        """`hit` [C, n], the hazard that each node is under in the step that reaches it."""
        who, whom = self.law.ends.T
        last = self.x[:, whom] - 1
        passing = (self.x[:, who] <= last) & (last < self.r[:, who])
        self.hit = torch.zeros_like(self.x, dtype=torch.float64).index_add_(1, whom, passing * self.law.hazards)

    # ---- one node after the other

    def sweep(self, swaps: int) -> None:
        order = torch.randperm(self.law.n, generator=self.generator).tolist()
        for place, node in enumerate(order):
            if place % max(1, len(order) // max(1, swaps)) == 0:
                self.swap()
            self._redraw(node)

    def _redraw(self, node: int) -> None:
        law, place = self.law, self._places[node]
        begun = self.source == node
        own, pressure = self._reached(place)
        own[:, 0] = -torch.inf
        own = torch.where(begun[:, None], torch.nn.functional.pad(law.log_start[node], (0, 1), value=-torch.inf), own)
        passed, base = self._passed(node, place)
        x, r = law.options.T
        stop = law.steps
        logits = own[:, x] + passed[:, r.clamp(max=stop)] - passed[:, x.clamp(max=stop)] + law.log_removal
        logits = logits.masked_fill(~law.allowed[node], -torch.inf)
        noise = torch.empty_like(logits).exponential_(generator=self.generator)
        drawn = (logits - noise.log()).argmax(1)
        self._set(node, place, drawn, pressure, base)

    def _counts(self, steps: Tensor, hazards: Tensor) -> Tensor:
        """Hazards summed by step, [C, T + 2]."""
        table = torch.zeros(len(steps), self.law.steps + 2, dtype=torch.float64)
        return table.scatter_add_(1, steps, hazards.expand(steps.shape))

    def _reached(self, place: _Place) -> tuple[Tensor, Tensor]:
        """log chance of being reached at each step, [C, T + 2], and the hazard at each step, [C, T + 1]."""
        coming = self._counts(self.x[:, place.into], place.into_hazards)
        pressure = (coming - self._counts(self.r[:, place.into], place.into_hazards)).cumsum(1)[:, :-1]
        spared = torch.nn.functional.pad(pressure.cumsum(1), (1, 0))
        own = torch.empty(len(coming), self.law.steps + 2, dtype=torch.float64)
        own[:, 1:-1] = log_hit(pressure[:, :-1]) - spared[:, :-2]
        own[:, -1] = -spared[:, -2]
        return own, pressure

    def _passed(self, node: int, place: _Place) -> tuple[Tensor, Tensor]:
        """Nats [C, T + 1] of what this node passes on until each step, and the hazards of those it may reach without."""
        x = self.x[:, place.out]
        last = (x - 1).clamp(min=0)
        live = (x > 0) & (place.out != self.source[:, None])
        mine = (self.x[:, node, None] <= last) & (last < self.r[:, node, None])
        base = self.hit[:, place.out] - mine * place.out_hazards
        gain = torch.where(live, log_hit(base + place.out_hazards) - log_hit(base), 0.0)
        gain = torch.where(x <= self.law.steps, gain, 0.0)
        at = torch.zeros(len(x), self.law.steps + 1, dtype=torch.float64).scatter_add_(1, last, gain)
        spared = torch.zeros_like(at).scatter_add_(1, last, live * place.out_hazards)
        later = spared.flip(1).cumsum(1).flip(1) - spared
        each = at - later - self.law.outside[node]
        return torch.nn.functional.pad(each[:, :-1].cumsum(1), (1, 0)), base

    def _set(self, node: int, place: _Place, drawn: Tensor, pressure: Tensor, base: Tensor) -> None:
        self.option[:, node] = drawn
        x, r = self.law.options[drawn].unbind(-1)
        self.x[:, node], self.r[:, node] = x, r
        self.hit[:, node] = torch.where(x > 0, pressure.gather(1, (x - 1).clamp(min=0)[:, None])[:, 0], 0.0)
        last = self.x[:, place.out] - 1
        mine = (x[:, None] <= last) & (last < r[:, None])
        self.hit[:, place.out] = (base + mine * place.out_hazards).clamp(min=0)

    # ---- another source

    def swap(self) -> None:
        """Exchange the source's times with those of a node reached soon after, or x alone: as likely proposed back."""
        rows = torch.arange(len(self.source))
        early = (self.x <= self.x[rows, self.source][:, None] + EARLY).double()
        early[rows, self.source] = 0
        alone = early.sum(1) == 0
        early[alone, 0] = 1
        other = torch.multinomial(early, 1, generator=self.generator)[:, 0]
        both = torch.rand(len(rows), generator=self.generator) < 0.5
        x, r = self.x.clone(), self.r.clone()
        x[rows, self.source], x[rows, other] = self.x[rows, other], self.x[rows, self.source]
        r[rows, self.source] = torch.where(both, self.r[rows, other], self.r[rows, self.source])
        r[rows, other] = torch.where(both, self.r[rows, self.source], self.r[rows, other])
        option = self.option.clone()
        for node in (self.source, other):
            option[rows, node] = self._option[x[rows, node], r[rows, node]]
        there = ~alone & (option >= 0).all(1)
        gain = self.law.log_prob(option.clamp(min=0), other) - self.law.log_prob(self.option, self.source)
        taken = there & (torch.rand(len(gain), generator=self.generator, dtype=torch.float64).log() < gain)
        self.option = torch.where(taken[:, None], option, self.option)
        self.source = torch.where(taken, other, self.source)
        self.x, self.r = (part.clone() for part in self.law.options[self.option].unbind(-1))
        self._pressures()
        self.swapped += int(taken.sum())
        self.proposed += len(taken)
