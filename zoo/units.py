"""Machines of units that are zero or one: their energy, Gibbs sweeps over them, and mean field.

A machine is anything with

    bias            [units]
    matrix          [units, units], symmetric, zero on its diagonal: E(s) = -s matrix s / 2 - bias s
    groups          indices of units no two of which are coupled; each unit is in one group
    energy(s)       [N] nats, of whole states s [N, units]; linear in each unit, so that at independent units' means
                    it is the mean energy
    field(s, k)     log-odds of the units of groups[k] given all others, [N, len(groups[k])]
    between(b, beta)  the machine on the way from independent units of biases b (beta = 0) to this one (beta = 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from zoo.visible_units import bits


class Machine(Protocol):
    @property
    def bias(self) -> Tensor: ...
    @property
    def matrix(self) -> Tensor: ...
    @property
    def groups(self) -> Sequence[Tensor]: ...

    def energy(self, s: Tensor) -> Tensor: ...
    def field(self, s: Tensor, group: int) -> Tensor: ...
    def between(self, bias: Tensor, beta: float) -> Machine: ...


@dataclass(frozen=True)
class Pairwise:
    """Any two units may be coupled."""

    matrix: Tensor
    bias: Tensor
    groups: tuple[Tensor, ...]

    def energy(self, s: Tensor) -> Tensor:
        return -((s @ self.matrix) * s).sum(1) / 2 - s @ self.bias

    def field(self, s: Tensor, group: int) -> Tensor:
        at = self.groups[group]
        return s @ self.matrix[:, at] + self.bias[at]

    def between(self, bias: Tensor, beta: float) -> Pairwise:
        return Pairwise(self.matrix * beta, torch.lerp(bias, self.bias, beta), self.groups)


@dataclass(frozen=True)
class Layers:
    """Layers of units, each coupled to the next: weights[k] is [units of layer k, units of layer k + 1].

    Its groups are two: the layers of even number, and those of odd number.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @cached_property
    def sizes(self) -> list[int]:
        return [len(bias) for bias in self.biases]

    @cached_property
    def bias(self) -> Tensor:
        return torch.cat(self.biases)

    @cached_property
    def groups(self) -> tuple[Tensor, ...]:
        layers = torch.arange(sum(self.sizes), device=self.biases[0].device).split(self.sizes)
        return torch.cat(layers[::2]), torch.cat(layers[1::2])

    @cached_property
    def matrix(self) -> Tensor:
        rows = [[self._block(i, j) for j in range(len(self.sizes))] for i in range(len(self.sizes))]
        return torch.cat([torch.cat(row, 1) for row in rows])

    def _block(self, i: int, j: int) -> Tensor:
        if abs(i - j) != 1:
            return self.bias.new_zeros(self.sizes[i], self.sizes[j])
        return self.weights[i] if i < j else self.weights[j].t()

    def energy(self, s: Tensor) -> Tensor:
        parts = s.split(self.sizes, 1)
        total = -(s @ self.bias)
        for below, weights, above in zip(parts, self.weights, parts[1:], strict=False):
            total = total - ((below @ weights) * above).sum(1)
        return total

    def field(self, s: Tensor, group: int) -> Tensor:
        parts = s.split(self.sizes, 1)
        return torch.cat([self._field(parts, k) for k in range(group, len(parts), 2)], 1)

    def _field(self, parts: Sequence[Tensor], k: int) -> Tensor:
        found = self.biases[k].expand(len(parts[0]), -1)
        if k > 0:
            found = torch.addmm(found, parts[k - 1], self.weights[k - 1])
        if k + 1 < len(parts):
            found = torch.addmm(found, parts[k + 1], self.weights[k].t())
        return found

    def between(self, bias: Tensor, beta: float) -> Layers:
        biases = torch.lerp(bias, self.bias, beta).split(self.sizes)
        return Layers(tuple(weights * beta for weights in self.weights), tuple(biases))


def smoothed_mean(x: Tensor) -> Tensor:
    """The mean of each column of bits, as if one more zero and one more one had been seen."""
    return (x.sum(0) + 1) / (len(x) + 2)


def movable(machine: Machine, known: Tensor) -> list[int]:
    """The groups with a unit that is not known in some row; `known` is [N, units]."""
    held = known.all(0)
    return [k for k, at in enumerate(machine.groups) if not bool(held[at].all())]


@torch.no_grad()
def sweep(machine: Machine, s: Tensor, known: Tensor | None = None, groups: Sequence[int] | None = None) -> Tensor:
    """Each group drawn given all else, one after the other; units that are known stay as they are."""
    s = s.clone()
    for k in range(len(machine.groups)) if groups is None else groups:
        _draw(machine, s, k, known)
    return s


@torch.no_grad()
def told_sweep(machine: Machine, s: Tensor, known: Tensor, groups: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The same, and P(unit = 1 | the rest) as each unit was drawn by; of units known, what they are."""
    s, told = s.clone(), s.clone()
    for k in groups:
        at = machine.groups[k]
        told[:, at] = torch.where(known[:, at], s[:, at], _draw(machine, s, k, known))
    return s, told


def _draw(machine: Machine, s: Tensor, k: int, known: Tensor | None) -> Tensor:
    """A group of s drawn in place; its units' probabilities."""
    at, p = machine.groups[k], machine.field(s, k).sigmoid()
    s[:, at] = bits(p) if known is None else torch.where(known[:, at], s[:, at], bits(p))
    return p


@torch.no_grad()
def mean_field(machine: Machine, s: Tensor, known: Tensor, *, most: int = 500) -> Tensor:
    """Means of the independent units nearest (by KL(q || p)) to the units not known, by coordinate ascent from 1/2.

    s holds the units that are known; those are given back as they were. A group at a time, the bound on the
    log-probability of what is known never falls.
    """
    tolerance = 0.1 * torch.finfo(s.dtype).eps ** 0.5
    means = torch.where(known, s, 0.5)
    groups = movable(machine, known)
    for _ in range(most):
        before = means
        means = means.clone()
        for k in groups:
            at = machine.groups[k]
            means[:, at] = torch.where(known[:, at], means[:, at], machine.field(means, k).sigmoid())
        if not groups or bool((means - before).abs().max() < tolerance):
            break
    return means


def variational_free_energy(machine: Machine, means: Tensor) -> Tensor:
    """Mean energy minus entropy of independent units of these means, [N] nats: never below the free energy."""
    entropy = torch.special.entr(means) + torch.special.entr(1 - means)
    return machine.energy(means) - entropy.sum(1)
