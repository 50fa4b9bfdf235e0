"""A recording without what is not needed: what is said twice is said once, and what changes nothing not at all."""

from __future__ import annotations

from typing import Any

from inference.sampling.recording import CONSTANT, Recording, Ref, Step, memory_of

_SAME = {"detach", "alias", "lift_fresh", "view", "_unsafe_view", "expand", "permute", "slice", "clone", "_to_copy"}
"""Operations that give back what they are given, where the layout is the same after as before."""
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}
"""Numbers that change nothing as a second argument."""


def cleaned(recording: Recording) -> list[Step]:
    """The steps that the outputs need, each once, arguments renamed to the first value that is the same."""
    names: dict[int, Ref] = {}
    seen: dict[str, Step] = {}
    kept = []
    for step in recording.steps:
        if any(ref.at in names for ref in step.refs):
            step.args, step.kwargs = renamed(step.args, names), renamed(step.kwargs, names)
            step.refs = renamed(step.refs, names)
        if step.pure:
            same = _same_as(recording, step)
            if same is not None:
                _rehome(recording, step.outs[0], same)
                names[step.outs[0].at] = same
                continue
            key = f"{step.op._schema.name}.{step.op._overloadname}{step.args!r}{step.kwargs!r}"
            twin = seen.setdefault(key, step)
            if twin is not step:
                for out, other in zip(step.outs, twin.outs, strict=True):
                    _rehome(recording, out, other)
                    names[out.at] = other
                continue
        kept.append(step)
    recording.outputs = renamed(recording.outputs, names)
    return _alive(recording, kept)


def _rehome(recording: Recording, gone: Ref, kept: Ref) -> None:
    """Views of a value that is dropped are views of the one kept in its place, whose layout is the same."""
    old, new = recording.values[gone.at], recording.values[kept.at]
    home, other = memory_of(old), memory_of(new)
    if home != other:
        shift = int(new.storage_offset()) - int(old.storage_offset())
        recording.homes[home] = other, shift, new.untyped_storage().nbytes()


def _same_as(recording: Recording, step: Step) -> Ref | None:
    """The argument that a step gives back unchanged, where it does."""
    name = step.op._schema.name.removeprefix("aten::")
    first = step.args[0] if step.args else None
    if not step.single or not isinstance(first, Ref):
        return None
    old, new = recording.values[first.at], recording.values[step.outs[0].at]
    alike = old.shape == new.shape and old.stride() == new.stride() and old.dtype == new.dtype
    if not alike or old.device != new.device:
        return None
    if name in _SAME or (name in _NEUTRAL and not step.kwargs and _all(recording, step.args[1], _NEUTRAL[name])):
        return first
    return None


def _all(recording: Recording, what: Any, number: int) -> bool:
    if isinstance(what, Ref):
        value = recording.values[what.at]
        return recording.levels[what.at] == CONSTANT and value.dtype.is_floating_point and bool((value == number).all())
    return not isinstance(what, bool) and what == number


def _alive(recording: Recording, steps: list[Step]) -> list[Step]:
    needed = {ref.at for ref in recording.outputs}
    kept = []
    memory = {memory_of(recording.values[at]) for at in needed if recording.written[at]}
    for step in reversed(steps):
        alive = any(ref.at in needed for ref in step.outs)
        if step.op._schema.is_mutable:
            alive |= any(memory_of(recording.values[ref.at]) in memory for ref in step.outs)
        if alive:
            needed.update(ref.at for ref in step.refs)
            if not step.pure:
                touched = (*step.refs, *step.outs)
                memory.update(memory_of(recording.values[ref.at]) for ref in touched if recording.written[ref.at])
            kept.append(step)
    return kept[::-1]


def renamed(value: Any, names: dict[int, Ref]) -> Any:
    if isinstance(value, Ref):
        return names.get(value.at, value)
    if isinstance(value, (tuple, list)):
        return type(value)(renamed(part, names) for part in value)
    if isinstance(value, dict):
        return {key: renamed(part, names) for key, part in value.items()}
    return value
