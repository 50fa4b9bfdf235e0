"""A distribution over rows of discrete variables, each given its parents by a table of log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.distributions import RowDistribution


class Layout:
    """Where each row of codes reads each variable's table, all tables laid end to end."""

    def __init__(self, states: Sequence[int], parents: Sequence[Sequence[int]]) -> None:
        width = 1 + max(map(len, parents))
        self.parents = parents
        self.shapes = [[states[p] for p in (*above, v)] for v, above in enumerate(parents)]
        self.states = torch.tensor(states)
        sizes = [math.prod(shape) for shape in self.shapes]
        self.offsets = torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()])
        self.total = sum(sizes)
        self.reads = torch.zeros(len(states), width, dtype=torch.long)
        self.strides = torch.zeros(len(states), width, dtype=torch.long)
        for v, (above, shape) in enumerate(zip(parents, self.shapes, strict=True)):
            for k, position in enumerate((*above, v)):
                self.reads[v, k], self.strides[v, k] = position, math.prod(shape[k + 1 :])

    def entries(self, codes: Tensor) -> Tensor:
        """The entry that each code [..., V] reads, counted over all tables."""
        reads, strides, offsets = (t.to(codes.device) for t in (self.reads, self.strides, self.offsets))
        return (codes[..., reads] * strides).sum(-1) + offsets

    def available(self, codes: Tensor, known: Tensor) -> tuple[Tensor, list[bool]]:
        """Counts of all entries over the rows that know a variable and its parents, and which variables have any."""
        reads, strides = self.reads.to(codes.device), self.strides.to(codes.device)
        whole = (known[..., reads] | (strides == 0)).all(-1)
        counts = self.entries(codes)[whole].bincount(minlength=self.total)
        return counts, whole.any(0).tolist()

    def parent_rows(self, codes: Tensor, v: int) -> Tensor:
        """The row of v's table, its parents' states flattened, that each row of codes [N, V] reads."""
        row = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
        for p in self.parents[v]:
            row = row * int(self.states[p]) + codes[:, p]
        return row

    def split(self, flat: Tensor) -> list[Tensor]:
        sizes = [math.prod(shape) for shape in self.shapes]
        return [part.reshape(shape) for part, shape in zip(flat.split(sizes), self.shapes, strict=True)]


class Tables(RowDistribution):
    """p(x) = prod_v p(x_v | parents of v) by tables of log-probabilities, [*parents' states, states] each.

    `parents[v]` are positions in x, all before v. A code that is no state has probability zero.
    """

    _elementwise = constraints.nonnegative_integer

    def __init__(self, log_tables: Sequence[Tensor], layout: Layout) -> None:
        self.log_tables, self.layout = log_tables, layout
        super().__init__(torch.Size(), torch.Size([len(log_tables)]))

    @cached_property
    def flat(self) -> Tensor:
        return torch.cat([table.reshape(-1) for table in self.log_tables])

    def log_prob(self, value: Tensor) -> Tensor:
        codes = value.long()
        states = self.layout.states.to(codes.device)
        known = (codes >= 0) & (codes < states)
        entries = self.layout.entries(torch.where(known, codes, 0))
        return torch.where(known, self.flat[entries], -math.inf).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        x = torch.zeros(shape[:-1].numel(), shape[-1], dtype=torch.long, device=self.flat.device)
        for v, table in enumerate(self.log_tables):
            rows = table.exp().reshape(-1, table.shape[-1])
            x[:, v] = torch.multinomial(rows[self.layout.parent_rows(x, v)], 1).squeeze(-1)
        return x.reshape(shape)
