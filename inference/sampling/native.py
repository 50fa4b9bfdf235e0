"""The steps of one chain as C++, compiled by the machine's own compiler, run for eight chains at a time."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.sampling.building import load
from inference.sampling.native_text import PRELUDE, TRUTHS, VALUES
from inference.sampling.recording import MOVING, Recording, Ref, Step, memory_of

LARGEST = 1 << 16
"""Numbers a chain beyond which torch's own operations on all chains at once are as fast."""


class NotNative(Exception):
    """An operation that has no C++ here."""


def native(recording: Recording, steps: list[Step]) -> tuple[Callable[..., Any], list[int]]:
    """As `emitted`, for a recording of one chain's position [dim]: the function made takes all, [C, dim]."""
    return _Source(recording, steps).built()


class _Source:
    def __init__(self, recording: Recording, steps: list[Step]) -> None:
        self.recording, self.steps = recording, steps
        self.buffers: dict[int, tuple[str, int, bool]] = {}
        self.frontier: dict[int, str] = {}
        self.lines: list[str] = []

    def built(self) -> tuple[Callable[..., Any], list[int]]:
        start = self.recording.inputs[0]
        name, count, _ = self._buffer(start)
        reads = [
            f"for (int l = 0; l < 8; l++) {self._lane(name, count, i)} = q[l * {count} + {i}];" for i in range(count)
        ]
        for step in self.steps:
            self._step(step)
        writes, widths = [], []
        wanted = [ref for ref in self.recording.outputs if self.recording.values[ref.at].dtype == torch.float64]
        for j, ref in enumerate(wanted):
            shape = self.recording.values[ref.at].shape
            widths.append(shape)
            for i, place in enumerate(itertools.product(*map(range, shape))):
                text = self._read(ref, [str(p) for p in place])
                writes.append(
                    f"{{ V x = to({text}); for (int l = 0; l < n; l++) out{j}[l * {shape.numel()} + {i}] = x[l]; }}"
                )
        total = sum(count for _, count, _ in self.buffers.values())
        if total > LARGEST:
            raise NotNative(f"{total} numbers a chain")
        scalars = [f"{'M' if truth else 'V'} {name};" for name, count, truth in self.buffers.values() if count == 1]
        arrays, at = [], 0
        for name, count, truth in self.buffers.values():
            if count > 1:
                kind = "M" if truth else "V"
                arrays.append(f"{kind}* __restrict__ {name} = ({kind}*)(space + {at});")
                at += count
        body = "\n".join([*scalars, *arrays, *reads, *self.lines, *writes])
        return _maker(load(self._source(body, widths)), self.recording.values[start.at].numel(), widths, at), list(
            self.frontier
        )

    def _source(self, body: str, widths: list[torch.Size]) -> str:
        dim = self.recording.values[self.recording.inputs[0].at].numel()
        given = "".join(f", {_kind(self.recording.values[at])} {name}" for at, name in self.frontier.items())
        outs = "".join(f", double* out{j}" for j in range(len(widths)))
        steps = "".join(f", out{j} + c * {shape.numel()}" for j, shape in enumerate(widths))
        passed = "".join(f", {name}" for name in self.frontier.values())
        return f"""{PRELUDE}
static void eight(const double* q, int n, V* space{outs}{given}) {{
{body}
}}
extern "C" void run(const double* q, int rows, V* space{outs}{given}) {{
for (int c = 0; c < rows; c += 8) eight(q + c * {dim}, rows - c < 8 ? rows - c : 8, space{steps}{passed});
}}
"""

    def _lane(self, name: str, count: int, i: int) -> str:
        return f"{name}[l]" if count == 1 else f"{name}[{i}][l]"

    def _buffer(self, ref: Ref) -> tuple[str, int, bool]:
        """Name, length and kind of the memory that a value is in: of the position's own, torch's layout is kept."""
        value = self.recording.values[ref.at]
        home, _, size = _home(self.recording, value)
        if home not in self.buffers:
            if value.dtype not in (torch.float64, torch.bool, torch.int64):  # integers, of counts, are numbers here
                raise NotNative(str(value.dtype))
            self.buffers[home] = f"b{len(self.buffers)}", size // value.element_size(), value.dtype == torch.bool
        return self.buffers[home]

    def _read(self, ref: Ref, index: Sequence[str]) -> str:
        """A value's number at an index, which is broadcast from the right."""
        value = self.recording.values[ref.at]
        place = _place(value, index)
        if self.recording.levels[ref.at] == MOVING:
            name, count, _ = self._buffer(ref)
            return name if count == 1 else f"{name}[{_home(self.recording, value)[1]}{place}]"
        if value.dtype not in (torch.float64, torch.bool, torch.int64):
            raise NotNative(str(value.dtype))
        return f"{self.frontier.setdefault(ref.at, f'k{len(self.frontier)}')}[0{place}]"

    def _number(self, what: Any, index: Sequence[str]) -> str:
        if isinstance(what, Ref):
            moves = self.recording.levels[what.at] == MOVING and self.recording.values[what.at].dtype != torch.bool
            return self._read(what, index) if moves else f"to({self._read(what, index)})"
        return f"to({_literal(what)})"

    def _truth(self, what: Any, index: Sequence[str]) -> str:
        return f"is({self._read(what, index)})" if isinstance(what, Ref) else f"is({'true' if what else 'false'})"

    def _loop(self, shape: Sequence[int], body: Callable[[list[str]], str], letter: str = "i") -> str:
        index = [f"{letter}{d}" if size > 1 else "0" for d, size in enumerate(shape)]
        loops = [f"for (int {i} = 0; {i} < {size}; {i}++)" for i, size in zip(index, shape, strict=True) if size > 1]
        return " ".join([*loops, "{", body(index), "}"])

    def _step(self, step: Step) -> None:
        name = step.op._schema.name.removeprefix("aten::")
        kind = step.op._overloadname
        if _is_view(self.recording, step) or name in ("empty_like", "new_empty", "empty", "new_empty_strided"):
            return
        inner = name[:-1] if name.endswith("_") and step.op._schema.is_mutable else name
        key = f"{inner}.{kind}" if kind and kind != "default" else inner
        special = getattr(self, f"_do_{inner.lstrip('_')}", None)
        if key == "pow.Tensor_Scalar":
            self._power(step)
        elif key in VALUES or key in TRUTHS:
            self._each(step, VALUES.get(key) or TRUTHS[key])
        elif special is not None:
            special(step)
        else:
            raise NotNative(key)

    def _each(self, step: Step, text: str) -> None:
        out = step.outs[0]

        def body(index: list[str]) -> str:
            parts: dict[str, str] = {"alpha": _literal(step.kwargs.get("alpha", 1))}
            if parts["alpha"] == "1.0":
                whole = text.replace("{alpha} * ", "")
            else:
                whole = text
            for i, what in enumerate(_arguments(step)):
                if f"{{{i}}}" in whole:
                    parts[f"p{i}"] = self._number(what, index)
                if f"{{{i}m}}" in whole:
                    parts[f"m{i}"] = self._truth(what, index)
                if f"{{{i}c}}" in whole:
                    parts[f"c{i}"] = _literal(what)
                whole = whole.replace(f"{{{i}}}", f"{{p{i}}}").replace(f"{{{i}m}}", f"{{m{i}}}")
                whole = whole.replace(f"{{{i}c}}", f"{{c{i}}}")
            return f"{self._read(out, index)} = {whole.format(**parts)};"

        self.lines.append(self._loop(self.recording.values[out.at].shape, body))

    def _power(self, step: Step) -> None:
        power = step.args[1]
        if power == 0.5:
            return self._each(step, "f_sqrt({0})")
        if power == int(power) and 0 < abs(power) <= 4:
            product = " * ".join(["{0}"] * int(abs(power)))
            return self._each(step, product if power > 0 else f"1.0 / ({product})")
        return self._each(step, "f_pow({0}, {1})")

    def _do_clamp(self, step: Step) -> None:
        low, high = (*step.args[1:], None, None)[:2]
        low, high = low if low is not None else step.kwargs.get("min"), high or step.kwargs.get("max")
        text = "{0}"
        if low is not None:
            text = f"f_max({text}, to({_literal(low)}))"
        if high is not None:
            text = f"f_min({text}, to({_literal(high)}))"
        self._each(step, text)

    def _reduced(self, step: Step, begin: str, more: str, end: str = "x", first: str = "") -> None:
        """One number of many: `begin`, `more` of each, `end`; `first` of each goes where `begin` says again."""
        source, out = step.args[0], step.outs[0]
        shape = self.recording.values[source.at].shape
        dims = step.args[1] if len(step.args) > 1 and step.args[1] not in (None, []) else list(range(len(shape)))
        dims = [d % len(shape) for d in ([dims] if isinstance(dims, int) else dims)] if shape else []
        keep = bool(step.args[2]) if len(step.args) > 2 else bool(step.kwargs.get("keepdim", False))
        outer = [1 if d in dims else size for d, size in enumerate(shape)]

        def body(index: list[str]) -> str:
            def inner(text: str) -> str:
                def each(deep: list[str]) -> str:
                    place = [deep[d] if d in dims else index[d] for d in range(len(shape))]
                    return text.format(self._number(source, place))

                return self._loop([size if d in dims else 1 for d, size in enumerate(shape)], each, "j")

            place = index if keep else [i for d, i in enumerate(index) if d not in dims]
            again = begin.replace("{again}", inner(first)) if first else f"V x = {begin};"
            return f"{again} {inner(more)} {self._read(out, place)} = {end};"

        self.lines.append(self._loop(outer, body))

    def _do_sum(self, step: Step) -> None:
        self._reduced(step, "zero", "x += {0};")

    def _do_mean(self, step: Step) -> None:
        ratio = self.recording.values[step.args[0].at].numel() / max(self.recording.values[step.outs[0].at].numel(), 1)
        self._reduced(step, "zero", "x += {0};", f"x / {ratio!r}")

    def _do_amax(self, step: Step) -> None:
        self._reduced(step, "zero - INFINITY", "x = f_max(x, {0});")

    def _do_max(self, step: Step) -> None:
        if step.op._overloadname != "dim" or any(step.outs[1] in other.refs for other in self.steps):
            raise NotNative("the place of a maximum")
        self._do_amax(step)

    def _do_logsumexp(self, step: Step) -> None:
        most = "V m = zero - INFINITY; {again} m = f_abs(m) == zero + INFINITY ? zero : m; V x = zero;"
        self._reduced(step, most, "x += f_exp({0} - m);", "f_log(x) + m", "m = f_max(m, {0});")

    def _do_mm(self, step: Step) -> None:
        left, right = step.args
        self._product(step, lambda i, k: self._number(left, [i[0], k]), lambda i, k: self._number(right, [k, i[1]]))

    def _do_mv(self, step: Step) -> None:
        left, right = step.args
        self._product(step, lambda i, k: self._number(left, [i[0], k]), lambda i, k: self._number(right, [k]))

    def _do_dot(self, step: Step) -> None:
        left, right = step.args
        self._product(step, lambda i, k: self._number(left, [k]), lambda i, k: self._number(right, [k]))

    def _do_bmm(self, step: Step) -> None:
        left, right = step.args
        self._product(
            step, lambda i, k: self._number(left, [i[0], i[1], k]), lambda i, k: self._number(right, [i[0], k, i[2]])
        )

    def _product(self, step: Step, left: Any, right: Any) -> None:
        out = step.outs[0]
        size = self.recording.values[step.args[0].at].shape[-1]

        def body(index: list[str]) -> str:
            inner = self._loop([size], lambda k: f"x += {left(index, k[0])} * {right(index, k[0])};", "j")
            return f"V x = zero; {inner} {self._read(out, index)} = x;"

        self.lines.append(self._loop(self.recording.values[out.at].shape, body))

    def _do_cat(self, step: Step) -> None:
        dim = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)
        out, at = step.outs[0], 0
        for part in step.args[0]:
            shape = self.recording.values[part.at].shape
            dim = dim % len(shape)
            if 0 in shape:
                continue
            self._moved(out, part, lambda index, at=at: [f"{i} + {at}" if d == dim else i for d, i in enumerate(index)])
            at += shape[dim]

    def _moved(self, out: Ref, source: Ref, there: Callable[[list[str]], list[str]]) -> None:
        """out[there(index)] = source[index]"""
        shape = self.recording.values[source.at].shape
        self.lines.append(self._loop(shape, lambda i: f"{self._read(out, there(i))} = {self._number(source, i)};"))

    def _do_stack(self, step: Step) -> None:
        rank = len(self.recording.values[step.outs[0].at].shape)
        dim = (step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)) % rank
        for j, part in enumerate(step.args[0]):
            self._moved(step.outs[0], part, lambda index, j=j: [*index[:dim], str(j), *index[dim:]])

    def _cleared(self, out: Ref) -> None:
        self.lines.append(self._loop(self.recording.values[out.at].shape, lambda i: f"{self._read(out, i)} = zero;"))

    def _do_new_zeros(self, step: Step) -> None:
        self._cleared(step.outs[0])

    def _do_select_backward(self, step: Step) -> None:
        slope, _, dim, at = step.args
        shape = self.recording.values[step.outs[0].at].shape
        dim, at = dim % len(shape), at % shape[dim]
        self._cleared(step.outs[0])
        self._moved(step.outs[0], slope, lambda index: [*index[:dim], str(at), *index[dim:]])

    def _do_slice_backward(self, step: Step) -> None:
        slope, sizes, dim, start, _, stride = step.args
        dim, start = dim % len(sizes), min(start if start >= 0 else start + sizes[dim], sizes[dim])
        self._cleared(step.outs[0])
        self._moved(
            step.outs[0],
            slope,
            lambda index: [f"({i}) * {stride} + {start}" if d == dim else i for d, i in enumerate(index)],
        )

    def _do_index(self, step: Step) -> None:
        source, codes = step.args[0], self._unmasked(step.args[1])
        out = self.recording.values[step.outs[0].at].shape
        places, rank, first = self._codes(source, codes)

        def body(index: list[str]) -> str:
            joint, rest = index[first : first + rank], [*index[:first], *index[first + rank :]]
            return f"{self._read(step.outs[0], index)} = {self._number(source, places(joint, rest))};"

        self.lines.append(self._loop(out, body))

    def _do_index_put(self, step: Step) -> None:
        """Adds or sets numbers at constant places of a copy, or of the memory itself."""
        source, codes, values = step.args[0], self._unmasked(step.args[1]), step.args[2]
        adds = (step.args[3] if len(step.args) > 3 else step.kwargs.get("accumulate", False)) is True
        out = step.outs[0]
        if not step.op._schema.is_mutable:
            self._moved(out, source, lambda index: index)
        places, rank, first = self._codes(source, codes)
        if first != 0 and rank:
            raise NotNative("index_put of a later axis")
        shape = torch.broadcast_tensors(*(self.recording.values[c.at] for c in codes if c is not None))[0].shape
        rest = self.recording.values[source.at].shape[len(codes) :]
        sign = "+=" if adds else "="

        def body(index: list[str]) -> str:
            there = places(index[:rank], index[rank:])
            return f"{self._read(out, there)} {sign} {self._number(values, index)};"

        self.lines.append(self._loop([*shape, *rest], body))

    def _unmasked(self, codes: Sequence[Ref | None]) -> list[Ref | None]:
        """Codes in the place of constant truth values, which choose their true ones."""
        found: list[Ref | None] = []
        for code in codes:
            if code is None or self.recording.values[code.at].dtype != torch.bool:
                found.append(code)
            elif self.recording.levels[code.at] == MOVING:
                raise NotNative("index by what moves")
            else:
                places = self.recording.values[code.at].nonzero(as_tuple=True)
                found += [self.recording.new(place.contiguous(), self.recording.levels[code.at]) for place in places]
        return found

    def _codes(self, source: Ref, codes: Sequence[Ref | None]) -> tuple[Any, int, int]:
        used = [d for d, code in enumerate(codes) if code is not None]
        if used != list(range(used[0], used[0] + len(used))):
            raise NotNative("index of axes apart")
        tensors = [self.recording.values[codes[d].at] for d in used]  # type: ignore[union-attr]
        if any(t.dtype != torch.int64 or bool((t < 0).any()) for t in tensors):
            raise NotNative("index by truth values")
        if any(self.recording.levels[codes[d].at] == MOVING for d in used):  # type: ignore[union-attr]
            raise NotNative("index by what moves")
        rank = max(t.dim() for t in tensors)

        def places(joint: list[str], rest: list[str]) -> list[str]:
            chosen = [self._read(codes[d], joint) for d in used]  # type: ignore[arg-type]
            return [*rest[: used[0]], *chosen, *rest[used[0] :]]

        return places, rank, used[0]

    def _do_linalg_solve_triangular(self, step: Step) -> None:
        left, right = step.args[:2]
        a, b = self.recording.values[left.at], self.recording.values[right.at]
        if step.kwargs.get("left", True) is not True or step.kwargs.get("unitriangular", False) or a.dim() != b.dim():
            raise NotNative("linalg_solve_triangular from the right")
        size, out, upper = a.shape[-1], step.outs[0], step.kwargs["upper"]
        places = reversed(range(size)) if upper else range(size)

        def body(index: list[str]) -> str:
            batch, column, lines = index[:-2], index[-1], []
            for i in places:
                known = range(i + 1, size) if upper else range(i)
                terms = [
                    f" - {self._number(left, [*batch, str(i), str(k)])} * {self._read(out, [*batch, str(k), column])}"
                    for k in known
                ]
                whole = f"{self._number(right, [*batch, str(i), column])}{''.join(terms)}"
                place = [*batch, str(i), str(i)]
                lines.append(f"{self._read(out, [*batch, str(i), column])} = ({whole}) / {self._number(left, place)};")
            return " ".join(lines)

        if size > 32:
            raise NotNative("a large triangular system")
        self.lines.append(self._loop([*a.shape[:-2], 1, b.shape[-1]], body))

    def _do_linalg_cholesky_ex(self, step: Step) -> None:
        """The lower factor; instead of a code that says where it fails, the density is nan there by its root."""
        source, out = step.args[0], step.outs[0]
        value = self.recording.values[source.at]
        size = value.shape[-1]
        if step.kwargs.get("upper", False) or size > 32:
            raise NotNative("a large decomposition")

        def body(index: list[str]) -> str:
            batch, lines = index[:-2], []
            for j in range(size):
                for i in range(size):
                    entry = self._read(out, [*batch, str(i), str(j)])
                    if i < j:
                        lines.append(f"{entry} = zero;")
                        continue
                    terms = "".join(
                        f" - {self._read(out, [*batch, str(i), str(k)])} * {self._read(out, [*batch, str(j), str(k)])}"
                        for k in range(j)
                    )
                    whole = f"{self._number(source, [*batch, str(i), str(j)])}{terms}"
                    root = self._read(out, [*batch, str(j), str(j)])
                    lines.append(f"{entry} = f_sqrt({whole});" if i == j else f"{entry} = ({whole}) / {root};")
            return " ".join(lines)

        self.lines.append(self._loop([*value.shape[:-2], 1, 1], body))

    def _do_tril(self, step: Step) -> None:
        self._triangle(step, "<=")

    def _do_triu(self, step: Step) -> None:
        self._triangle(step, ">=")

    def _triangle(self, step: Step, sign: str) -> None:
        shift = step.args[1] if len(step.args) > 1 else 0

        def body(i: list[str]) -> str:
            value = self._number(step.args[0], i)
            return f"{self._read(step.outs[0], i)} = {i[-1]} - {i[-2]} {sign} {shift} ? {value} : zero;"

        self.lines.append(self._loop(self.recording.values[step.outs[0].at].shape, body))

    def _do_log_sigmoid_forward(self, step: Step) -> None:
        self._each(step, "f_logsig({0})")

    def _do_cumsum(self, step: Step) -> None:
        self._running(step, "zero", "+")

    def _do_cumprod(self, step: Step) -> None:
        self._running(step, "zero + 1.0", "*")

    def _running(self, step: Step, begin: str, sign: str) -> None:
        source, dim = step.args[:2]
        shape = self.recording.values[source.at].shape
        dim = dim % len(shape)
        outer = [1 if d == dim else size for d, size in enumerate(shape)]

        def body(index: list[str]) -> str:
            def inner(deep: list[str]) -> str:
                place = [deep[0] if d == dim else i for d, i in enumerate(index)]
                return f"x {sign}= {self._number(source, place)}; {self._read(step.outs[0], place)} = x;"

            return f"V x = {begin}; {self._loop([shape[dim]], inner, 'j')}"

        self.lines.append(self._loop(outer, body))

    def _do_constant_pad_nd(self, step: Step) -> None:
        source, pads, value = (*step.args, 0.0)[:3]
        shape = self.recording.values[source.at].shape
        before = [0] * (len(shape) - len(pads) // 2) + [pads[i] for i in range(len(pads) - 2, -1, -2)]
        out = step.outs[0]
        made = self.recording.values[out.at].shape
        self.lines.append(self._loop(made, lambda i: f"{self._read(out, i)} = to({_literal(value)});"))
        kept = [min(n + min(b, 0), m - max(b, 0)) for n, m, b in zip(shape, made, before, strict=True)]

        def body(i: list[str]) -> str:
            there = [f"{each} + {max(b, 0)}" for each, b in zip(i, before, strict=True)]
            here = [f"{each} + {max(-b, 0)}" for each, b in zip(i, before, strict=True)]
            return f"{self._read(out, there)} = {self._number(source, here)};"

        if min(kept, default=0) > 0:
            self.lines.append(self._loop(kept, body))

    def _do_diagonal_backward(self, step: Step) -> None:
        slope, sizes, offset, one, two = step.args
        if offset != 0 or {one % len(sizes), two % len(sizes)} != {len(sizes) - 1, len(sizes) - 2}:
            raise NotNative("a diagonal apart")
        self._cleared(step.outs[0])
        self._moved(step.outs[0], slope, lambda index: [*index, index[-1]])

    def _do_flip(self, step: Step) -> None:
        shape = self.recording.values[step.args[0].at].shape
        dims = [d % len(shape) for d in step.args[1]]
        self._moved(
            step.outs[0],
            step.args[0],
            lambda index: [f"{shape[d] - 1} - {i}" if d in dims else i for d, i in enumerate(index)],
        )


def _arguments(step: Step) -> list[Any]:
    """All arguments of a step in the order of its schema, those left out as the schema has them."""
    known = step.op._schema.arguments[len(step.args) :]
    return [*step.args, *(step.kwargs.get(each.name, each.default_value) for each in known)]


def _is_view(recording: Recording, step: Step) -> bool:
    """Whether a step makes no numbers: its outputs are in the memory of an argument."""
    if step.op._schema.is_mutable or not step.refs:
        return False
    memory = {_home(recording, recording.values[ref.at])[0] for ref in step.refs}
    return all(_home(recording, recording.values[out.at])[0] in memory for out in step.outs)


def _home(recording: Recording, value: Tensor) -> tuple[int, int, int]:
    """The memory of a value, its place in it, and the size of it in bytes."""
    home, at, size = memory_of(value), value.storage_offset(), value.untyped_storage().nbytes()
    while home in recording.homes:
        home, shift, size = recording.homes[home]
        at += shift
    return home, at, size


def _place(value: Tensor, index: Sequence[str]) -> str:
    index = list(index)[len(index) - value.dim() :]
    parts = zip(index, value.shape, value.stride(), strict=True)
    return "".join(f" + ({i}) * {stride}" for i, size, stride in parts if size > 1 and i != "0" and stride)


def _literal(what: Any) -> str:
    if isinstance(what, bool) or what is None:
        raise NotNative(repr(what))
    number = float(what)
    if math.isinf(number):
        return "(-INFINITY)" if number < 0 else "INFINITY"
    return "NAN" if math.isnan(number) else repr(number) if number >= 0 else f"({number!r})"


def _kind(value: Tensor) -> str:
    return f"const {{}}* __restrict__".format({torch.bool: "bool", torch.int64: "long"}.get(value.dtype, "double"))


def _maker(call: Any, dim: int, widths: list[torch.Size], space: int) -> Callable[..., Any]:
    pointer = ctypes.c_void_p
    arena = torch.empty(space * 8 + 8, dtype=torch.float64)
    begin = arena.data_ptr() + (-arena.data_ptr()) % 64

    def make(*constants: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
        given = [pointer(constant.data_ptr()) for constant in constants]

        def run(q: Tensor, _kept: Any = (arena, constants)) -> tuple[Tensor, ...]:
            q = q.contiguous()
            rows = len(q)
            if rows % 8:
                q = torch.cat([q, q[-1:].expand(8 - rows % 8, dim)])
            outs = [torch.empty((rows, *shape), dtype=torch.float64) for shape in widths]
            call(pointer(q.data_ptr()), rows, pointer(begin), *(pointer(out.data_ptr()) for out in outs), *given)
            return tuple(outs)

        return run

    return make
