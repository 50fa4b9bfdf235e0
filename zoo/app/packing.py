"""Data packed by a run's model, and given back: what `zoo compress` and `zoo decompress` do."""

from __future__ import annotations

import gzip
import json
import lzma
import math
import zlib
from pathlib import Path
from typing import Any

from inference.asking import asking
from inference.compression import check_codable, check_own, compress, decompress
from inference.packed import unpack
from zoo.app.asking import task_of
from zoo.app.files import beside
from zoo.app.packing_files import READERS, TEXT, WRITERS, Rows, held_out
from zoo.app.runs import load, read_spec
from zoo.datasets import Data

BLOCK = 1024


def compress_file(folder: Path, source: str, out: Path) -> str:
    """Pack a file, or the held-out rows of the run's data; a few lines on how short it got."""
    model, data = _loaded(folder)
    check_codable(model)
    if model.context_shape is not None:
        raise ValueError(f"{folder} is conditional on a context, which no file holds: use inference.compress in Python")
    reader = READERS.get(Path(source).suffix.lower())
    rows = reader(Path(source), model, data) if reader else held_out(source, data)
    packed = compress(model, rows.x, absent=rows.absent, note=_note(rows.note), block=BLOCK)
    with beside(out) as draft:
        draft.write_bytes(packed)
    return _summary(rows, len(packed), own_bits(model, rows))


def decompress_file(folder: Path, source: Path, out: Path) -> str:
    """Give back what was packed, as a file of the ending asked for."""
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {str(source)!r}")
    packed = source.read_bytes()
    try:
        header, _ = unpack(packed)
        check_own(load(folder), header)
        note = _read_note(header.note)
        model, data = _loaded(folder) if TEXT in note else (load(folder), None)
        writer = WRITERS[out.suffix.lower()]
        writer.check(data, header.absent, note)
        x = decompress(model, packed)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    with beside(out) as draft:
        writer.write(draft, Rows(x, note, header.absent), model, data)
    return f"{_many(x.numel() - header.absent, note)}: {out}"


def own_bits(model: Any, rows: Rows) -> float:
    """What the model's likelihood of the rows comes to, in bits, without what is absent."""
    nats = 0.0
    with asking(model, 0):
        for start in range(0, len(rows.x), BLOCK):
            part = rows.x[start : start + BLOCK]
            steps = model.step_log_prob(part).double().flatten()
            last = start + BLOCK >= len(rows.x)
            nats -= float(steps[: len(steps) - rows.absent * last].sum())
    return nats / math.log(2)


def _loaded(folder: Path) -> tuple[Any, Data | None]:
    if "data" not in read_spec(folder):
        return load(folder), None
    task = task_of(folder)
    return task.model, task.data


def _note(note: dict[str, Any]) -> bytes:
    """A table in as few bytes as it takes; none of an empty one."""
    plain = json.dumps(note, separators=(",", ":"), ensure_ascii=False).encode()
    return min(plain, b"z" + zlib.compress(plain, 9), key=len) if note else b""


def _read_note(note: bytes) -> dict[str, Any]:
    return json.loads((zlib.decompress(note[1:]) if note[:1] == b"z" else note) or b"{}")


def _many(count: int, note: dict[str, Any]) -> str:
    return f"{count:,} {'characters' if TEXT in note else 'numbers'}"


def _overhead(bits: int, own: float) -> str:
    if own == math.inf:
        return ": it gives some of this no probability at all"
    more = bits / own - 1 if own > 0 else math.inf
    return f" (the file is {abs(more) * 100:.2f} % {'longer' if more >= 0 else 'shorter'})"


def _summary(rows: Rows, size: int, own: float) -> str:
    """How short it got, beside the model's own bits and what general compressors make of the same data."""
    count, plain = rows.x.numel() - rows.absent, rows.plain
    text = TEXT in rows.note
    noun, source = ("character", "the text") if text else ("number", "the numbers, a byte each")
    others = {"lzma": len(lzma.compress(plain, preset=9 | lzma.PRESET_EXTREME)), "gzip": len(gzip.compress(plain, 9))}
    lines = [
        f"{_many(count, rows.note)}: {size:,} bytes, {size * 8 / count:.4f} bits a {noun}",
        f"the model's own: {own / count:.4f} bits a {noun}{_overhead(size * 8, own)}",
        *(
            f"{name} of {source}: {bytes_:,} bytes, {bytes_ * 8 / count:.4f} bits a {noun}"
            for name, bytes_ in others.items()
        ),
    ]
    return "\n".join(lines)
