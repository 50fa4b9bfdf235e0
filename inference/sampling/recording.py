"""What a function of tensors does, operation by operation, below autograd and vmap: recorded once, to run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CONSTANT, GIVEN, MOVING = range(3)
"""What a value depends on: nothing; the data, but not the position; the position."""


_SHAPES = {f"aten::{name}" for name in ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")}
"""Operations that read no more of their argument than its shape."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of a recording, by number."""

    at: int


@dataclass(slots=True)
class Step:
    """One operation: its arguments, where values stand as `Ref`, all of these in `refs`, and the values it makes.

    `pure` says that it does nothing else than to make values of its arguments, the same of the same.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    refs: list[Ref]
    outs: tuple[Ref, ...]
    single: bool
    level: int
    pure: bool


@dataclass
class Recording:
    """The steps in their order, the values they made, and what each of these depends on.

    `branched` says that a number was read out of the data: other data might have gone another way.
    """

    steps: list[Step] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    inputs: list[Ref] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)
    changed: dict[int, torch.UntypedStorage] = field(default_factory=dict)
    homes: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    branched: bool = False

    def new(self, value: Tensor, level: int) -> Ref:
        """A value; memory that is written to is made anew in every run, and so is all that is made of it."""
        written = bool(self.changed) and memory_of(value) in self.changed
        self.values.append(value)
        self.levels.append(MOVING if written else level)
        self.written.append(written)
        return Ref(len(self.values) - 1)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.changed: dict[int, torch.UntypedStorage] = {}
        self.checks: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch wraps the method below by one that imports the compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._linalg_check_errors.default:
            self.checks.append(args[0])  # one chain's failure is not the others'
            return None
        if func._schema.is_mutable:
            for value in _written(func, args, kwargs):
                if memory_of(value) not in self.changed:
                    self.changed[memory_of(value)] = value.untyped_storage().clone()
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out


def record(function: Callable[[Tensor], Sequence[Tensor]], moving: Tensor, given: Sequence[Tensor]) -> Recording:
    """What `function(moving)` does; `given` are the data, which it reads and which are no constants."""
    recorder = _Recorder()
    with recorder:
        outputs = function(moving)
    recording = Recording(changed=recorder.changed)
    known: dict[int, Ref] = {}
    for value, level in ((moving, MOVING), *((data, GIVEN) for data in given)):
        known[id(value)] = recording.new(value, level)
        recording.inputs.append(known[id(value)])
    for call in recorder.calls:
        _append(recording, known, call)
    recording.outputs = [_ref(recording, known, value) for value in outputs]
    checks = [_ref(recording, known, value) for value in recorder.checks]
    recording.outputs += [ref for ref in checks if recording.levels[ref.at] == MOVING]
    return recording


def _append(recording: Recording, known: dict[int, Ref], call: tuple[Any, Any, Any, Any]) -> None:
    op, args, kwargs, out = call
    refs: list[Ref] = []
    args = _named(recording, known, args, refs)
    kwargs = {key: _named(recording, known, value, refs) for key, value in kwargs.items()}
    levels = recording.levels
    level = CONSTANT if op._schema.name in _SHAPES else max([levels[ref.at] for ref in refs], default=CONSTANT)
    random = torch.Tag.nondeterministic_seeded in op.tags
    single = not isinstance(out, (tuple, list))
    made = (out,) if single else out
    if not all(isinstance(value, Tensor) for value in made):
        recording.branched |= level == GIVEN
        return
    outs = []
    for value in made:
        if id(value) not in known:  # else it is an operation in place
            known[id(value)] = recording.new(value, MOVING if random else level)
        outs.append(known[id(value)])
    level = max([MOVING if random else level, *(levels[ref.at] for ref in outs)])
    pure = not (random or op._schema.is_mutable or any(recording.written[ref.at] for ref in (*refs, *outs)))
    recording.steps.append(Step(op, args, kwargs, refs, tuple(outs), single, level, pure))


def _written(op: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    for i, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            if isinstance(value, Tensor):
                yield value


def memory_of(value: Tensor) -> int:
    return value.untyped_storage()._cdata


def _ref(recording: Recording, known: dict[int, Ref], value: Tensor) -> Ref:
    if id(value) not in known:
        known[id(value)] = made = recording.new(value, CONSTANT)
        if recording.written[made.at]:
            _copied_first(recording, made)
    return known[id(value)]


def _copied_first(recording: Recording, made: Ref) -> None:
    """A constant that is written to: each run writes to a copy of its own of what was there before."""
    value = recording.values[made.at]
    layout = value.storage_offset(), value.shape, value.stride()
    recording.values.append(value.new_empty(0).set_(recording.changed[memory_of(value)], *layout))
    recording.levels.append(CONSTANT)
    recording.written.append(False)
    kept = Ref(len(recording.values) - 1)
    recording.steps.append(Step(torch.ops.aten.clone.default, (kept,), {}, [kept], (made,), True, MOVING, False))


def _named(recording: Recording, known: dict[int, Ref], value: Any, refs: list[Ref]) -> Any:
    if isinstance(value, Tensor):
        refs.append(_ref(recording, known, value))
        return refs[-1]
    if isinstance(value, (tuple, list)):
        return type(value)([_named(recording, known, part, refs) for part in value])
    return value
