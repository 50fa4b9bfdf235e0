"""C++ for what adds up: reductions, products of matrices, running sums."""

from __future__ import annotations

from typing import Any

from inference.sampling.native_source import NotNative, Source, literal
from inference.sampling.recording import Step


def _sum(code: Source, step: Step) -> None:
    _reduced(code, step, "zero", "x += {0};")


def _mean(code: Source, step: Step) -> None:
    ratio = code.recording.values[step.args[0].at].numel() / max(code.recording.values[step.outs[0].at].numel(), 1)
    _reduced(code, step, "zero", "x += {0};", f"x / {ratio!r}")


def _amax(code: Source, step: Step) -> None:
    _reduced(code, step, "zero - INFINITY", "x = f_max(x, {0});")


def _max(code: Source, step: Step) -> None:
    if step.op._overloadname != "dim" or any(step.outs[1] in other.refs for other in code.steps):
        raise NotNative("the place of a maximum")
    _amax(code, step)


def _logsumexp(code: Source, step: Step) -> None:
    most = "V m = zero - INFINITY; {again} m = f_abs(m) == zero + INFINITY ? zero : m; V x = zero;"
    _reduced(code, step, most, "x += f_exp({0} - m);", "f_log(x) + m", "m = f_max(m, {0});")


def _reduced(code: Source, step: Step, begin: str, more: str, end: str = "x", first: str = "") -> None:
    """One number of many: `begin`, `more` of each, `end`; `first` of each goes where `begin` says again."""
    source, out = step.args[0], step.outs[0]
    shape = code.recording.values[source.at].shape
    dims = step.args[1] if len(step.args) > 1 and step.args[1] not in (None, []) else list(range(len(shape)))
    dims = [d % len(shape) for d in ([dims] if isinstance(dims, int) else dims)] if shape else []
    keep = bool(step.args[2]) if len(step.args) > 2 else bool(step.kwargs.get("keepdim", False))
    outer = [1 if d in dims else size for d, size in enumerate(shape)]

    def body(index: list[str]) -> str:
        def inner(text: str) -> str:
            def each(deep: list[str]) -> str:
                place = [deep[d] if d in dims else index[d] for d in range(len(shape))]
                return text.format(code.number(source, place))

            return code.loop([size if d in dims else 1 for d, size in enumerate(shape)], each, "j")

        place = index if keep else [i for d, i in enumerate(index) if d not in dims]
        again = begin.replace("{again}", inner(first)) if first else f"V x = {begin};"
        return f"{again} {inner(more)} {code.read(out, place)} = {end};"

    code.lines.append(code.loop(outer, body))


def _mm(code: Source, step: Step) -> None:
    left, right = step.args  # of a vector by a matrix, torch squeezes the one row of what came out, in place
    _product(
        code,
        step,
        lambda i, k: code.number(left, [i[0] if len(i) == 2 else "0", k]),
        lambda i, k: code.number(right, [k, i[-1]]),
    )


def _addmm(code: Source, step: Step) -> None:
    more, left, right = step.args
    scales = [literal(step.kwargs.get(name, 1)) for name in ("beta", "alpha")]
    size = code.recording.values[left.at].shape[-1]

    def body(index: list[str]) -> str:
        terms = " + ".join(
            f"{code.number(left, [index[0], str(k)])} * {code.number(right, [str(k), index[1]])}" for k in range(size)
        )
        return f"{code.read(step.outs[0], index)} = {scales[0]} * {code.number(more, index)} + {scales[1]} * ({terms});"

    code.lines.append(code.loop(code.recording.values[step.outs[0].at].shape, body))


def _mv(code: Source, step: Step) -> None:
    left, right = step.args
    _product(code, step, lambda i, k: code.number(left, [i[0], k]), lambda i, k: code.number(right, [k]))


def _dot(code: Source, step: Step) -> None:
    left, right = step.args
    _product(code, step, lambda i, k: code.number(left, [k]), lambda i, k: code.number(right, [k]))


def _bmm(code: Source, step: Step) -> None:
    left, right = step.args
    _product(
        code, step, lambda i, k: code.number(left, [i[0], i[1], k]), lambda i, k: code.number(right, [i[0], k, i[2]])
    )


def _product(code: Source, step: Step, left: Any, right: Any) -> None:
    out = step.outs[0]
    size = code.recording.values[step.args[0].at].shape[-1]

    def body(index: list[str]) -> str:
        inner = code.loop([size], lambda k: f"x += {left(index, k[0])} * {right(index, k[0])};", "j")
        return f"V x = zero; {inner} {code.read(out, index)} = x;"

    code.lines.append(code.loop(code.recording.values[out.at].shape, body))


def _cumsum(code: Source, step: Step) -> None:
    _running(code, step, "zero", "+")


def _cumprod(code: Source, step: Step) -> None:
    _running(code, step, "zero + 1.0", "*")


def _running(code: Source, step: Step, begin: str, sign: str) -> None:
    source, dim = step.args[:2]
    shape = code.recording.values[source.at].shape
    dim = dim % len(shape)
    outer = [1 if d == dim else size for d, size in enumerate(shape)]

    def body(index: list[str]) -> str:
        def inner(deep: list[str]) -> str:
            place = [deep[0] if d == dim else i for d, i in enumerate(index)]
            return f"x {sign}= {code.number(source, place)}; {code.read(step.outs[0], place)} = x;"

        return f"V x = {begin}; {code.loop([shape[dim]], inner, 'j')}"

    code.lines.append(code.loop(outer, body))


RULES = {
    "sum": _sum,
    "mean": _mean,
    "amax": _amax,
    "max": _max,
    "logsumexp": _logsumexp,
    "mm": _mm,
    "addmm": _addmm,
    "mv": _mv,
    "dot": _dot,
    "bmm": _bmm,
    "cumsum": _cumsum,
    "cumprod": _cumprod,
}
