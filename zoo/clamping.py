"""Some units of a machine held, the others asked for: exactly where few are free, by chains, or by mean field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zoo.enumeration import Enumeration, listed
from zoo.units import Machine, mean_field, movable, told_sweep, variational_free_energy
from zoo.visible_units import bits

LARGEST_LIST = 16
"""Free units up to which their states are listed for each row, beside those that are summed in closed form."""
STATES = 1 << 22
"""How many states a block of rows may list."""


@dataclass(frozen=True)
class Clamped:
    """N rows of a machine's units, those of x first, of which some are known.

    Shapes: s and known are [N, units]; what s holds where it is not known does not matter.
    """

    machine: Machine
    s: Tensor
    known: Tensor

    @cached_property
    def patterns(self) -> list[tuple[Tensor, Tensor]]:
        """(free units, [units]; the rows they are the free ones of), each."""
        masks, which = torch.unique(self.known, dim=0, return_inverse=True)
        return [(~mask, (which == i).nonzero().flatten()) for i, mask in enumerate(masks)]

    @property
    def summable(self) -> bool:
        """Whether `sums` can be asked."""
        return all(listed(self.machine, free) <= LARGEST_LIST for free, _ in self.patterns)

    def sums(self) -> tuple[Tensor, Tensor]:
        """P(unit = 1 | what is known), [N, units], and log of what exp(-E) sums to over what is not known, [N]."""
        means, totals = torch.empty_like(self.s), self.s.new_empty(len(self.s))
        for rows, found in self._enumerations():
            means[rows], totals[rows] = found.means(), found.log_total()
        return means, totals

    def draw(self) -> Tensor:
        """One exact draw of what is not known of each row, [N, units]."""
        drawn = torch.empty_like(self.s)
        for rows, found in self._enumerations():
            drawn[rows] = found.draw()
        return drawn

    def _enumerations(self):
        for free, rows in self.patterns:
            step = max(1, STATES >> listed(self.machine, free))
            for part in rows.split(step):
                yield part, Enumeration(self.machine, self.s[part], free)

    def mean_field(self) -> tuple[Tensor, Tensor]:
        """P(unit = 1) as if units were independent, [N, units], and a lower bound on the log sum of `sums`, [N]."""
        means = mean_field(self.machine, self.s, self.known)
        return means, -variational_free_energy(self.machine, means)

    # ---- chains

    def begin(self, chains: int) -> Tensor:
        """So many copies of the rows, one after the other, what is not known at fair bits; [chains N, units]."""
        s, known = self.s.repeat(chains, 1), self.known.repeat(chains, 1)
        return torch.where(known, s, bits(torch.full_like(s, 0.5)))

    def step(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """A Gibbs sweep, and P(unit = 1 | the rest) as each was drawn by."""
        known = self.known.repeat(len(states) // len(self.known), 1)
        return told_sweep(self.machine, states, known, self._movable)

    @cached_property
    def _movable(self) -> list[int]:
        return movable(self.machine, self.known)

    def energy(self, states: Tensor) -> Tensor:
        return self.machine.energy(states)
