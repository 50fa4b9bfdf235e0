"""Ratings of films by users: MovieLens, from the folder of ZOO_DATA, and a simulation of tastes that needs no file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from zoo.datasets.files import at_hand

MISSING = -1
GENRES = ("western", "romance", "thriller", "comedy", "musical", "space opera")


@dataclass(frozen=True, eq=False)
class Ratings:
    """A table of users and films, its cells split: codes 0..levels-1 [users, films] where known in that split, else -1.

    Parameters:
        films: their names.
        scale: what each level means.
    """

    name: str
    films: tuple[str, ...]
    scale: tuple[float, ...]
    train: Tensor
    validation: Tensor
    test: Tensor

    @property
    def seen(self) -> Tensor:
        """The ratings of `train`, and the code `levels` where one is held out: rated, but not told how."""
        held_out = (self.validation != MISSING) | (self.test != MISSING)
        return torch.where(held_out, len(self.scale), self.train)

    def __repr__(self) -> str:
        splits = {name: int((getattr(self, name) != MISSING).sum()) for name in ("train", "validation", "test")}
        sizes = ", ".join(f"{count} {name}" for name, count in splits.items())
        return f"Ratings({self.name}: {len(self.train)} users, {len(self.films)} films; ratings: {sizes})"


def movielens(seed: int = 0) -> Ratings:
    """ml-latest-small: 100,836 ratings, from 0.5 to 5 by halves, by 610 users of 9,742 films of which 9,724 were rated.

    Of each user's ratings a tenth (rounded) is held out for validation and another for the test, by the seed. Films of
    the same name have their number in MovieLens behind it.
    """
    origin = "grouplens.org/datasets/movielens (ml-latest-small)"
    ratings, films = (_table(at_hand("movielens", f"{name}.csv", origin)) for name in ("ratings", "movies"))
    twice = films["title"].duplicated(keep=False)
    names = films["title"].where(~twice, films["title"] + " [" + films["movieId"].astype(str) + "]")
    table = torch.full((ratings["userId"].nunique(), len(films)), MISSING)
    column = pd.Series(range(len(films)), index=films["movieId"])
    rows = torch.tensor(pd.factorize(ratings["userId"], sort=True)[0])
    cells = torch.tensor(column[ratings["movieId"]].to_numpy())
    table[rows, cells] = torch.tensor((2 * ratings["rating"]).round().astype("int64").to_numpy()) - 1
    return split("movielens", tuple(names), tuple(level / 2 for level in range(1, 11)), table, seed)


def simulated_tastes(users: int = 400, films_each: int = 15, seed: int = 0) -> Ratings:
    """No one's ratings: a simulation of 1 to 5 stars by users who each like two of six genres, of films so named.

    A rating is 3.2 + the film's quality N(0, 0.5^2) + the user's mood N(0, 0.4^2) + 1 for a genre liked or - 0.7 for
    another + noise N(0, 0.6^2), rounded to 1..5. A user rates 45 % of the films of genres liked, and 12 % of others. A
    tenth of each user's ratings is held out for validation and another for the test.
    """
    random = torch.Generator().manual_seed(seed)
    films = tuple(f"{genre} {i + 1}" for genre in GENRES for i in range(films_each))
    genre = torch.arange(len(GENRES)).repeat_interleave(films_each)
    order = torch.rand(users, len(GENRES), generator=random).argsort(1)
    likes = (order < 2)[:, genre]
    quality, mood = (scale * torch.randn(n, generator=random) for scale, n in ((0.5, len(films)), (0.4, users)))
    noise = 0.6 * torch.randn(likes.shape, generator=random)
    stars = 3.2 + quality + mood[:, None] + torch.where(likes, 1.0, -0.7) + noise
    rated = torch.rand(likes.shape, generator=random) < torch.where(likes, 0.45, 0.12)
    table = torch.where(rated, stars.round().clamp(1, 5).long() - 1, MISSING)
    return split("simulated tastes", films, (1.0, 2.0, 3.0, 4.0, 5.0), table, seed)


def split(name: str, films: tuple[str, ...], scale: tuple[float, ...], table: Tensor, seed: int = 0) -> Ratings:
    """A table of codes with a tenth of each user's ratings, rounded, for validation, and another for the test."""
    rank = torch.rand(table.shape, generator=torch.Generator().manual_seed(seed))
    rank = rank.masked_fill(table == MISSING, 2.0).argsort(1).argsort(1)
    tenth = ((table != MISSING).sum(1, keepdim=True) / 10).round()
    none = torch.full_like(table, MISSING)
    known = Ratings(name, films, scale, table, none, none)
    return replace(
        known,
        train=torch.where(rank >= 2 * tenth, table, MISSING),
        validation=torch.where(rank < tenth, table, MISSING),
        test=torch.where((rank >= tenth) & (rank < 2 * tenth), table, MISSING),
    )


def _table(path: Path) -> pd.DataFrame:
    needed = {"ratings.csv": {"userId", "movieId", "rating"}, "movies.csv": {"movieId", "title"}}[path.name]
    found = pd.read_csv(path)
    if not needed <= set(found.columns):
        raise ValueError(f"{path} is not a table of MovieLens, with the columns {', '.join(sorted(needed))}")
    return found
