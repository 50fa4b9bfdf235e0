"""The steps of one chain as C++, compiled by the machine's own compiler, run for eight chains at a time."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inference.sampling import native_indices, native_matrices, native_places, native_sums
from inference.sampling.building import load
from inference.sampling.native_source import KINDS, NotNative, Source, home_of, literal
from inference.sampling.native_text import PRELUDE, TRUTHS, VALUES
from inference.sampling.recording import Recording, Step

LARGEST = 1 << 13
"""Numbers a chain in arrays beyond which torch's own operations on all chains at once are as fast."""
_RULES = {**native_sums.RULES, **native_places.RULES, **native_indices.RULES, **native_matrices.RULES}
_UNFILLED = {"empty_like", "new_empty", "empty", "new_empty_strided"}


def native(recording: Recording, steps: list[Step]) -> tuple[Callable[..., Any], list[int]]:
    """As `emitted`, for a recording of one chain's position [dim]: the function made takes all, [C, dim].

    Raises:
        NotNative: an operation has no C++ here, or there are too many numbers.
    """
    code = Source(recording, steps)
    reads = _reads(code)
    for step in steps:
        _add(code, step)
    writes, widths = _writes(code)
    places, space = _declared(code)
    if space > LARGEST:
        raise NotNative(f"{space} numbers a chain in arrays: torch is as fast")
    whole = _whole(code, "\n".join([*places, *reads, *code.lines, *writes]), widths)
    return _maker(load(whole), recording.values[recording.inputs[0].at].numel(), widths, space), list(code.frontier)


def _reads(code: Source) -> list[str]:
    name, count, _ = code.buffer(code.recording.inputs[0])
    lanes = [f"{name}[l]" if count == 1 else f"{name}[{i}][l]" for i in range(count)]
    return [f"for (int l = 0; l < 8; l++) {lane} = q[l * {count} + {i}];" for i, lane in enumerate(lanes)]


def _writes(code: Source) -> tuple[list[str], list[torch.Size]]:
    lines, widths = [], []
    values = code.recording.values
    for j, ref in enumerate(ref for ref in code.recording.outputs if values[ref.at].dtype == torch.float64):
        shape = values[ref.at].shape
        widths.append(shape)
        for i, place in enumerate(itertools.product(*map(range, shape))):
            text = code.number(ref, [str(p) for p in place])
            lane = f"out{j}[l * {shape.numel()} + {i}]"
            lines.append(f"{{ V x = {text}; for (int l = 0; l < n; l++) {lane} = x[l]; }}")
    return lines, widths


def _declared(code: Source) -> tuple[list[str], int]:
    """The buffers, and how many vectors those that are no single number take together."""
    lines, at = [], 0
    for name, count, truth in code.buffers.values():
        kind = "M" if truth else "V"
        if count == 1:
            lines.append(f"{kind} {name};")
        else:
            lines.append(f"{kind}* __restrict__ {name} = ({kind}*)(space + {at});")
            at += count
    return lines, at


def _whole(code: Source, body: str, widths: list[torch.Size]) -> str:
    values = code.recording.values
    dim = values[code.recording.inputs[0].at].numel()
    given = "".join(f", const {KINDS[values[at].dtype]}* __restrict__ {name}" for at, name in code.frontier.items())
    outs = "".join(f", double* out{j}" for j in range(len(widths)))
    steps = "".join(f", out{j} + c * {shape.numel()}" for j, shape in enumerate(widths))
    passed = "".join(f", {name}" for name in code.frontier.values())
    return f"""{PRELUDE}
static void eight(const double* q, int n, V* space{outs}{given}) {{
{body}
}}
extern "C" void run(const double* q, int rows, V* space{outs}{given}) {{
for (int c = 0; c < rows; c += 8) eight(q + c * {dim}, rows - c < 8 ? rows - c : 8, space{steps}{passed});
}}
"""


def _add(code: Source, step: Step) -> None:
    name = step.op._schema.name.removeprefix("aten::")
    kind = step.op._overloadname
    if name in _UNFILLED or name == "squeeze_" or _is_view(code.recording, step):  # `squeeze_` moves no numbers
        return
    inner = name[:-1] if name.endswith("_") and step.op._schema.is_mutable else name
    key = f"{inner}.{kind}" if kind and kind != "default" else inner
    if key in VALUES or key in TRUTHS:
        code.each(step, VALUES.get(key) or TRUTHS[key])
    elif key in _TEXTS:
        code.each(step, _TEXTS[key](step))
    elif inner in _RULES:
        _RULES[inner](code, step)
    else:
        raise NotNative(key)


def _power(step: Step) -> str:
    power = step.args[1]
    if power == 0.5:
        return "f_sqrt({0})"
    if power == int(power) and 0 < abs(power) <= 4:
        product = " * ".join(["{0}"] * int(abs(power)))
        return product if power > 0 else f"1.0 / ({product})"
    return "f_pow({0}, {1})"


def _clamp(step: Step) -> str:
    low, high = (*step.args[1:], None, None)[:2]
    low = step.kwargs.get("min") if low is None else low
    high = step.kwargs.get("max") if high is None else high
    text = "{0}" if low is None else f"f_max({{0}}, to({literal(low)}))"
    return text if high is None else f"f_min({text}, to({literal(high)}))"


_TEXTS: dict[str, Callable[[Step], str]] = {
    "pow.Tensor_Scalar": _power,
    "clamp": _clamp,
    "log_sigmoid_forward": lambda step: "f_logsig({0})",
}
"""Operations number by number whose text depends on their constants."""


def _is_view(recording: Recording, step: Step) -> bool:
    """Whether a step makes no numbers: its outputs are in the memory of an argument."""
    if step.op._schema.is_mutable or not step.refs:
        return False
    memory = {home_of(recording, recording.values[ref.at])[0] for ref in step.refs}
    return all(home_of(recording, recording.values[out.at])[0] in memory for out in step.outs)


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
