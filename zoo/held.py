"""Rows of an RBM some cells of which are known: what the others are, summed over the hidden units, or by sweeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MOST_HIDDEN = 12
"""Hidden units up to which what is not known is summed: 4,096 states for each row."""
NUMBERS = 1 << 22
"""Rows times states that are looked at at once."""


class HeldRows:
    """Rows x [N, features] whose cells `known` are held; `machine` is of a kind that tells each cell by itself."""

    def __init__(self, machine: Any, x: Tensor, known: Tensor, event_shape: torch.Size) -> None:
        self.machine, self.x, self.known, self.event_shape = machine, x, known, event_shape

    @property
    def levels(self) -> int | None:
        """How many codes a cell may have; None of numbers."""
        return getattr(self.machine, "levels", None)

    @property
    def summable(self) -> bool:
        return len(self.machine.hidden_bias) <= MOST_HIDDEN

    def sums(self) -> Tensor:
        """What each cell is, given what is known: of numbers mean and deviation, of codes p(level), [N, *event, last].

        p(h | known) is proportional to exp(c h) times, for each known cell, exp of its term, and for each other one
        its sum over what it can be.
        """
        machine, units = self.machine, len(self.machine.hidden_bias)
        h = machine.states(torch.arange(1 << units, device=self.x.device))
        field, log_prior = machine.field(h), h @ machine.hidden_bias
        sums, told = machine.cell_log_normaliser(field), machine.shown(machine.without(self.x, ~self.known))
        parts = []
        for x, known, shown in zip(
            *(t.split(max(1, NUMBERS >> units)) for t in (self.x, self.known, told)), strict=True
        ):
            log_w = log_prior + shown @ field.t() + (~known).to(sums.dtype) @ sums.t()
            parts.append(machine.cells(log_w.softmax(1), field, x, known))
        return torch.cat(parts).unflatten(1, self.event_shape)

    def step(self, rows: Tensor) -> Tensor:
        """A sweep of chains of all rows, [chains N, features], the known cells held: h given x, the others given h."""
        chains = len(rows) // len(self.x)
        return torch.where(self.known.repeat(chains, 1), self.x.repeat(chains, 1), self.machine.gibbs_step(rows))
