"""Rows of named states as codes, and tables by counting them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from torch import Tensor

MOST_STATES = 256
"""Different values of a column beyond which it is taken for a measurement that has not been cut into bins."""
LARGEST_TABLE = 1 << 24
"""Entries of the largest table that is counted: 128 MiB."""


@dataclass(frozen=True)
class Columns:
    """N complete rows of V variables: `codes` [N, V] are places in each variable's `states`."""

    names: tuple[Hashable, ...]
    states: tuple[tuple[Any, ...], ...]
    codes: np.ndarray

    @property
    def cards(self) -> list[int]:
        return [len(states) for states in self.states]

    def counts(self, v: int, parents: Sequence[int] = ()) -> np.ndarray:
        """How many rows have each state of v (the last axis) under each of its parents' (flattened in front)."""
        place = np.zeros(len(self.codes), dtype=np.int64)
        for u in (*parents, v):
            place = place * len(self.states[u]) + self.codes[:, u]
        entries, size = self.entries(v, parents), len(self.states[v])
        return np.bincount(place, minlength=entries).reshape(-1, size)

    def entries(self, v: int, parents: Sequence[int] = ()) -> int:
        """The size of the table of v under these parents."""
        return math.prod(len(self.states[u]) for u in (v, *parents))


def read_columns(data: Any, names: Sequence[Hashable] | Mapping[Hashable, Sequence] | None = None) -> Columns:
    """A DataFrame of states, a column a variable; or codes [N, V] with the variables' `names`.

    The states of a categorical column are its categories, also those that no row has; of another column its
    different values, in order; of codes those that `names` maps each variable to, or 0 up to the largest seen.
    """
    if isinstance(data, pd.DataFrame):
        if names is not None:
            raise ValueError("names= are for codes; the columns of a DataFrame have names of their own")
        return _of_frame(data)
    if isinstance(data, Tensor):
        data = data.detach().cpu().numpy()
    if not isinstance(data, np.ndarray):
        raise TypeError(f"data must be a DataFrame of states or a tensor of codes, not a {type(data).__name__}")
    return _of_codes(data, names)


def _of_frame(frame: pd.DataFrame) -> Columns:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(f"the data has more than one column {twice[0]!r}")
    _check_size(frame.shape)
    missing = frame.isna()
    if missing.to_numpy().any():
        column = missing.columns[missing.any().to_numpy().argmax()]
        row, many = int(missing[column].to_numpy().argmax()), int(missing.to_numpy().sum())
        raise ValueError(
            f"row {row} lacks {column!r} ({many} of {frame.size} cells are missing), but a structure is learned from "
            "complete rows: give data.dropna(), then fit the tables to all rows with inference.em"
        )
    read = [_of_column(v, frame.iloc[:, i]) for i, v in enumerate(frame.columns)]
    return Columns(tuple(frame.columns), tuple(states for states, _ in read), np.stack([codes for _, codes in read], 1))


def _of_column(name: Hashable, column: pd.Series) -> tuple[tuple[Any, ...], np.ndarray]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        states, codes = column.cat.categories, column.cat.codes.to_numpy()
    else:
        codes, found = pd.factorize(column)
        states = pd.Index(found)
        order = _order(states)
        codes, states = np.argsort(order)[codes], states[order]
    fractions = pd.api.types.is_float_dtype(states.dtype) and bool((states % 1 != 0).any())
    if fractions or len(states) > MOST_STATES:
        raise ValueError(
            f"column {name!r} has {len(states)} different values and looks like a measurement, but states are "
            "expected: cut it into bins with pandas.cut, or make it a category, or leave it out"
        )
    return tuple(states.tolist()), codes.astype(np.int64)


def _order(values: pd.Index) -> np.ndarray:
    """Smallest first; values of kinds that can't be compared by how they are written."""
    try:
        return np.asarray(values.argsort())
    except TypeError:
        return np.asarray(pd.Index([str(value) for value in values]).argsort())


def _of_codes(codes: np.ndarray, names: Sequence[Hashable] | Mapping[Hashable, Sequence] | None) -> Columns:
    if codes.ndim != 2:
        raise ValueError(f"codes must be [rows, variables], but their shape is {list(codes.shape)}")
    _check_size(codes.shape)
    if names is None or isinstance(names, str) or len(names) != codes.shape[1] or len(set(names)) < len(names):
        raise ValueError(f"codes of {codes.shape[1]} variables need names=, {codes.shape[1]} different ones")
    if np.isnan(codes).any() or (codes < 0).any():
        row, v = np.argwhere(np.isnan(codes) | (codes < 0))[0]
        raise ValueError(
            f"row {row} has no code for {list(names)[v]!r} ({codes[row, v]:g}), but a structure is learned from "
            "complete rows: leave such rows out, then fit the tables to all rows with inference.em"
        )
    whole = codes.astype(np.int64)
    if (whole != codes).any():
        raise ValueError("codes must be whole numbers, places in a variable's states")
    states: list[Sequence] = [range(int(top) + 1) for top in whole.max(0)]
    if isinstance(names, Mapping):
        for v, (name, seen) in enumerate(zip(names, states, strict=True)):
            if len(seen) > len(names[name]):
                row = int(whole[:, v].argmax())
                raise ValueError(
                    f"row {row} has the code {whole[row, v]} for {name!r}, which has {len(names[name])} states"
                )
        states = list(names.values())
    return Columns(tuple(names), tuple(tuple(each) for each in states), whole)


def _check_size(shape: tuple[int, ...]) -> None:
    for count, what in zip(shape, ("rows", "columns"), strict=True):
        if not count:
            raise ValueError(f"the data has no {what}")


def counted(columns: Columns, edges: Sequence[tuple[int, int]], pseudo_count: float) -> Any:
    """A pgmpy network with these edges: P(v | parents) = (counts + pseudo_count) / their sum, uniform if unseen."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    names, cards = columns.names, columns.cards
    order = nx.DiGraph()
    order.add_nodes_from(range(len(names)))
    order.add_edges_from(edges)
    graph = DiscreteBayesianNetwork()
    graph.add_nodes_from(names)
    graph.add_edges_from((names[u], names[v]) for u, v in edges)
    for v, name in enumerate(names):
        parents = sorted(order.predecessors(v))
        size = columns.entries(v, parents)
        if size > LARGEST_TABLE:
            raise ValueError(
                f"{name!r} got {len(parents)} parents, so a table of {size:,} entries: "
                "allow fewer, by HillClimb(max_parents=...), or learn a tree"
            )
        counts = columns.counts(v, parents) + float(pseudo_count)
        counts[counts.sum(1) == 0] = 1.0
        graph.add_cpds(
            TabularCPD(
                name,
                cards[v],
                (counts / counts.sum(1, keepdims=True)).T,
                evidence=[names[u] for u in parents] or None,
                evidence_card=[cards[u] for u in parents] or None,
                state_names={names[u]: list(columns.states[u]) for u in (v, *parents)},
            )
        )
    return graph
