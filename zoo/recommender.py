"""Recommending by a restricted Boltzmann machine over ratings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoo.rbm import RBM
from zoo.visible_softmax import MISSING, SoftmaxUnits


class Recommender:
    """What users think of films that they have not rated, p(level | the user's known ratings), by an RBM of theirs.

    Exact, with the hidden units summed out: minus the free energy of the row with each level filled in.

    Shapes: x is [N, films], codes 0..levels-1, -1 where nothing is known and, with units of ratings, `levels` where a
    film is known to have been seen, but not what it was rated. `rows` makes them of ratings by name.

    Parameters:
        rbm: fitted, with visible units of kind "ratings" or "softmax".
        films: their names, in the order of the columns.
        scale: what each level means, such as (0.5, 1, ..., 5); unless told 1, 2, ....

    Reproducible: on MovieLens (ml-latest-small, `movielens(0)`) 50 hidden units have an RMSE of 0.873 on test ratings
    (seed 0, `benchmarks/implicit_tasks/films.py`), the films' means 0.972, biases of films and users 0.861.

    References:
        Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007),
        https://doi.org/10.1145/1273496.1273596
    """

    def __init__(self, rbm: RBM, films: Sequence[str], *, scale: Sequence[float] | None = None) -> None:
        if not isinstance(rbm.visible, SoftmaxUnits):
            raise TypeError('an RBM with visible units of kind "ratings" or "softmax" is expected')
        self.rbm, self.films, self.levels = rbm, tuple(films), rbm.visible.levels
        self.top = rbm.visible.support.upper_bound  # type: ignore[attr-defined]
        self.scale = tuple(range(1, self.levels + 1) if scale is None else scale)
        self.column = {name: i for i, name in enumerate(self.films)}
        if len(self.column) != rbm.features or len(self.films) != rbm.features:
            raise ValueError(f"{rbm.features} films, each with a name of its own, are expected, not {len(self.column)}")
        if len(self.scale) != self.levels:
            raise ValueError(f"scale must have a value for each of the {self.levels} levels, not {len(self.scale)}")

    def rows(self, *users: Mapping[str, float | None]) -> Tensor:
        """A row of codes of each user's ratings, {film: rating}; None for a film seen, but not rated."""
        x = torch.full((len(users), len(self.films)), MISSING, device=self.rbm.device)
        for row, ratings in zip(x, users, strict=True):
            for film, rating in ratings.items():
                if film not in self.column:
                    raise ValueError(f"there is no film {film!r}{self._near(film)}")
                row[self.column[film]] = self._code(film, rating)
        return x

    @torch.no_grad()
    def probabilities(self, x: Tensor, rows: Tensor, cells: Tensor) -> Tensor:
        """p(level | the row's known ratings) at x[rows, cells], [pairs, levels]; what is known is what it is."""
        self._check(x)
        machine = self.rbm.couplings
        found = machine.level_logits(x, rows, cells).softmax(1)  # type: ignore[attr-defined]
        codes = x[rows, cells].long()
        known = machine.told(codes)  # type: ignore[attr-defined]
        one = torch.nn.functional.one_hot(codes.where(known, 0), self.levels).to(found)
        return torch.where(known[:, None], one, found)

    def predict(self, x: Tensor) -> Tensor:
        """The expected rating of each film, [N, films], on the scale."""
        everything = torch.ones_like(x, dtype=torch.bool).nonzero(as_tuple=True)
        return self._expected(x, *everything).view(x.shape)

    def rmse(self, x: Tensor, held_out: Tensor) -> float:
        """The root of the mean squared error of expected ratings given the rows x, over the cells that are held out."""
        self._check(x, held_out)
        rows, cells = self.rbm.couplings.told(held_out).nonzero(as_tuple=True)  # type: ignore[attr-defined]
        truth = self._values(x.device)[held_out[rows, cells].long()]
        return float((self._expected(x, rows, cells) - truth).square().mean().sqrt())

    def recommend(self, x: Tensor, n: int = 10) -> list[list[tuple[str, float]]]:
        """For each user the n films, of those not seen, of the highest expected rating, and that rating."""
        self._check(x)
        empty = (x == MISSING).all(1).nonzero()
        if len(empty):
            raise ValueError(
                f"user {int(empty[0])} has no ratings to recommend by; ask popular(n), the best films for anyone"
            )
        return self._best(x, n)

    def popular(self, n: int = 10) -> list[tuple[str, float]]:
        """The n films of the highest expected rating by someone of whom nothing is known.

        No user like that was fitted: take their order from it rather than the ratings.
        """
        return self._best(self.rows({}), n)[0]

    def _best(self, x: Tensor, n: int) -> list[list[tuple[str, float]]]:
        expected = self.predict(x).masked_fill(x != MISSING, -math.inf)
        found = expected.sort(dim=1, descending=True, stable=True)
        return [
            [(self.films[i], value) for i, value in zip(places, values, strict=True) if value > -math.inf]
            for places, values in zip(found.indices[:, :n].tolist(), found.values[:, :n].tolist(), strict=True)
        ]

    def _expected(self, x: Tensor, rows: Tensor, cells: Tensor) -> Tensor:
        return self.probabilities(x, rows, cells) @ self._values(x.device)

    def _values(self, device: torch.device) -> Tensor:
        return torch.tensor(self.scale, dtype=self.rbm.dtype, device=device)

    def _code(self, film: str, rating: float | None) -> int:
        if rating is None and self.top == self.levels:
            return self.levels
        if rating not in self.scale:
            scale = ", ".join(f"{value:g}" for value in self.scale)
            raise ValueError(f"{film!r} is rated {rating!r}, which is not on the scale {scale}")
        return self.scale.index(rating)

    def _near(self, film: str) -> str:
        """The films whose names hold these words, as names end in years, or are otherwise near."""
        alike = [name for name in self.films if str(film).lower() in name.lower()][:3]
        alike = alike or difflib.get_close_matches(str(film), self.films, n=3, cutoff=0.5)
        return f"; did you mean {' or '.join(map(repr, alike))}?" if alike else f" among these {len(self.films)}"

    def _check(self, *tables: Tensor) -> None:
        for x in tables:
            self.rbm.check(x)
            wrong = ((x < MISSING) | (x > self.top)).nonzero()
            if len(wrong):
                user, column = wrong[0].tolist()
                raise ValueError(
                    f"user {user} rates {self.films[column]!r} with the code {x[user, column].item()}; "
                    f"the scale's codes are 0..{self.levels - 1}, and -1 where nothing is known"
                )
