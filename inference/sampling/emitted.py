"""Recorded steps as Python source: one line an operation, calling torch's own functions directly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.sampling.recording import Recording, Ref, Step


def emitted(recording: Recording, steps: list[Step]) -> tuple[Callable[..., Any], list[int]]:
    """A function of the values that the steps begin with, numbered beside it, which makes that of the position."""
    return _Writer(recording, steps).compiled()


class _Writer:
    def __init__(self, recording: Recording, steps: list[Step]) -> None:
        self.recording, self.steps = recording, steps
        self.frontier: dict[int, str] = {}
        self.objects: dict[int, tuple[str, Any]] = {}
        self.names: dict[int, str] = {recording.inputs[0].at: "q"}
        self.free: list[str] = []
        self.count = 0
        self.functions: dict[str, Any] = {}

    def compiled(self) -> tuple[Callable[..., Any], list[int]]:
        dying = self._dying()
        lines = [self._line(step, dying.get(i, ())) for i, step in enumerate(self.steps)]
        lines.append(f"return {', '.join(map(self._text, self.recording.outputs))},")
        names = ", ".join(name for name, _ in self.objects.values())
        body = "\n            ".join(lines)
        source = f"""
def make_with({names}):
    def make({", ".join(self.frontier.values())}):
        def run(q):
            {body}
        return run
    return make
"""
        space: dict[str, Any] = {}
        exec(compile(source, "<traced>", "exec"), space)
        return space["make_with"](*(value for _, value in self.objects.values())), list(self.frontier)

    def _dying(self) -> dict[int, list[int]]:
        """The values that are read last by each step, by its place."""
        last: dict[int, int] = {}
        for i, step in enumerate(self.steps):
            last.update({ref.at: i for ref in (*step.refs, *step.outs)})
        last.update({ref.at: len(self.steps) for ref in self.recording.outputs})
        dying: dict[int, list[int]] = {}
        for at, i in last.items():
            dying.setdefault(i, []).append(at)
        return dying

    def _line(self, step: Step, dying: Sequence[int]) -> str:
        kwargs = [(key, value) for key, value in step.kwargs.items() if (key, value) != ("pin_memory", False)]
        args = [*map(self._text, step.args), *(f"{key}={self._text(value)}" for key, value in kwargs)]
        called = f"{self._text(self._function(step))}({', '.join(args)})"
        made = [out.at for out in step.outs]
        self._forget(at for at in dying if at not in made)
        names = [self._name(out) for out in step.outs]
        self._forget(at for at in dying if at in made)
        return called if step.op._schema.is_mutable else f"{', '.join(names)}{'' if step.single else ','} = {called}"

    def _name(self, out: Ref) -> str:
        if out.at not in self.names:
            self.names[out.at] = self.free.pop() if self.free else self._new()
        return self.names[out.at]

    def _forget(self, dead: Iterable[int]) -> None:
        """Names whose values are not read again are taken for others, so that memory is given back at once."""
        self.free += [self.names[at] for at in dead if self.names.get(at, "q") != "q"]

    def _function(self, step: Step) -> Any:
        key = f"{step.op._schema.name}.{step.op._overloadname}"
        if key not in self.functions:
            self.functions[key] = _fast(self.recording, step)
        return self.functions[key]

    def _new(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def _text(self, value: Any) -> str:
        if isinstance(value, Ref):
            if value.at in self.names:
                return self.names[value.at]
            return self.frontier.setdefault(value.at, f"k{len(self.frontier)}")
        if isinstance(value, tuple):
            return f"({''.join(self._text(part) + ', ' for part in value)})"
        if isinstance(value, list):
            return f"[{', '.join(self._text(part) for part in value)}]"
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        if isinstance(value, float) and math.isfinite(value):
            return repr(value)
        return self.objects.setdefault(id(value), (f"o{len(self.objects)}", value))[0]


def _fast(recording: Recording, step: Step) -> Any:
    """torch's own function for an operation, called in half the time, where it gives the same to the bit."""
    name = step.op._schema.name.removeprefix("aten::")
    if not step.op._schema.name.startswith("aten::") or step.op._schema.is_mutable:
        return step.op
    for home in (torch._C._VariableFunctions, torch.Tensor):
        function = getattr(home, name, None)
        if function is not None and _agrees(recording, step, function):
            return function
    return step.op


def _agrees(recording: Recording, step: Step, function: Any) -> bool:
    args, kwargs = valued(recording.values, step.args), valued(recording.values, step.kwargs)
    try:
        one, other = step.op(*args, **kwargs), function(*args, **kwargs)
    except (TypeError, RuntimeError, ValueError):
        return False
    if step.single:
        one, other = (one,), (other,)
    return all(
        a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(one, other, strict=True)
        if isinstance(a, Tensor)
    )


def valued(values: Any, what: Any) -> Any:
    """An argument with values in the place of their numbers."""
    if isinstance(what, Ref):
        return values[what.at]
    if isinstance(what, (tuple, list)):
        return type(what)(valued(values, part) for part in what)
    if isinstance(what, dict):
        return {key: valued(values, part) for key, part in what.items()}
    return what
