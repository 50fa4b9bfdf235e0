"""C++ for what moves numbers from place to place."""

from __future__ import annotations

from collections.abc import Callable

from inference.sampling.native_source import NotNative, Source, literal
from inference.sampling.recording import Ref, Step


def _cat(code: Source, step: Step) -> None:
    dim = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)
    out, at = step.outs[0], 0
    for part in step.args[0]:
        shape = code.recording.values[part.at].shape
        dim = dim % len(shape)
        if 0 in shape:
            continue
        _moved(code, out, part, _shifted(dim, at))
        at += shape[dim]


def _shifted(dim: int, at: int) -> Callable[[list[str]], list[str]]:
    return lambda index: [f"{i} + {at}" if d == dim else i for d, i in enumerate(index)]


def _put(dim: int, at: int) -> Callable[[list[str]], list[str]]:
    return lambda index: [*index[:dim], str(at), *index[dim:]]


def _moved(code: Source, out: Ref, source: Ref, there: Callable[[list[str]], list[str]]) -> None:
    """out[there(index)] = source[index]"""
    shape = code.recording.values[source.at].shape
    code.lines.append(code.loop(shape, lambda i: f"{code.read(out, there(i))} = {code.number(source, i)};"))


def _stack(code: Source, step: Step) -> None:
    rank = len(code.recording.values[step.outs[0].at].shape)
    dim = (step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)) % rank
    for j, part in enumerate(step.args[0]):
        _moved(code, step.outs[0], part, _put(dim, j))


def _cleared(code: Source, out: Ref) -> None:
    code.lines.append(code.loop(code.recording.values[out.at].shape, lambda i: f"{code.read(out, i)} = zero;"))


def _new_zeros(code: Source, step: Step) -> None:
    _cleared(code, step.outs[0])


def _select_backward(code: Source, step: Step) -> None:
    slope, _, dim, at = step.args
    shape = code.recording.values[step.outs[0].at].shape
    dim, at = dim % len(shape), at % shape[dim]
    _cleared(code, step.outs[0])
    _moved(code, step.outs[0], slope, lambda index: [*index[:dim], str(at), *index[dim:]])


def _slice_backward(code: Source, step: Step) -> None:
    slope, sizes, dim, start, _, stride = step.args
    dim, start = dim % len(sizes), min(start if start >= 0 else start + sizes[dim], sizes[dim])
    _cleared(code, step.outs[0])
    _moved(
        code,
        step.outs[0],
        slope,
        lambda index: [f"({i}) * {stride} + {start}" if d == dim else i for d, i in enumerate(index)],
    )


def _flip(code: Source, step: Step) -> None:
    shape = code.recording.values[step.args[0].at].shape
    dims = [d % len(shape) for d in step.args[1]]
    _moved(
        code,
        step.outs[0],
        step.args[0],
        lambda index: [f"{shape[d] - 1} - {i}" if d in dims else i for d, i in enumerate(index)],
    )


def _constant_pad_nd(code: Source, step: Step) -> None:
    source, pads, value = (*step.args, 0.0)[:3]
    shape = code.recording.values[source.at].shape
    before = [0] * (len(shape) - len(pads) // 2) + [pads[i] for i in range(len(pads) - 2, -1, -2)]
    out = step.outs[0]
    made = code.recording.values[out.at].shape
    code.lines.append(code.loop(made, lambda i: f"{code.read(out, i)} = to({literal(value)});"))
    kept = [min(n + min(b, 0), m - max(b, 0)) for n, m, b in zip(shape, made, before, strict=True)]

    def body(i: list[str]) -> str:
        there = [f"{each} + {max(b, 0)}" for each, b in zip(i, before, strict=True)]
        here = [f"{each} + {max(-b, 0)}" for each, b in zip(i, before, strict=True)]
        return f"{code.read(out, there)} = {code.number(source, here)};"

    if min(kept, default=0) > 0:
        code.lines.append(code.loop(kept, body))


def _diagonal_backward(code: Source, step: Step) -> None:
    slope, sizes, offset, one, two = step.args
    if offset != 0 or {one % len(sizes), two % len(sizes)} != {len(sizes) - 1, len(sizes) - 2}:
        raise NotNative("a diagonal apart")
    _cleared(code, step.outs[0])
    _moved(code, step.outs[0], slope, lambda index: [*index, index[-1]])


def _tril(code: Source, step: Step) -> None:
    _triangle(code, step, "<=")


def _triu(code: Source, step: Step) -> None:
    _triangle(code, step, ">=")


def _triangle(code: Source, step: Step, sign: str) -> None:
    shift = step.args[1] if len(step.args) > 1 else 0

    def body(i: list[str]) -> str:
        value = code.number(step.args[0], i)
        return f"{code.read(step.outs[0], i)} = {i[-1]} - {i[-2]} {sign} {shift} ? {value} : zero;"

    code.lines.append(code.loop(code.recording.values[step.outs[0].at].shape, body))


RULES = {
    "cat": _cat,
    "stack": _stack,
    "new_zeros": _new_zeros,
    "select_backward": _select_backward,
    "slice_backward": _slice_backward,
    "flip": _flip,
    "constant_pad_nd": _constant_pad_nd,
    "diagonal_backward": _diagonal_backward,
    "tril": _tril,
    "triu": _triu,
}
