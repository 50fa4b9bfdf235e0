"""Where each table of a program lies: memory is given back as soon as a table has been used for the last time."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from inference.exact.program import Op, Program, Slot


@dataclass(frozen=True)
class Memory:
    """The place of each batched slot, in entries; how many entries there are; the most that one step needs aside."""

    places: dict[int, int]
    entries: int
    scratch: int


def laid_out(program: Program) -> Memory:
    """A layout by first fit; gathered tables and likelihoods come first, each kind in one piece."""
    places: dict[int, int] = {}
    top = 0
    gathered = [op.out for op in program.batched if op.kind == "gather"]
    for slot in gathered + [given for given, _ in program.likelihoods]:
        places[slot.index] = top
        top += slot.size
    kept = {slot.index for slot in (*program.roots, *program.scales, *program.marginals.values())}
    if program.joint is not None:
        kept.add(program.joint.index)
    last = _last_uses(program)
    free: list[tuple[int, int]] = []
    scratch = 0
    for step, op in enumerate(program.batched):
        if op.kind == "gather":
            continue
        made = [op.out, op.b] if op.kind == "scale" else [op.out]
        for slot in filter(None, made):
            place = _take(free, slot.size)
            if place is None:
                place, top = top, top + slot.size
            places[slot.index] = place
        scratch = max(scratch, _union_size(program, op))
        for slot in last.get(step, ()):
            if slot.index not in kept:
                _give(free, places[slot.index], slot.size)
    return Memory(places, top, scratch)


def _union_size(program: Program, op: Op) -> int:
    axes = {*op.a.axes, *(op.b.axes if op.b is not None else ())}
    size = 1
    for card in program.cards(axes):
        size *= card
    return size


def _last_uses(program: Program) -> dict[int, list[Slot]]:
    """By step, the tables that are used there for the last time; not those that are laid out first."""
    fixed = {op.out.index for op in program.batched if op.kind == "gather"}
    fixed |= {slot.index for slot, _ in program.likelihoods}
    last: dict[int, tuple[int, Slot]] = {}
    for step, op in enumerate(program.batched):
        if op.kind == "gather":
            continue
        for slot in filter(None, (op.a, op.b, op.out)):
            if slot.batched and slot.index not in fixed:
                last[slot.index] = step, slot
    uses: dict[int, list[Slot]] = {}
    for step, slot in last.values():
        uses.setdefault(step, []).append(slot)
    return uses


def _take(free: list[tuple[int, int]], size: int) -> int | None:
    for i, (place, length) in enumerate(free):
        if length >= size:
            if length == size:
                del free[i]
            else:
                free[i] = (place + size, length - size)
            return place
    return None


def _give(free: list[tuple[int, int]], place: int, size: int) -> None:
    insort(free, (place, size))
    i = max(0, free.index((place, size)) - 1)
    while i + 1 < len(free):
        here, there = free[i], free[i + 1]
        if here[0] + here[1] == there[0]:
            free[i : i + 2] = [(here[0], here[1] + there[1])]
        elif here[0] > place:
            break
        else:
            i += 1
