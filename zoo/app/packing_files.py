"""Files of text and of rows, read into a model's codes and written back from them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.app.rows import numbers, read_csv
from zoo.datasets import Data
from zoo.registry import near

TEXT, COLUMNS, ARRAY = "t", "c", "a"
"""A note's keys: a text's vocabulary, as a checksum; a table's columns; an array's dtype and the shape of its rows."""


@dataclass(frozen=True)
class Rows:
    """Rows as a model takes them, the last of which may lack numbers; the note holds what else the file was."""

    x: Tensor
    note: dict[str, Any]
    absent: int = 0
    plain: bytes = b""
    """The same data as other compressors are given it."""


# ---- reading


def held_out(name: str, data: Data | None) -> Rows:
    """The held-out rows of the run's own data, in its view."""
    if data is None or name != data.name:
        own = "" if data is None else f", or {data.name!r}, the run's own data"
        raise ValueError(f"{name!r} is no data to pack: a .txt, .csv or .npy file was expected{own}")
    x = data.test.x
    if data.vocabulary is None:
        return Rows(x, {}, plain=_plain(x))
    return Rows(x, {TEXT: _mark(data.vocabulary)}, plain=data.text(x).encode())


def read_text(path: Path, model: Any, data: Data | None) -> Rows:
    """A text in rows of the model's length, the last one filled up."""
    if data is None or data.vocabulary is None:
        raise ValueError(f"{path} is a text, but the run was not fitted to one: give a .csv or .npy file of codes")
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {str(path)!r}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None
    if not text:
        raise ValueError(f"{path} is empty")
    code = {character: index for index, character in enumerate(data.vocabulary)}
    for place, character in enumerate(text):
        if character not in code:
            line = text.count("\n", 0, place) + 1
            raise ValueError(
                f"{path}: line {line} has the character {character!r}, which is not in the vocabulary of "
                f"{data.name}, the data that the run was fitted to"
            )
    absent = -len(text) % model.features
    x = torch.tensor([code[character] for character in text] + [0] * absent).reshape(-1, *model.event_shape)
    return Rows(x, {TEXT: _mark(data.vocabulary)}, absent, raw)


def read_rows(path: Path, model: Any, data: Data | None) -> Rows:
    """A CSV file of codes, or of the names of a network's states."""
    if hasattr(model, "encode_frame"):
        frame = _whole(path, read_csv(str(path), dtype=str, keep_default_na=False))
        x = _by_name(path, model, frame)
    else:
        frame = _whole(path, read_csv(str(path)))
        if frame.shape[1] != model.features:
            raise ValueError(f"{path} has {frame.shape[1]} columns, but the model's rows have {model.features} numbers")
        x = numbers(frame, str(path)).reshape(-1, *model.event_shape)
    usual = {name: place for place, name in enumerate(_columns(model))}
    columns = [usual.get(str(name), str(name)) for name in frame.columns]
    return Rows(x, {} if columns == [*range(len(usual))] else {COLUMNS: columns}, plain=_plain(x))


def _whole(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(frame.index, pd.RangeIndex):  # pandas has made an index of the first cells
        raise ValueError(f"{path} has rows with more cells than there are columns")
    return frame


def _by_name(path: Path, model: Any, frame: pd.DataFrame) -> Tensor:
    named = {str(variable): variable for variable in model.variables}
    for name in frame.columns:
        if name not in named:
            raise ValueError(f"{path} has a column {name!r}, but the network no such variable{near(name, named)}")
    found = {}
    for name, column in frame.items():
        states = {str(state): state for state in model.states[named[str(name)]]}
        found[named[str(name)]] = column.map(lambda text, states=states: states.get(text, text)).astype(object)
    try:
        return model.encode_frame(pd.DataFrame(found))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_array(path: Path, model: Any, data: Data | None) -> Rows:
    """A .npy file of codes, [N, *event_shape] or each row flat."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {str(path)!r}") from None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers: {error}") from None
    shape = tuple(model.event_shape)
    if array.ndim < 1 or array.shape[1:] not in (shape, (model.features,)):
        raise ValueError(f"{path} holds an array {list(array.shape)}, but rows of {list(shape)} were expected")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds {array.dtype}, but numbers were expected")
    wide = np.float64 if array.dtype.kind == "f" else np.int64
    x = torch.from_numpy(np.ascontiguousarray(array).astype(wide)).reshape(-1, *shape)
    return Rows(x, {ARRAY: [array.dtype.str, *array.shape[1:]]}, plain=_plain(x))


READERS: dict[str, Callable[[Path, Any, Data | None], Rows]] = {
    ".txt": read_text,
    ".csv": read_rows,
    ".npy": read_array,
}


# ---- writing


@dataclass(frozen=True)
class Writer:
    """One kind of file: what refuses rows that can't be written so, before they are decoded, and what writes."""

    check: Callable[[Data | None, int, dict], None]
    write: Callable[[Path, Rows, Any, Data | None], None]


def _check_text(data: Data | None, absent: int, note: dict) -> None:
    if data is None or data.vocabulary is None:
        raise ValueError("what was packed is no text: give --out a .csv or a .npy file")
    if note[TEXT] != _mark(data.vocabulary):
        raise ValueError(
            f"the text was packed in another vocabulary than that of {data.name} here "
            "(that of pydoc_topics depends on the version of Python)"
        )


def _check_rows(data: Data | None, absent: int, note: dict) -> None:
    if absent:
        raise ValueError("what was packed is a text that does not fill its last row: give --out a .txt file")


def _write_text(path: Path, rows: Rows, model: Any, data: Data | None) -> None:
    assert data is not None
    flat = rows.x.flatten()
    path.write_bytes(data.text(flat[: len(flat) - rows.absent]).encode())


def _write_rows(path: Path, rows: Rows, model: Any, data: Data | None) -> None:
    usual = _columns(model)
    columns = [usual[name] if isinstance(name, int) else name for name in rows.note.get(COLUMNS, usual)]
    if hasattr(model, "decode"):
        frame = model.decode(rows.x)
        frame.columns = [str(name) for name in frame.columns]
        frame = frame[columns]
    else:
        frame = pd.DataFrame(rows.x.flatten(1).long().numpy(), columns=columns)
    frame.to_csv(path, index=False)


def _write_array(path: Path, rows: Rows, model: Any, data: Data | None) -> None:
    array = rows.x.numpy()
    if ARRAY in rows.note:
        dtype, *shape = rows.note[ARRAY]
        array = array.reshape(-1, *shape).astype(dtype)
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


WRITERS = {
    ".txt": Writer(_check_text, _write_text),
    ".csv": Writer(_check_rows, _write_rows),
    ".npy": Writer(_check_rows, _write_array),
}


def _columns(model: Any) -> list[str]:
    """What columns are called where the file does not say otherwise."""
    if hasattr(model, "variables"):
        return [str(variable) for variable in model.variables]
    return [f"x{i}" for i in range(model.features)]


def _mark(vocabulary: tuple[str, ...]) -> int:
    return zlib.crc32("".join(vocabulary).encode())


def _plain(x: Tensor) -> bytes:
    """Codes a byte each, or as few as hold them."""
    codes = x.long().numpy()
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0)))).tobytes()
