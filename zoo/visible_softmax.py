"""Visible units that are codes of a few levels, such as ratings; cells may be missing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.visible_units import Couplings, VisibleUnits

MISSING = -1


@dataclass(frozen=True)
class Codes(Couplings):
    """-E(x, h) = sum_i (b + W h) at the level x_i, for codes x_i of 0..levels-1; cells of code -1 are left out."""

    levels: int

    def shown(self, x: Tensor) -> Tensor:
        codes = x.long()
        known = codes.ne(MISSING)
        hot = self.weights.new_zeros(*x.shape, self.levels)
        return hot.scatter_(2, (codes * known)[..., None], known[..., None].to(hot.dtype)).flatten(1)

    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        race = self._by_cell(field) - torch.empty_like(self._by_cell(field)).exponential_().log_()
        return torch.where(like == MISSING, like, race.argmax(2).to(like.dtype))

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        return (self._by_cell(field).softmax(2) * (like != MISSING)[..., None]).flatten(1)

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        return (self._by_cell(field).logsumexp(2) * (like != MISSING)).sum(1)

    def _by_cell(self, field: Tensor) -> Tensor:
        return field.unflatten(1, (-1, self.levels))


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
