"""Rows and classes of which some cells are known, under an RBM over both (`zoo.classification_rbm`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.visible_units import bits

LARGEST_LIST = 14
"""Hidden units up to which their states are listed for each row."""


@dataclass(frozen=True)
class ClampedClasses:
    """N rows [N, features + classes], followed as units by the hidden ones (`inference.protocols.Clampable`).

    A class column known to be 1 settles the class; one known to be 0 rules its class out.
    """

    machine: Any
    x: Tensor
    known_cells: Tensor
    classes: int

    @cached_property
    def allowed(self) -> Tensor:
        """0 for each class that the known columns leave possible, -inf for the others, [N, classes]."""
        y, known = self.x[:, -self.classes :], self.known_cells[:, -self.classes :]
        settled = (known & (y == 1)).any(1, keepdim=True)
        possible = torch.where(known, y == 1, ~settled)
        lost = ~possible.any(1)
        if lost.any():
            raise ValueError(f"row {int(lost.nonzero()[0])}: what is known leaves no class possible")
        return torch.zeros_like(y).masked_fill(~possible, -torch.inf)

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """x and which of its cells are known, without the class."""
        known = self.known_cells[:, : -self.classes]
        return self.x[:, : -self.classes].masked_fill(~known, 0.0), known

    @property
    def summable(self) -> bool:
        return len(self.machine.hidden_bias) <= LARGEST_LIST

    def sums(self) -> tuple[Tensor, Tensor]:
        """P(unit = 1 | what is known) and the log sum of exp(-E), by all states of the hidden units, row by row."""
        hidden = len(self.machine.hidden_bias)
        powers = 1 << torch.arange(hidden, device=self.x.device)
        h = (torch.arange(1 << hidden, device=self.x.device)[:, None] & powers).ne(0).to(self.x.dtype)
        visible, classes = self.machine.visible(h), self.machine.classes(h)
        found = [self._row(i, h, visible, classes) for i in range(len(self.x))]
        return torch.stack([means for means, _ in found]), torch.stack([total for _, total in found])

    def _row(self, i: int, h: Tensor, visible: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        x, known = (part[i] for part in self.seen)
        left = classes + self.allowed[i]
        told = torch.where(known, visible * x, F.softplus(visible)).sum(1)
        weights = h @ self.machine.hidden_bias + told + left.logsumexp(1)
        p = weights.softmax(0)
        cells = torch.where(known, x, p @ visible.sigmoid())
        return torch.cat([cells, p @ left.softmax(1), p @ h]), weights.logsumexp(0)

    def mean_field(self) -> tuple[Tensor, Tensor]:
        raise ValueError("mean field is not offered for rows and classes; leave the method out for sums or chains")

    # ---- chains

    def begin(self, chains: int) -> Tensor:
        x, known = (part.repeat(chains, 1) for part in self.seen)
        drawn = torch.multinomial(self.allowed.softmax(1).repeat(chains, 1), 1)
        y = x.new_zeros(len(x), self.classes).scatter_(1, drawn, 1.0)
        h = bits(torch.full((len(x), len(self.machine.hidden_bias)), 0.5).to(x))
        return torch.cat([torch.where(known, x, torch.randint_like(x, 2)), y, h], 1)

    def step(self, states: Tensor) -> tuple[Tensor, Tensor]:
        chains = len(states) // len(self.x)
        x, y, _ = self._parts(states)
        p_h = self.machine.hidden(x, y).sigmoid()
        h = bits(p_h)
        held, known = (part.repeat(chains, 1) for part in self.seen)
        p_x = torch.where(known, held, self.machine.visible(h).sigmoid())
        p_y = (self.machine.classes(h) + self.allowed.repeat(chains, 1)).softmax(1)
        y = torch.zeros_like(y).scatter_(1, torch.multinomial(p_y, 1), 1.0)
        return torch.cat([bits(p_x), y, h], 1), torch.cat([p_x, p_y, p_h], 1)

    def energy(self, states: Tensor) -> Tensor:
        x, y, h = self._parts(states)
        return -(self.machine.hidden(x, y) * h).sum(1) - x @ self.machine.visible_bias - y @ self.machine.class_bias

    def _parts(self, states: Tensor) -> list[Tensor]:
        width = self.x.shape[1] - self.classes
        return list(states.split([width, self.classes, states.shape[1] - width - self.classes], 1))
