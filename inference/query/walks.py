"""Steps of Metropolis' in the missing cells of rows, given z, where a decoder makes its cells depend on each other."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.query.cells import levels_of

AIM = 0.3
"""The share of random steps to be taken: between 0.44, best in one dimension, and 0.23, best in many."""
CHANGES = 16
"""How many cells of a row of codes are tried before z moves again."""


class Walk(Protocol):
    """x with its missing cells moved so that p(x | z) stays what it is; `learning` while chains warm up."""

    learning: bool

    def __call__(self, decoder: Any, x: Tensor) -> Tensor: ...


class Numbers:
    """All missing cells of a row at once, by random steps as long as its chains found good while warming up."""

    def __init__(self, known: Tensor, chains: int, support: Any) -> None:
        self.known, self.chains, self.support = known, chains, support
        self.learning, self.time = True, 0
        self.length = torch.ones(len(known), device=known.device)
        self.spread = torch.ones((), device=known.device)

    def __call__(self, decoder: Any, x: Tensor) -> Tensor:
        if self.learning:
            self._widen(x)
        there = torch.where(self.known, x, x + rows(self.length, x).to(x.dtype) * self.spread * torch.randn_like(x))
        inside = torch.ones_like(self.known) if self.support is None else self.support.check(there)
        there = torch.where(rows(inside.flatten(1).all(1), x), there, x)
        taken = chosen(decoder.log_prob(there) - decoder.log_prob(x))
        if self.learning:
            self._lengthen(taken & inside.flatten(1).all(1))
        return torch.where(rows(taken, x), there, x)

    def _widen(self, x: Tensor) -> None:
        """Steps as wide as the chains of a row lie apart, averaged over the warm-up."""
        apart = x.unflatten(0, (self.chains, -1)).std(0).clamp(min=1e-6).repeat(self.chains, *[1] * (x.dim() - 1))
        self.time += 1
        self.spread = apart if self.time == 1 else self.spread + (apart - self.spread) / math.sqrt(self.time)

    def _lengthen(self, taken: Tensor) -> None:
        share = taken.to(self.length.dtype).view(self.chains, -1).mean(0).repeat(self.chains)
        self.length = self.length * (3 * (share - AIM) / math.sqrt(self.time)).exp()


class Codes:
    """Missing cells of a row one after the other, each to another code."""

    def __init__(self, known: Tensor, levels: int) -> None:
        self.known, self.levels, self.learning = known, levels, True
        self.missing = (~known).flatten(1).double()
        self.changes = min(CHANGES, int(self.missing.sum(1).max()))

    def __call__(self, decoder: Any, x: Tensor) -> Tensor:
        here = decoder.log_prob(x)
        for _ in range(self.changes):
            # a row that lacks nothing changes its first cell and takes it back
            cell = torch.multinomial(self.missing + (self.missing.sum(1, keepdim=True) == 0), 1)
            at = x.flatten(1).gather(1, cell)
            other = (at + torch.randint_like(at, 1, self.levels)) % self.levels
            there = torch.where(self.known, x, x.flatten(1).scatter(1, cell, other).view_as(x))
            score = decoder.log_prob(there)
            taken = chosen(score - here)
            x, here = torch.where(rows(taken, x), there, x), torch.where(taken, score, here)
        return x


def walk_of(model: Any, known: Tensor, chains: int) -> Walk:
    """How the missing cells of a model's rows move: by codes where it has some, by numbers else."""
    support = getattr(model, "support", None)
    levels = levels_of(support)
    return Numbers(known, chains, support) if levels is None else Codes(known, levels)


def rows(taken: Tensor, like: Tensor) -> Tensor:
    """One value a row, to be held against rows."""
    return taken.view(-1, *[1] * (like.dim() - 1))


def chosen(gain: Tensor) -> Tensor:
    """Which of the proposals are taken, by how much each gains in nats."""
    return torch.rand_like(gain).log() < gain.nan_to_num(nan=-math.inf)
