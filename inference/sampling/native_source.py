"""Where a recording's numbers are in C++, and text of loops over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.sampling.recording import MOVING, Recording, Ref, Step, memory_of

KINDS = {torch.float64: "double", torch.float32: "float", torch.bool: "bool", torch.int64: "long"}
"""Dtypes of constants and data, as C++ names them."""


class NotNative(Exception):
    """An operation that has no C++ here."""


class Source:
    """Lines of C++ for steps of one chain; the position's own values lie in buffers as torch laid them out."""

    def __init__(self, recording: Recording, steps: list[Step]) -> None:
        self.recording, self.steps = recording, steps
        self.buffers: dict[int, tuple[str, int, bool]] = {}
        self.frontier: dict[int, str] = {}
        self.lines: list[str] = []

    def buffer(self, ref: Ref) -> tuple[str, int, bool]:
        """Name, length and kind of the memory that a value is in: of the position's own, torch's layout is kept."""
        value = self.recording.values[ref.at]
        home, _, size = home_of(self.recording, value)
        if home not in self.buffers:
            if value.dtype not in (torch.float64, torch.bool, torch.int64):  # integers, of counts, are numbers here
                raise NotNative(str(value.dtype))
            self.buffers[home] = f"b{len(self.buffers)}", size // value.element_size(), value.dtype == torch.bool
        return self.buffers[home]

    def read(self, ref: Ref, index: Sequence[str]) -> str:
        """A value's number at an index, which is broadcast from the right."""
        value = self.recording.values[ref.at]
        place = _place(value, index)
        if self.recording.levels[ref.at] == MOVING:
            name, count, _ = self.buffer(ref)
            return name if count == 1 else f"{name}[{home_of(self.recording, value)[1]}{place}]"
        if value.dtype not in KINDS:
            raise NotNative(str(value.dtype))
        return f"{self.frontier.setdefault(ref.at, f'k{len(self.frontier)}')}[0{place}]"

    def number(self, what: Any, index: Sequence[str]) -> str:
        if isinstance(what, Ref):
            moves = self.recording.levels[what.at] == MOVING and self.recording.values[what.at].dtype != torch.bool
            return self.read(what, index) if moves else f"to({self.read(what, index)})"
        return f"to({literal(what)})"

    def truth(self, what: Any, index: Sequence[str]) -> str:
        return f"is({self.read(what, index)})" if isinstance(what, Ref) else f"is({'true' if what else 'false'})"

    def loop(self, shape: Sequence[int], body: Callable[[list[str]], str], letter: str = "i") -> str:
        index = [f"{letter}{d}" if size > 1 else "0" for d, size in enumerate(shape)]
        loops = [f"for (int {i} = 0; {i} < {size}; {i}++)" for i, size in zip(index, shape, strict=True) if size > 1]
        return " ".join([*loops, "{", body(index), "}"])

    def each(self, step: Step, text: str) -> None:
        out = step.outs[0]

        def body(index: list[str]) -> str:
            parts: dict[str, str] = {"alpha": literal(step.kwargs.get("alpha", 1))}
            whole = text.replace("{alpha} * ", "") if parts["alpha"] == "1.0" else text
            for i, what in enumerate(_arguments(step)):
                if f"{{{i}}}" in whole:
                    parts[f"p{i}"] = self.number(what, index)
                if f"{{{i}m}}" in whole:
                    parts[f"m{i}"] = self.truth(what, index)
                if f"{{{i}c}}" in whole:
                    parts[f"c{i}"] = literal(what)
                whole = whole.replace(f"{{{i}}}", f"{{p{i}}}").replace(f"{{{i}m}}", f"{{m{i}}}")
                whole = whole.replace(f"{{{i}c}}", f"{{c{i}}}")
            return f"{self.read(out, index)} = {whole.format(**parts)};"

        self.lines.append(self.loop(self.recording.values[out.at].shape, body))


def _arguments(step: Step) -> list[Any]:
    """All arguments of a step in the order of its schema, those left out as the schema has them."""
    known = step.op._schema.arguments[len(step.args) :]
    return [*step.args, *(step.kwargs.get(each.name, each.default_value) for each in known)]


def home_of(recording: Recording, value: Tensor) -> tuple[int, int, int]:
    """The memory of a value, its place in it, and the size of it in bytes."""
    home, at, size = memory_of(value), int(value.storage_offset()), value.untyped_storage().nbytes()
    while home in recording.homes:
        home, shift, size = recording.homes[home]
        at += shift
    return home, at, size


def _place(value: Tensor, index: Sequence[str]) -> str:
    index = list(index)[len(index) - value.dim() :]
    parts = zip(index, value.shape, value.stride(), strict=True)
    return "".join(f" + ({i}) * {stride}" for i, size, stride in parts if size > 1 and i != "0" and stride)


def literal(what: Any) -> str:
    if isinstance(what, bool) or what is None:
        raise NotNative(repr(what))
    number = float(what)
    if math.isinf(number):
        return "(-INFINITY)" if number < 0 else "INFINITY"
    return "NAN" if math.isnan(number) else repr(number) if number >= 0 else f"({number!r})"
