"""A machine's units all together: their chains, and the path of annealed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.units import Machine, smoothed_mean, sweep
from zoo.visible_units import bits


@dataclass(frozen=True)
class Joint:
    """x and hidden units as rows, [N, units]: nothing is hidden, and a sweep leaves their distribution as it is."""

    machine: Machine
    means: Tensor
    sweeps: int = 1000

    def free_energy(self, s: Tensor) -> Tensor:
        return self.machine.energy(s)

    def gibbs_step(self, s: Tensor) -> Tensor:
        return sweep(self.machine, s)

    def start(self, n: int) -> Tensor:
        return bits(self.means.expand(n, -1))

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """n rows, each after `sweeps` sweeps."""
        s = self.start(n)
        for _ in range(self.sweeps):
            s = self.gibbs_step(s)
        return s

    @torch.no_grad()
    def annealing(self, data: Tensor | None = None) -> Annealing:
        """A path to this machine from independent bits, at the means of these rows of all units, or its own."""
        mean = self.means if data is None else smoothed_mean(data)
        return Annealing(self.machine, mean.logit(), max(enumerate(self.machine.groups), key=lambda g: len(g[1]))[0])


@dataclass(frozen=True)
class Annealing:
    """Machines from independent bits (beta = 0) to the target (beta = 1): couplings and biases interpolated.

    Its rows are all units, [N, units], of which one group of units, not coupled, is summed out of the free energy.
    """

    target: Machine
    base_bias: Tensor
    summed: int

    def start(self, n: int) -> Tensor:
        """n exact draws at beta = 0."""
        return bits(self.base_bias.sigmoid().expand(n, -1))

    def log_partition(self) -> Tensor:
        """log Z at beta = 0."""
        return F.softplus(self.base_bias).sum()

    def at(self, beta: float) -> Tempered:
        return Tempered(self.target.between(self.base_bias, beta), self.summed)


@dataclass(frozen=True)
class Tempered:
    """One machine on the path."""

    machine: Machine
    summed: int

    def free_energy(self, s: Tensor) -> Tensor:
        rest = s.index_fill(1, self.machine.groups[self.summed], 0.0)
        return self.machine.energy(rest) - F.softplus(self.machine.field(rest, self.summed)).sum(1)

    def gibbs_step(self, s: Tensor) -> Tensor:
        return sweep(self.machine, s, groups=[self.summed, *self._others])  # first what the free energy doesn't look at

    def reverse_step(self, s: Tensor) -> Tensor:
        """The step that undoes `gibbs_step` in distribution: the units that are looked at, last to first."""
        return sweep(self.machine, s, groups=[self.summed, *reversed(self._others)])

    @property
    def _others(self) -> list[int]:
        return [k for k in range(len(self.machine.groups)) if k != self.summed]
