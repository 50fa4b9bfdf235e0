"""Blocks of rows written one after the other: to a .csv or .parquet file, whole or not there, or to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.app.files import beside

Write = Callable[[pd.DataFrame], None]


def check_parquet(out: Path | None) -> None:
    if out is not None and out.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(f"--out {out} needs the extra: pip install 'pyro-zoo[parquet]'; or write a .csv file")


@contextmanager
def writer(out: Path | None) -> Iterator[Write]:
    if out is None:
        yield _as_text(sys.stdout)
        return
    with beside(out) as draft:
        if out.suffix.lower() == ".csv":
            with draft.open("w", newline="", encoding="utf-8") as file:
                yield _as_text(file)
        else:
            with _parquet(draft) as write:
                yield write


def _as_text(file: Any) -> Write:
    first = [True]

    def write(frame: pd.DataFrame) -> None:
        frame.to_csv(file, index=False, header=first.pop() if first else False, float_format="%.10g")

    return write


@contextmanager
def _parquet(draft: Path) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    writers: list[Any] = []

    def write(frame: pd.DataFrame) -> None:
        fields = [
            (name, pyarrow.float64() if pd.api.types.is_float_dtype(column) else pyarrow.string())
            for name, column in frame.items()
        ]
        table = pyarrow.Table.from_pandas(frame, schema=pyarrow.schema(fields), preserve_index=False)
        if not writers:
            writers.append(pyarrow.parquet.ParquetWriter(draft, table.schema))
        writers[0].write_table(table)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
