"""C++ for numbers chosen by constant codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from inference.sampling.native_places import _moved
from inference.sampling.native_source import NotNative, Source
from inference.sampling.recording import CONSTANT, MOVING, Ref, Step


def _index(code: Source, step: Step) -> None:
    source, codes = step.args[0], _unmasked(code, step.args[1])
    out = code.recording.values[step.outs[0].at].shape
    places, rank, first = _codes(code, codes)

    def body(index: list[str]) -> str:
        joint, rest = index[first : first + rank], [*index[:first], *index[first + rank :]]
        return f"{code.read(step.outs[0], index)} = {code.number(source, places(joint, rest))};"

    code.lines.append(code.loop(out, body))


def _index_put(code: Source, step: Step) -> None:
    """Adds or sets numbers at constant places of a copy, or of the memory itcode."""
    source, codes, values = step.args[0], _unmasked(code, step.args[1]), step.args[2]
    adds = (step.args[3] if len(step.args) > 3 else step.kwargs.get("accumulate", False)) is True
    out = step.outs[0]
    if not step.op._schema.is_mutable:
        _moved(code, out, source, lambda index: index)
    places, rank, first = _codes(code, codes)
    if first != 0 and rank:
        raise NotNative("index_put of a later axis")
    shape = torch.broadcast_tensors(*(code.recording.values[c.at] for c in codes if c is not None))[0].shape
    rest = code.recording.values[source.at].shape[len(codes) :]
    sign = "+=" if adds else "="

    def body(index: list[str]) -> str:
        there = places(index[:rank], index[rank:])
        return f"{code.read(out, there)} {sign} {code.number(values, index)};"

    code.lines.append(code.loop([*shape, *rest], body))


def _unmasked(code: Source, codes: Sequence[Ref | None]) -> list[Ref | None]:
    """Codes in the place of constant truth values, which choose their true ones."""
    values, levels = code.recording.values, code.recording.levels
    found: list[Ref | None] = []
    for each in codes:
        if each is None or values[each.at].dtype != torch.bool:
            found.append(each)
        elif levels[each.at] != CONSTANT:
            raise NotNative("index by what moves")
        else:
            places = values[each.at].nonzero(as_tuple=True)
            found += [code.recording.new(place.contiguous(), CONSTANT) for place in places]
    return found


def _codes(code: Source, codes: Sequence[Ref | None]) -> tuple[Callable[..., list[str]], int, int]:
    """What says which number codes choose, how many axes they have together, and which axis they begin at."""
    used = [(d, each) for d, each in enumerate(codes) if each is not None]
    begin = used[0][0]
    if [d for d, _ in used] != list(range(begin, begin + len(used))):
        raise NotNative("index of axes apart")
    for _, each in used:
        value = code.recording.values[each.at]
        if code.recording.levels[each.at] == MOVING or value.dtype != torch.int64 or bool((value < 0).any()):
            raise NotNative("index by what moves")
    rank = max(code.recording.values[each.at].dim() for _, each in used)

    def places(joint: list[str], rest: list[str]) -> list[str]:
        return [*rest[:begin], *(code.read(each, joint) for _, each in used), *rest[begin:]]

    return places, rank, begin


RULES = {"index": _index, "index_put": _index_put}
