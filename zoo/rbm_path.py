"""What rows of one form are to a restricted Boltzmann machine: an energy with a log Z, and a path to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.visible_units import Couplings


@dataclass(frozen=True)
class Machine:
    """One machine as an energy of rows [N, *event_shape] that have the form of the row `like` [1, features].

    `log_partition()` is the exact log Z, summed in float64, and `exact_rows(n)` are independent draws; a machine that
    is too large has neither.
    """

    couplings: Couplings
    base: Couplings
    like: Tensor
    event_shape: torch.Size

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(x.flatten(1))

    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.couplings.gibbs_step(x.flatten(1)).reshape(x.shape)

    def start(self, n: int) -> Tensor:
        """n draws of the base, units without couplings."""
        x = self.base.draw(self.base.visible_bias.expand(n, -1), self.like.expand(n, -1))
        return x.reshape(n, *self.event_shape)

    @property
    def log_partition(self) -> Callable[[], Tensor]:
        if not self.couplings.can_sum:
            raise AttributeError("too many units")  # who offers this says so in its own words
        return lambda: self.couplings.double().smaller().log_partition(self.like)

    @property
    def exact_rows(self) -> Callable[[int], Tensor]:
        if not self.couplings.can_sum:
            raise AttributeError("too many units")
        return lambda n: self.couplings.exact_rows(n, self.like).reshape(n, *self.event_shape)

    def annealing(self, data: Tensor | None = None) -> Annealing:
        """The path to this machine from its base, whose rows `data` were seen to before."""
        return Annealing(self)


@dataclass(frozen=True)
class Annealing:
    """Machines from units without couplings (beta = 0) to the target (beta = 1), in what the energy is linear in.

    On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008),
    https://doi.org/10.1145/1390156.1390266
    """

    target: Machine

    def start(self, n: int) -> Tensor:
        """n exact draws at beta = 0."""
        return self.target.start(n)

    def log_partition(self) -> Tensor:
        """log Z at beta = 0."""
        base = self.target.base
        alone = base.log_normaliser(base.visible_bias[None], self.target.like)[0]
        return alone + len(base.hidden_bias) * math.log(2)

    def at(self, beta: float) -> Tempered:
        return Tempered(self.target.base.between(self.target.couplings, beta))


@dataclass(frozen=True)
class Tempered:
    """One machine on the path."""

    couplings: Couplings

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(x.flatten(1))

    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.couplings.gibbs_step(x.flatten(1)).reshape(x.shape)
