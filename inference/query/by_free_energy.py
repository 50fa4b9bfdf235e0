"""Rows of bits clamped by a free energy alone: sums over fillings, or cells drawn one by one (`Clampable`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

LARGEST_LIST = 12
"""Cells that are not known in a row up to which all ways to fill it are listed."""
BLOCK = 1 << 14
"""Rows whose free energy is asked for at a time."""


@dataclass(frozen=True)
class ByFreeEnergy:
    """N rows of which some cells are known; any number that is not may be anything. Units are the cells of x."""

    model: Any
    x: Tensor
    known_cells: Tensor

    @cached_property
    def known(self) -> Tensor:
        return self.known_cells.flatten(1)

    @property
    def summable(self) -> bool:
        return int((~self.known).sum(1).max()) <= LARGEST_LIST

    def sums(self) -> tuple[Tensor, Tensor]:
        found = [self._row(row, free) for row, free in zip(self.x.flatten(1), ~self.known, strict=True)]
        return torch.stack([means for means, _ in found]), torch.stack([total for _, total in found])

    def _row(self, row: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """P(cell = 1) and the log sum over all ways to fill a row."""
        count = int(free.sum())
        powers = 1 << torch.arange(count, device=row.device)
        filled = row.repeat(1 << count, 1)
        filled[:, free] = (torch.arange(1 << count, device=row.device)[:, None] & powers).ne(0).to(row.dtype)
        log_weights = -self.energy(filled)
        return log_weights.softmax(0) @ filled, log_weights.logsumexp(0)

    def mean_field(self) -> tuple[Tensor, Tensor]:
        raise ValueError("mean field needs a model that knows its couplings; leave the method out for sums or chains")

    def begin(self, chains: int) -> Tensor:
        x, known = self.x.flatten(1).repeat(chains, 1), self.known.repeat(chains, 1)
        return torch.where(known, x, torch.randint_like(x, 2))

    def step(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Each cell that is not known in some row drawn given all others, one after the other."""
        known = self.known.repeat(len(states) // len(self.known), 1)
        states, told = states.clone(), states.clone()
        for cell in (~self.known).any(0).nonzero().flatten().tolist():
            on, off = states.clone(), states.clone()
            on[:, cell], off[:, cell] = 1.0, 0.0
            p = (self.energy(off) - self.energy(on)).sigmoid()
            held = known[:, cell]
            told[:, cell] = torch.where(held, states[:, cell], p)
            states[:, cell] = torch.where(held, states[:, cell], torch.bernoulli(p))
        return states, told

    def energy(self, states: Tensor) -> Tensor:
        shape = self.x.shape[1:]
        return torch.cat([self.model.free_energy(part.view(-1, *shape)) for part in states.split(BLOCK)])
