"""Visible units that are codes of a few levels, such as ratings; cells may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.visible_units import NUMBERS, Couplings, VisibleUnits, bits

MISSING = -1


@dataclass(frozen=True)
class Codes(Couplings):
    """-E(x, h) = sum_i (b + W h) at the level x_i, for codes x_i of 0..levels-1; cells of code -1 are left out."""

    levels: int

    # ---- rows have few codes among many cells: what is known is listed, and its weights alone are looked at

    def told(self, x: Tensor) -> Tensor:
        """Which cells have a level, [N, features]."""
        return x != MISSING

    def entries(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics that are 1: their rows, and which they are."""
        rows, cells = self.told(x).nonzero(as_tuple=True)
        return rows, cells * self.width + x[rows, cells].long()

    @property
    def width(self) -> int:
        """Statistics of a cell."""
        return self.levels

    def sparse(self, x: Tensor) -> Tensor:
        """s(x), as a sparse matrix."""
        index = torch.stack(self.entries(x))
        ones = self.weights.new_ones(index.shape[1])
        return torch.sparse_coo_tensor(index, ones, (len(x), len(self.visible_bias)), check_invariants=False)

    def shown(self, x: Tensor) -> Tensor:
        return self.sparse(x).to_dense()

    def logits(self, x: Tensor) -> Tensor:
        return self.hidden_bias + torch.sparse.mm(self.sparse(x), self.weights)

    def free_energy(self, x: Tensor) -> Tensor:
        rows, which = self.entries(x)
        alone = self.visible_bias.new_zeros(len(x)).index_add(0, rows, self.visible_bias[which])
        return -alone - F.softplus(self.logits(x)).sum(1)

    def gradients(self, x: Tensor, hidden: Tensor, signs: Tensor) -> dict[str, Tensor]:
        turned = self.sparse(x).t()
        both = torch.sparse.mm(turned, torch.cat((hidden, signs[:, None]), 1))
        return {"weights": both[:, :-1].contiguous(), "visible_bias": both[:, -1], "hidden_bias": hidden.sum(0)}

    def gibbs_step(self, x: Tensor) -> Tensor:
        h = bits(self.hidden(x))
        cells = self.told(x).any(0).nonzero()[:, 0]  # of the others nothing is drawn
        part, moved = self.part(cells), x.clone()
        moved[:, cells] = part.draw(part.field(h), x[:, cells])
        return moved

    def part(self, cells: Tensor) -> Self:
        """The machine without the other cells."""
        weights = self._cells(self.weights)[cells].flatten(0, 1)
        return self._with({"weights": weights, "visible_bias": self._cells(self.visible_bias)[cells].flatten()})

    def level_logits(self, x: Tensor, rows: Tensor, cells: Tensor) -> Tensor:
        """log p(x[rows, cells] = level | the row's known cells) up to a constant, [pairs, levels], of unknown cells.

        The hidden units are summed out, so it is exact: minus the free energy of the row with each level filled in.
        """
        size = max(1, NUMBERS // (self.levels * len(self.hidden_bias)))
        before, bias = self.logits(x), self._cells(self.visible_bias)[:, : self.levels]
        parts = []
        for some, at in zip(rows.split(size), cells.split(size), strict=True):
            after = before[some, None] + self.added(x[some, at], at)
            parts.append(bias[at] + F.softplus(after).sum(2))
        return torch.cat(parts)

    def added(self, before: Tensor, cells: Tensor) -> Tensor:
        """What each level of these cells, whose codes were `before`, adds to the hidden units' log-odds."""
        return self._cells(self.weights)[cells, : self.levels]

    def _cells(self, statistics: Tensor) -> Tensor:
        return statistics.unflatten(0, (-1, self.width))

    # ---- given the hidden units

    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        told = self.told(like)
        race = self._by_cell(field)[told]
        drawn = like.clone()
        drawn[told] = (race - torch.empty_like(race).exponential_().log_()).argmax(1).to(like.dtype)
        return drawn

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        return (self._by_cell(field).softmax(2) * self.told(like)[..., None]).flatten(1)

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        return (self._by_cell(field).logsumexp(2) * self.told(like)).sum(1)

    def _by_cell(self, field: Tensor) -> Tensor:
        return field.unflatten(1, (-1, self.width))[..., : self.levels]

    # ---- cell by cell, for rows some of which are held

    def without(self, x: Tensor, cells: Tensor) -> Tensor:
        """Rows whose statistics are 0 in these cells."""
        return x.masked_fill(cells, MISSING)

    def cell_log_normaliser(self, field: Tensor) -> Tensor:
        """`log_normaliser` of each cell, [N, features]."""
        return self._by_cell(field).logsumexp(2)

    def cells(self, shares: Tensor, field: Tensor, x: Tensor, known: Tensor) -> Tensor:
        """p(level) of each cell where h has these shares [N, states]; of what is known, 1 at its level."""
        told = F.one_hot(x.long().clamp(min=0), self.levels).to(field.dtype)
        found = (shares @ self._by_cell(field).softmax(2).flatten(1)).unflatten(1, told.shape[1:])
        return torch.where(known[..., None], told, found)


class SoftmaxUnits(VisibleUnits):
    """Codes: p(x_i = k | h) = softmax over k of b_ik + W_ik h, a set of weights for each level.

    A cell of code -1 is missing: it is left out of the energy, as if its row were of a machine without that unit. Rows
    that lack the same cells share log Z.

    Parameters:
        levels: how many; x is of 0..levels-1.

    References:
        Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007)
    """

    missing_code = MISSING
    told_by_cell = True

    def __init__(self, features: int, levels: int) -> None:
        super().__init__(features)
        if not isinstance(levels, int) or levels < 2:
            raise ValueError(f"levels must be a whole number of at least 2, not {levels!r}")
        self.levels, self.cell = levels, (levels,)
        self.support = constraints.integer_interval(0, levels - 1)  # type: ignore[misc]

    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Codes:
        return Codes(weights, visible_bias, hidden_bias, self.levels)

    def resting(self) -> Tensor:
        return torch.full((self.statistics,), 1 / self.levels)

    def means(self, x: Tensor) -> Tensor:
        """As if each level had been seen once more."""
        codes = x.long()
        counts = F.one_hot(torch.where(codes == MISSING, self.levels, codes), self.levels + 1)[..., :-1].sum(0) + 1.0
        return (counts / counts.sum(1, keepdim=True)).flatten()

    def bias(self, mean: Tensor) -> Tensor:
        return mean.log()

    def form(self, x: Tensor) -> Tensor:
        return x == MISSING

    def blank(self) -> Tensor:
        return torch.zeros(1, self.features, dtype=torch.long)
