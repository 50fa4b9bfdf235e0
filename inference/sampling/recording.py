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
    """One operation: its arguments, where values stand as `Ref`, and the values it makes (None: not a tensor)."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[Ref | None, ...]
    single: bool
    level: int


@dataclass
class Recording:
    """The steps in their order, the values they made, and what each of these depends on.

    `branched` says that a number was read out of the data: other data might have gone another way.
    """

    steps: list[Step] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    inputs: list[Ref] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)
    changed: dict[int, torch.UntypedStorage] = field(default_factory=dict)
    branched: bool = False

    def new(self, value: Tensor, level: int) -> Ref:
        """A value; memory that is written to is made anew in every run, and so is all that is made of it."""
        self.values.append(value)
        self.levels.append(MOVING if self.changed and memory_of(value) in self.changed else level)
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
    recording.outputs += [ref for ref in (_ref(recording, known, c) for c in recorder.checks) if _moves(recording, ref)]
    return recording


def _append(recording: Recording, known: dict[int, Ref], call: tuple[Any, Any, Any, Any]) -> None:
    op, args, kwargs, out = call
    args, kwargs = _named(recording, known, args), {k: _named(recording, known, v) for k, v in kwargs.items()}
    level = max((recording.levels[ref.at] for ref in refs_of((args, kwargs))), default=CONSTANT)
    if op._schema.name in _SHAPES:
        level = CONSTANT
    if torch.Tag.nondeterministic_seeded in op.tags:
        level = MOVING
    made = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    if not any(isinstance(value, Tensor) for value in made):
        recording.branched |= level == GIVEN
        return
    outs = []
    for value in made:
        if not isinstance(value, Tensor):
            outs.append(None)
        elif id(value) in known:  # an operation in place
            outs.append(known[id(value)])
        else:
            known[id(value)] = recording.new(value, level)
            outs.append(known[id(value)])
    level = max([level, *(recording.levels[out.at] for out in outs if out is not None)])
    recording.steps.append(Step(op, args, kwargs, tuple(outs), not isinstance(out, (tuple, list)), level))


def _moves(recording: Recording, ref: Ref) -> bool:
    return recording.levels[ref.at] == MOVING


def _written(op: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    for i, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            if isinstance(value, Tensor):
                yield value


def _layout(value: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    return value.storage_offset(), value.shape, value.stride()


def memory_of(value: Tensor) -> int:
    return value.untyped_storage()._cdata


def _ref(recording: Recording, known: dict[int, Ref], value: Tensor) -> Ref:
    if id(value) in known:
        return known[id(value)]
    made = known[id(value)] = recording.new(value, CONSTANT)
    if recording.levels[made.at] == CONSTANT:
        return made
    # a constant that is written to: each run writes to a copy of its own of what was there before
    before = value.new_empty(0).set_(recording.changed[memory_of(value)], *_layout(value))
    kept = Ref(len(recording.values))
    recording.values.append(before)
    recording.levels.append(CONSTANT)
    recording.steps.append(Step(torch.ops.aten.clone.default, (kept,), {}, (made,), True, MOVING))
    return made


def _named(recording: Recording, known: dict[int, Ref], value: Any) -> Any:
    if isinstance(value, Tensor):
        return _ref(recording, known, value)
    if isinstance(value, (tuple, list)):
        return type(value)(_named(recording, known, part) for part in value)
    return value


def refs_of(value: Any) -> Iterator[Ref]:
    """The values named in an argument, however nested."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from refs_of(part)
    elif isinstance(value, dict):
        yield from refs_of(tuple(value.values()))
