"""Rows of a table with columns of several kinds, as numbers that networks can read and write.

References:
    Modeling Tabular Data using Conditional GAN (Xu et al., 2019), https://arxiv.org/abs/1907.00503, section 4.2
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.wiring import near

KINDS = ("real", "whole")
REACH = 4.0
"""Standard deviations of a mode that are one unit of the number within it."""
LEAST_WEIGHT = 0.005
"""A mode that holds less of a column is dropped."""
MOST_ROWS = 10_000
"""Rows that the modes are found in."""

Column = str | int | Sequence[Any]
"""A column of a table: "real" or "whole" numbers, or its states, their names or how many there are."""


class Table:
    """Which columns a table has: `names`, in the order of a row, and the `states` of each that is not a number."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        if not columns:
            raise ValueError("a table has at least one column")
        self.names = [str(name) for name in columns]
        self.states: dict[str, list[Any]] = {}
        self.whole = [name for name, kind in columns.items() if kind == "whole"]
        for name, kind in columns.items():
            if isinstance(kind, str):
                if kind not in KINDS:
                    expected = f"'real', 'whole' or its states were expected{near(kind, KINDS)}"
                    raise ValueError(f"column {name!r} is {kind!r}, but {expected}")
                continue
            states = list(range(kind)) if isinstance(kind, int) else list(kind)
            if len(states) < 2 or len(set(states)) < len(states):
                raise ValueError(f"column {name!r} needs two or more different states, not {states}")
            self.states[str(name)] = states
        self.numbers = [i for i, name in enumerate(self.names) if name not in self.states]
        self.codes = [i for i, name in enumerate(self.names) if name in self.states]

    def check(self, x: Tensor) -> None:
        """Refuse codes that a column has no state for."""
        for i in self.codes:
            name, column = self.names[i], x[:, i]
            last = len(self.states[name]) - 1
            bad = (column != column.round()) | (column < 0) | (column > last)
            if bad.any():
                row = int(bad.nonzero()[0])
                raise ValueError(f"row {row} has {column[row].item():g} for {name!r}, whose codes are 0 to {last}")

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Rows [N, columns] of a frame; columns of it that the table has not are left out."""
        missing = [name for name in self.names if name not in frame]
        if missing:
            raise ValueError(f"the data has no column {missing[0]!r}{near(missing[0], frame.columns)}")
        return torch.from_numpy(np.stack([self._column(name, frame[name]) for name in self.names], 1))

    def _column(self, name: str, column: pd.Series) -> np.ndarray:
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax())
            raise ValueError(f"row {row} lacks {name!r}: drop the row or fill the value in first")
        if name not in self.states:
            if not pd.api.types.is_numeric_dtype(column):
                raise TypeError(f"column {name!r} is not numeric: give the table its states")
            return column.to_numpy(dtype=np.float64)
        codes = pd.Index(self.states[name], dtype=object).get_indexer(pd.Index(column, dtype=object))
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            value = column.iloc[row]
            raise ValueError(f"row {row}: {name!r} has no state {value!r}{near(value, self.states[name])}")
        return codes.astype(np.float64)

    def decode(self, x: Tensor) -> pd.DataFrame:
        """Rows as a frame, as `encode` reads them."""
        self.check(x)
        rows, found = x.detach().cpu().numpy(), {}
        for i, name in enumerate(self.names):
            if name in self.states:
                found[name] = pd.Categorical.from_codes(rows[:, i].astype(np.int64), self.states[name])
            else:
                found[name] = rows[:, i].astype(np.int64) if name in self.whole else rows[:, i]
        return pd.DataFrame(found)


def columns_of(frame: pd.DataFrame) -> dict[str, Column]:
    """What each column of a frame is, by its type: categories, text and truth values are states."""
    found: dict[str, Column] = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            found[str(name)] = column.cat.categories.tolist()
        elif pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            found[str(name)] = sorted(column.dropna().unique().tolist(), key=str)
        else:
            found[str(name)] = "whole" if pd.api.types.is_integer_dtype(column) else "real"
    return found


class TableCode(nn.Module):
    """Rows of a table as numbers that are all of about one size, and back: mode-specific normalisation.

    A number x of a column becomes (x - m_k) / (4 s_k), held to [-1, 1], and the choice k as a one-hot, where the modes
    m_k +- s_k are a mixture of normals of that column and k is drawn by how likely x is of each. A state becomes a
    one-hot. Shapes: rows are [N, columns], coded rows [N, width]: the numbers, their modes, then the states.
    """

    loc: Tensor
    scale: Tensor
    log_weight: Tensor
    started: Tensor

    def __init__(self, table: Table, modes: int) -> None:
        super().__init__()
        if modes < 1:
            raise ValueError(f"modes must be at least 1, not {modes}")
        self.table, self.modes = table, modes
        shape = (len(table.numbers), modes)
        self.register_buffer("loc", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("log_weight", torch.full(shape, -torch.inf).index_fill_(1, torch.tensor([0]), 0.0))
        self.register_buffer("started", torch.tensor(False))
        self.sizes = [len(states) for states in table.states.values()]
        self.choices = shape[0] * modes + sum(self.sizes)
        self.width = shape[0] + self.choices

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Find the modes of each column of numbers, once."""
        if self.started:
            return
        some = x[:: -(-len(x) // MOST_ROWS)].double().cpu().numpy()
        for place, i in enumerate(self.table.numbers):
            name, column = self.table.names[i], some[:, i]
            if not column.std() > 1e-12 * np.abs(column).max():
                raise ValueError(
                    f"column {name!r} is constant ({column[0]:g}): leave it out, there is nothing to learn of it"
                )
            for buffer, values in zip(
                (self.loc, self.scale, self.log_weight), modes_of(column, self.modes), strict=True
            ):
                buffer[place] = torch.from_numpy(values).to(buffer)
        self.started.fill_(True)

    def encode(self, x: Tensor) -> Tensor:
        """Coded rows; which mode a number is coded by is drawn."""
        numbers = x[:, self.table.numbers].unsqueeze(-1)
        within = (numbers - self.loc) / self.scale
        chances = self.log_weight - self.scale.log() - 0.5 * within.square()
        choice = (chances + gumbel(chances)).argmax(-1, keepdim=True)
        near_mode = (within.gather(-1, choice).squeeze(-1) / REACH).clamp(-1, 1)
        one_hot = torch.zeros_like(chances).scatter_(-1, choice, 1.0)
        codes = x[:, self.table.codes].long().unbind(1)
        states = [F.one_hot(code, size).to(x.dtype) for code, size in zip(codes, self.sizes, strict=True)]
        return torch.cat([near_mode, one_hot.flatten(1), *states], 1)

    def choose(self, written: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Coded rows of what a network wrote, [N, width], choices relaxed: softmax((logits + Gumbel noise) / t)."""
        modes, states = self._logits(written, noise)
        parts = [(modes / temperature).softmax(-1).flatten(1), *((each / temperature).softmax(-1) for each in states)]
        return torch.cat([self._numbers(written), *parts], 1)

    def decode(self, written: Tensor, noise: Tensor) -> Tensor:
        """Rows of what a network wrote, each choice the one that `choose` nears as its temperature falls."""
        modes, states = self._logits(written, noise)
        choice = modes.argmax(-1, keepdim=True)
        loc, scale = (each.expand_as(modes).gather(-1, choice).squeeze(-1) for each in (self.loc, self.scale))
        x = written.new_empty(len(written), len(self.table.names))
        x[:, self.table.numbers] = loc + REACH * scale * self._numbers(written)
        for i, each in zip(self.table.codes, states, strict=True):
            x[:, i] = each.argmax(-1).to(x.dtype)
        for name in self.table.whole:
            i = self.table.names.index(name)
            x[:, i] = x[:, i].round()
        return x

    def _numbers(self, written: Tensor) -> Tensor:
        return written[:, : len(self.table.numbers)].tanh()

    def _logits(self, written: Tensor, noise: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits with their noise, [N, numbers, modes] and [N, states] of each column of states."""
        logits = written[:, len(self.table.numbers) :] + noise
        modes, *states = logits.split([self.loc.numel(), *self.sizes], 1)
        unused = self.log_weight.isinf()
        return modes.unflatten(1, self.loc.shape).masked_fill(unused, -torch.inf), states


def gumbel(like: Tensor) -> Tensor:
    """Standard Gumbel noise, of this shape: the largest of logits with it is a draw by their softmax."""
    return -torch.empty_like(like).exponential_().clamp_(min=torch.finfo(like.dtype).tiny).log()


def modes_of(column: np.ndarray, modes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, standard deviations and log weights of the modes of a column, each [modes]; -inf where one is not used."""
    centre, unit = column.mean(), column.std()
    mixture = BayesianGaussianMixture(
        n_components=min(modes, len(np.unique(column))), weight_concentration_prior=1e-3, random_state=0, max_iter=200
    )
    with warnings.catch_warnings():  # nearly converged will do
        warnings.simplefilter("ignore")
        mixture.fit(((column - centre) / unit)[:, None])
    used = mixture.weights_ >= LEAST_WEIGHT
    found = np.zeros(modes), np.ones(modes), np.full(modes, -np.inf)
    place = np.flatnonzero(used)
    found[0][: len(place)] = centre + unit * mixture.means_[used, 0]
    found[1][: len(place)] = unit * np.sqrt(mixture.covariances_[used, 0, 0])
    found[2][: len(place)] = np.log(mixture.weights_[used] / mixture.weights_[used].sum())
    return found
