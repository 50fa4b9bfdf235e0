"""Visible units that are ratings: films that were rated tell something of who rated them, whatever the rating."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.visible_softmax import MISSING, Codes, SoftmaxUnits
from zoo.visible_units import Couplings


@dataclass(frozen=True)
class Ratings(Codes):
    """-E(x, h) = sum_told (b + W h) at the level x_i + sum_rated D_i h + c h; a cell's last row of weights is D_i."""

    def told(self, x: Tensor) -> Tensor:
        return (x != MISSING) & (x != self.levels)

    @property
    def width(self) -> int:
        return self.levels + 1

    def entries(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows, cells = (x != MISSING).nonzero(as_tuple=True)
        told, which = super().entries(x)
        return torch.cat((told, rows)), torch.cat((which, cells * self.width + self.levels))

    def added(self, before: Tensor, cells: Tensor) -> Tensor:
        weights = self._cells(self.weights)[cells]
        return weights[:, :-1] + weights[:, -1:] * (before == MISSING)[:, None, None]

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        levels = super().expected(field, like).unflatten(1, (-1, self.levels))
        return torch.cat((levels, (like != MISSING).to(levels)[..., None]), 2).flatten(1)

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        pull = field.unflatten(1, (-1, self.width))[..., -1]
        return super().log_normaliser(field, like) + (pull * (like != MISSING)).sum(1)


class RatingUnits(SoftmaxUnits):
    """Codes 0..levels-1 as those of `SoftmaxUnits`, -1 where nothing is known, and `levels`: rated, but not told how.

    Which films a user rated shifts the hidden biases, by D [films, hidden]: the conditional RBM. Given which were
    rated, it is a distribution of the ratings told. A film begins as if it had also been rated `prior` times, as all
    are: one that nobody rated has the levels' shares among all ratings. Its couplings are W_i + common sum_m W_m /
    sqrt(films), so that weight decay draws them to those of the average film, by which generous users are told.

    Parameters:
        levels: how many; x is of 0..levels, and -1.
        prior: how many ratings of the average film each film is given beside its own.
        common: how fast what films have in common is learned, beside what is a film's own.

    References:
        Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007),
        https://doi.org/10.1145/1273496.1273596
    """

    told_by_cell = False

    def __init__(self, features: int, levels: int, prior: float = 5.0, common: float = 0.1) -> None:
        super().__init__(features, levels)
        if not prior > 0:
            raise ValueError(f"prior must be a positive number of ratings, not {prior!r}")
        if not common >= 0:
            raise ValueError(f"common must be a number of at least 0, not {common!r}")
        self.prior, self.cell = prior, (levels + 1,)
        self.common = common / math.sqrt(features)
        self.support = constraints.integer_interval(0, levels)  # type: ignore[misc]

    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Ratings:
        return Ratings(self._pooled(weights), visible_bias, hidden_bias, self.levels)

    def pull_back(self, natural: dict[str, Tensor], machine: Couplings) -> list[Tensor]:
        return super().pull_back(natural | {"weights": self._pooled(natural["weights"])}, machine)

    def _pooled(self, weights: Tensor) -> Tensor:
        """Each film's, and by level a share of their sum: a symmetric map, so that it takes gradients back, too."""
        films = weights.unflatten(0, (self.features, -1))
        by_level = films[:, :-1].sum(0)  # not D, of which each user has a sum as long as a list of films
        return (films + self.common * F.pad(by_level, (0, 0, 0, 1))).flatten(0, 1)

    def resting(self) -> Tensor:
        return F.pad(torch.full((self.features, self.levels), 1 / self.levels), (0, 1), value=1.0).flatten()

    def means(self, x: Tensor) -> Tensor:
        rows, cells = ((x != MISSING) & (x != self.levels)).nonzero(as_tuple=True)
        places = cells * self.levels + x[rows, cells].long()
        counts = torch.bincount(places, minlength=self.features * self.levels).view(self.features, self.levels)
        shares = (counts.sum(0) + 1) / (counts.sum() + self.levels)
        means = (counts + self.prior * shares) / (counts.sum(1, keepdim=True) + self.prior)
        return F.pad(means, (0, 1), value=1.0).flatten()

    def form(self, x: Tensor) -> Tensor:
        return (x == MISSING).long() + 2 * (x == self.levels)
