"""Edge lists in files: two labels a line, and perhaps a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.spread.edge_lists import Listed


def read(path: str | Path, directed: bool) -> Listed:
    """The edges of a file.

    Raises:
        ValueError: a line that is no edge; the line is named.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    skipped, first = _head(path)
    separator = "," if "," in first else r"\s+"
    columns = len(_fields(first, separator))
    if columns not in (2, 3):
        raise ValueError(f"{path} line {skipped + 1} is {first!r}: an edge is two labels, and perhaps a weight")
    try:
        table = pd.read_csv(
            path, sep=separator, header=None, skiprows=skipped, skipinitialspace=True, keep_default_na=False,
            na_values={0: [""], 1: [""], 2: [""]}, low_memory=False,
        )  # fmt: skip
        if _sound(table, columns):
            return _of_table(table, directed)
    except (pd.errors.ParserError, ValueError):
        pass
    raise ValueError(f"{path} {_wrong(path, separator, columns)}")


def _head(path: Path) -> tuple[int, str]:
    """How many lines come before the first edge, and that edge's line."""
    for number, line in _lines(path):
        return number - 1, line
    raise ValueError(f"{path} has no edges in it")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines from the first edge on, without blank ones."""
    begun = False
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            begun = begun or bool(line.strip() and line.lstrip()[0] not in "#%")
            if begun and line.strip():
                yield number, line.strip()


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip() for field in line.split(",")] if separator == "," else line.split()


def _sound(table: pd.DataFrame, columns: int) -> bool:
    """Whether each line has its fields, both labels are of one kind, and weights are numbers."""
    kinds = [table[column].dtype.kind for column in table.columns]
    if len(kinds) != columns or table.isna().to_numpy().any() or (columns == 3 and kinds[2] not in "if"):
        return False
    if kinds[:2] == ["i", "i"]:
        return True
    return not any(_whole(label) for column in (0, 1) for label in pd.unique(table[column]))


def _whole(label: Any) -> bool:
    return str(label).strip().lstrip("-").isdigit()


def _of_table(table: pd.DataFrame, directed: bool) -> Listed:
    ends = table[[0, 1]].to_numpy()
    weights = table[2].to_numpy(np.float64) if len(table.columns) == 3 else None
    return Listed(ends, None, weights, directed)


def _wrong(path: Path, separator: str, columns: int) -> str:
    """What is wrong with the first line that is wrong, read slowly."""
    numbered = [(number, _fields(line, separator)) for number, line in _lines(path)]
    for number, fields in numbered:
        if len(fields) != columns or "" in fields:
            return f"line {number} ({' '.join(fields)!r}) is no edge: the first line has {columns} fields"
    whole = [all(_whole(label) for label in fields[:2]) for _, fields in numbered]
    mostly = 2 * sum(whole) >= len(whole)
    for (number, fields), is_whole in zip(numbered, whole, strict=True):
        told = f"line {number} ({' '.join(fields)!r})"
        if is_whole != mostly or (not mostly and any(_whole(label) for label in fields[:2])):
            kinds = ("text", "whole numbers") if mostly else ("a number", "names")
            return f"{told} has {kinds[0]} where other lines have {kinds[1]} (a heading begins with #)"
        if columns == 3 and not _number(fields[2]):
            return f"{told} has a weight that is not a number"
    return "has labels that are neither names nor whole numbers of 64 bits"


def _number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
