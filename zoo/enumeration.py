"""Exact sums over the states of a machine's free units (`zoo.units`), the others held.

The units of one group are summed in closed form, as they are independent given the rest; the states of the others
are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.units import Machine
from zoo.visible_units import bits

NUMBERS = 1 << 22
"""How many numbers a block of states may hold."""


def split(machine: Machine, free: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the free units that are listed, and of those that are summed in closed form; free is [units]."""
    summed = max((at[free[at]] for at in machine.groups), key=len)
    listed = free.clone()
    listed[summed] = False
    return listed.nonzero().flatten(), summed


def listed(machine: Machine, free: Tensor) -> int:
    """How many free units have their states listed: the sum is over 2^listed states."""
    return len(split(machine, free)[0])


class Enumeration:
    """p(free units | the others) of each row by all its states, [N, units] with anything where it is free.

    Memory is N 2^listed numbers: give few rows where much is free.
    """

    def __init__(self, machine: Machine, s: Tensor, free: Tensor) -> None:
        self.machine, self.s = machine, s.masked_fill(free, 0.0)
        self.listed, self.summed = split(machine, free)
        count = 1 << torch.arange(len(self.listed), device=s.device)
        self.codes = (torch.arange(1 << len(self.listed), device=s.device)[:, None] & count).ne(0).to(s.dtype)
        fields = self.s @ machine.matrix + machine.bias
        self.fields, self.fields_summed = fields[:, self.listed], fields[:, self.summed]
        self.across = machine.matrix[self.listed][:, self.summed]

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Parts of the codes, and the summed units' log-odds given each row and code, [N, part, summed]."""
        step = max(1, NUMBERS // max(1, len(self.s) * max(1, len(self.summed))))
        for start in range(0, len(self.codes), step):
            part = slice(start, start + step)
            yield part, self.fields_summed[:, None] + self.codes[part] @ self.across

    @cached_property
    def log_weights(self) -> Tensor:
        """The log of each listed state's unnormalised probability, [N, states], without what is the same for all."""
        inner = self.machine.matrix[self.listed][:, self.listed]
        own = ((self.codes @ inner) * self.codes).sum(1) / 2
        summed = [F.softplus(odds).sum(-1) for _, odds in self._blocks()]
        return self.fields @ self.codes.t() + own + torch.cat(summed, 1)

    def log_total(self) -> Tensor:
        """log sum exp(-E) over the free units, [N] nats."""
        return self.log_weights.logsumexp(1) - self.machine.energy(self.s)

    def means(self) -> Tensor:
        """P(unit = 1), [N, units]; units that are held are as they are."""
        p = self.log_weights.softmax(1)
        found = self.s.clone()
        found[:, self.listed] = p @ self.codes
        parts = [torch.einsum("nk,nka->na", p[:, part], odds.sigmoid()) for part, odds in self._blocks()]
        found[:, self.summed] = torch.stack(parts).sum(0)
        return found

    def moments(self) -> Tensor:
        """P(both units = 1), [N, units, units]."""
        p = self.log_weights.softmax(1)
        total = self.s.new_zeros(len(self.s), self.s.shape[1], self.s.shape[1])
        for part, odds in self._blocks():
            each = self.s[:, None].repeat(1, odds.shape[1], 1)
            each[..., self.listed], each[..., self.summed] = self.codes[part], odds.sigmoid()
            total += torch.einsum("nk,nki,nkj->nij", p[:, part], each, each)
        total.diagonal(dim1=1, dim2=2).copy_(self.means())
        return total

    def draw(self) -> Tensor:
        """One state of each row, [N, units]."""
        codes = self.codes[torch.multinomial(self.log_weights.softmax(1), 1).flatten()]
        found = self.s.clone()
        found[:, self.listed] = codes
        found[:, self.summed] = bits((self.fields_summed + codes @ self.across).sigmoid())
        return found
