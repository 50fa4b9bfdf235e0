"""The numbers of a program: what is static is computed once a set of tables, and what an executor answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.exact.program import Op, Program, Slot

Array = Any
"""A NumPy array or a tensor: both know einsum by lists of axes."""


@dataclass(frozen=True)
class Output:
    """What a program says of N rows, the rows last.

    `log_evidence` is [N], nats. `marginals` is [sum of the states of those asked, N], in the order of the
    program's `marginals`; `joint` is [joint states, N], its axes in `joint_order`, flattened.
    """

    log_evidence: Tensor
    marginals: Tensor
    joint: Tensor | None


def static_values(program: Program, tables: Sequence[Tensor]) -> dict[int, Tensor]:
    """The value of each static slot, [*axes, *hard], from the graph's tables.

    Without gradients this runs in NumPy, whose calls cost a fifth of torch's on tables so small.
    """
    if any(table.requires_grad for table in tables):
        return _static(program, list(tables), torch.einsum, torch.permute)
    like = tables[0]
    values = _static(program, [table.detach().cpu().numpy() for table in tables], np.einsum, np.transpose)
    return {
        index: torch.as_tensor(np.asarray(value), dtype=like.dtype, device=like.device)
        for index, value in values.items()
    }


def _static(program: Program, tables: Sequence[Array], einsum: Any, permute: Any) -> dict[int, Array]:
    values: dict[int, Array] = {}
    rank = {v: place for place, v in enumerate(program.ranked)}
    for slot, t in program.tables:
        scope = program.structure.scopes[t]
        place = {rank.get(v, -1 - v): axis for axis, v in enumerate(scope)}
        axes = [place[r] for r in slot.axes] + [place[-1 - v] for v in slot.hard]
        values[slot.index] = permute(tables[t], tuple(axes))
    for op in program.static:
        if op.kind == "inverse":
            values[op.out.index] = 1 / values[op.a.index]
        elif op.kind == "maximise":
            values[op.out.index] = _greatest(op, _operands(op, values), einsum)
        else:
            values[op.out.index] = einsum(*_operands(op, values), labels(op.out, lettered(op)))
    return values


def lettered(op: Op) -> dict[int, int]:
    """A small number for each axis of a contraction: einsum takes no more than 52."""
    axes: dict[int, int] = {}
    for slot in (op.a, op.b):
        if slot is not None:
            for axis in (*slot.axes, *(-1 - v for v in slot.hard)):
                axes.setdefault(axis, len(axes))
    return axes


def labels(slot: Slot, marks: dict[int, int]) -> list[int]:
    return [marks[rank] for rank in slot.axes] + [marks[-1 - v] for v in slot.hard]


def _operands(op: Op, values: dict[int, Array]) -> list[Any]:
    marks = lettered(op)
    operands = [values[op.a.index], labels(op.a, marks)]
    if op.b is not None:
        operands += [values[op.b.index], labels(op.b, marks)]
    return operands


def _greatest(op: Op, operands: list[Any], einsum: Any) -> Array:
    """The greatest product over the axes that the result lacks."""
    marks = lettered(op)
    kept = labels(op.out, marks)
    lost = [mark for mark in marks.values() if mark not in kept]
    whole = einsum(*operands, lost + kept)
    return whole.reshape(-1, *whole.shape[len(lost) :]).max(0) if isinstance(whole, np.ndarray) else _amax(whole, lost)


def _amax(whole: Tensor, lost: list[int]) -> Tensor:
    return whole.amax(tuple(range(len(lost)))) if lost else whole
