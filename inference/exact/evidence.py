"""What is known of each row, as codes and likelihoods."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from inference.near import near

MISSING = -1
"""The code of a value that is not known."""


@dataclass(frozen=True)
class Evidence:
    """N rows of evidence by position of the variables.

    `codes[v]` are states [N], -1 where the value is not known; `likelihoods[v]` are P(what was seen | v), up to
    a constant a row, [N, states]; `joint[u, v, ...]` are P(what was seen | u, v, ...), [N, *states].
    """

    rows: int
    codes: Mapping[int, Tensor] = field(default_factory=dict)
    likelihoods: Mapping[int, Tensor] = field(default_factory=dict)
    index: Any = None
    joint: Mapping[tuple[int, ...], Tensor] = field(default_factory=dict)

    def take(self, rows: Tensor) -> Evidence:
        """Some of the rows."""
        codes = {v: column[rows] for v, column in self.codes.items()}
        likelihoods = {v: each[rows] for v, each in self.likelihoods.items()}
        return Evidence(len(rows), codes, likelihoods, None, {scope: each[rows] for scope, each in self.joint.items()})

    @cached_property
    def matrix(self) -> Tensor:
        """All codes, [variables with codes, N], by increasing position."""
        columns = [self.codes[v] for v in sorted(self.codes)]
        return torch.stack(columns) if columns else torch.empty(0, self.rows, dtype=torch.long)

    @cached_property
    def partly(self) -> frozenset[int]:
        """The variables with codes whose state is not known in some rows."""
        least = self.matrix.amin(1).tolist() if len(self.codes) else []
        return frozenset(v for v, code in zip(sorted(self.codes), least, strict=True) if code == MISSING)

    @property
    def wholly(self) -> frozenset[int]:
        """The variables whose state is known in every row."""
        return frozenset(self.codes) - self.partly

    @property
    def known(self) -> tuple[int, ...]:
        return tuple(sorted({*self.codes, *self.likelihoods, *(v for scope in self.joint for v in scope)}))


def read_evidence(
    variables: Sequence[Hashable], states: Mapping[Hashable, Sequence], given: Any, where: str = "given"
) -> Evidence:
    """Evidence as users write it.

    `given` maps variables to a state's name, to N states or codes (a missing one is NaN, None or -1), or to
    likelihoods, floats [N, states]; or it is a DataFrame of states, a column a variable; or None.
    """
    if isinstance(given, Evidence):
        return given
    if given is None:
        return Evidence(1)
    if not isinstance(given, Mapping | pd.DataFrame):
        raise TypeError(f"{where} must map variables to states, or be a DataFrame, not a {type(given).__name__}")
    if isinstance(given, pd.DataFrame) and not len(given):
        raise ValueError(f"{where} has no rows")
    place = {v: i for i, v in enumerate(variables)}
    codes, likelihoods = {}, {}
    for v in given:
        if v not in place:
            if isinstance(given, pd.DataFrame):
                raise ValueError(f"{where} has a column {v!r}, but the network no such variable{near(v, place)}")
            raise ValueError(f"{where}: the network has no variable {v!r}{near(v, place)}")
        value = given[v]
        if _is_likelihood(value):
            likelihoods[place[v]] = _likelihood(v, value, len(states[v]), where)
        else:
            codes[place[v]] = _codes(v, value, states[v], where)
    rows = _rows(variables, {**codes, **likelihoods}, where)
    index = given.index if isinstance(given, pd.DataFrame) else None
    return Evidence(
        rows,
        {v: column.expand(rows) for v, column in codes.items()},
        {v: each.expand(rows, -1) for v, each in likelihoods.items()},
        index,
    )


def _rows(variables: Sequence[Hashable], parts: Mapping[int, Tensor], where: str) -> int:
    lengths = {variables[v]: len(part) for v, part in parts.items() if len(part) != 1}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{v!r} {n}" for v, n in list(lengths.items())[:4])
        raise ValueError(f"{where}: variables have different numbers of rows: {told}")
    if 0 in lengths.values():
        raise ValueError(f"{where} has no rows")
    return next(iter(lengths.values()), 1)


def _is_likelihood(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 2


def _likelihood(v: Hashable, value: Any, count: int, where: str) -> Tensor:
    each = torch.as_tensor(np.asarray(value, dtype=np.float64) if not isinstance(value, Tensor) else value)
    if each.shape[1] != count:
        raise ValueError(f"{where}: {v!r} has {count} states, but likelihoods for {each.shape[1]}")
    if not torch.isfinite(each).all() or (each < 0).any():
        raise ValueError(f"{where}: the likelihoods of {v!r} must be finite and not below 0")
    return each


def _codes(v: Hashable, value: Any, states: Sequence, where: str) -> Tensor:
    """A tensor holds codes; anything else states by name, or codes where names are not numbers."""
    if isinstance(value, Tensor) and value.dim() <= 1:
        return _checked(v, value.reshape(-1), states, where)
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray | pd.Series | pd.Index):
        return torch.tensor([state_code(v, value, states, where)])
    column = pd.Series(value).reset_index(drop=True)
    if isinstance(column.dtype, pd.CategoricalDtype):
        table = [state_code(v, name, states, where) for name in column.cat.categories]
        known = np.array([*table, MISSING])
        return torch.from_numpy(known[column.cat.codes.to_numpy()])
    # factorize meets each different value once: a million rows have as few as a network has states
    places, values = pd.factorize(column, use_na_sentinel=True)
    known = np.array([*(_code_in_column(v, each, states, where) for each in values), MISSING])
    return torch.from_numpy(known[places])


def _checked(v: Hashable, codes: Tensor, states: Sequence, where: str) -> Tensor:
    if codes.is_floating_point() or codes.dtype == torch.bool:
        raise TypeError(f"{where}: the tensor for {v!r} must hold whole numbers, codes of states, not {codes.dtype}")
    least, greatest = torch.aminmax(codes) if len(codes) else (codes.new_tensor(0), codes.new_tensor(0))
    if least < MISSING or greatest >= len(states):
        bad = (codes >= len(states)) | (codes < MISSING)
        row = int(bad.nonzero()[0])
        raise ValueError(f"{where}: row {row} has the code {int(codes[row])} for {v!r}, which has {len(states)} states")
    return codes.long()


def _code_in_column(v: Hashable, value: Any, states: Sequence, where: str) -> int:
    """As `state_code`; -1 says that a value is missing where it is no state's name."""
    is_missing = isinstance(value, int | np.integer) and value == MISSING and str(MISSING) not in map(str, states)
    return MISSING if is_missing else state_code(v, value, states, where)


def state_code(v: Hashable, value: Any, states: Sequence, where: str = "given") -> int:
    """The code of a state given by its name or its code; -1 for one that is missing."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return MISSING
    for code, name in enumerate(states):
        # True == 1 in Python, yet neither stands for the other here
        if isinstance(value, Hashable) and name == value and _is_bool(name) == _is_bool(value):
            return code
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)  # a column of whole numbers with gaps is read as floats
    text = [str(name) for name in states]
    if not _is_bool(value) and str(value) in text:  # a state read from a file as "1"
        return text.index(str(value))
    # where states are named by whole numbers, a code would be ambiguous
    is_code = isinstance(value, int | np.integer) and not _is_bool(value) and 0 <= value < len(states)
    if is_code and not any(name.isdigit() for name in text):
        return operator.index(value)
    raise ValueError(f"{where}: {v!r} has no state {value!r}{near(value, states)}")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)
