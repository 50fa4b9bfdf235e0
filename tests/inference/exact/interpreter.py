"""A program run the plain way, an einsum an operation: a second implementation of what executors do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.exact.program import Op, Program, Slot
from tests.inference.exact.enumeration import Evidence, Network


@dataclass(frozen=True)
class Read:
    """log P(evidence) [N]; marginals [N, states] by variable; the joint [N, ...], axes in the program's order.

    `values` are those of all slots, the rows last.
    """

    log_evidence: np.ndarray
    marginals: dict[int, np.ndarray]
    joint: np.ndarray | None
    values: dict[int, np.ndarray]


def interpret(program: Program, network: Network, evidence: Evidence) -> Read:
    """Every slot's value by NumPy, the rows as the last axis."""
    values: dict[int, np.ndarray] = {}
    for slot, t in program.tables:
        scope = program.structure.scopes[t]
        wanted = [*(program.ranked[rank] for rank in slot.axes), *slot.hard]
        values[slot.index] = np.transpose(network.tables[t], [scope.index(v) for v in wanted])
    for slot, (v,) in program.likelihoods:
        values[slot.index] = evidence.soft[v].T
    for op in (*program.static, *program.batched):
        _run(op, values, evidence)
    logs = np.zeros(evidence.rows)
    for slot in program.roots:
        logs = logs + np.log(values[slot.index])
    for slot in program.scales:
        logs = logs - np.log(values[slot.index])
    marginals = {v: _rows(values[slot.index], slot, evidence.rows) for v, slot in program.marginals.items()}
    slot = program.joint
    joint = None if slot is None else _rows(values[slot.index], slot, evidence.rows)
    return Read(logs, marginals, joint, values)


def _rows(value: np.ndarray, slot: Slot, rows: int) -> np.ndarray:
    if not slot.batched:
        return np.broadcast_to(value, (rows, *value.shape))
    return np.moveaxis(value, -1, 0)


def _run(op: Op, values: dict[int, np.ndarray], evidence: Evidence) -> None:
    a = values[op.a.index]
    if op.kind == "gather":
        values[op.out.index] = a[(..., *(evidence.hard[v] for v in op.a.hard))]
    elif op.kind == "inverse":
        values[op.out.index] = 1 / a
    elif op.kind == "scale":
        assert op.b is not None
        greatest = a.max(tuple(range(a.ndim - 1)))
        values[op.out.index], values[op.b.index] = a / greatest, 1 / greatest
    else:
        operands = [a, _labels(op.a)] if op.b is None else [a, _labels(op.a), values[op.b.index], _labels(op.b)]
        values[op.out.index] = np.einsum(*_compact(operands, _labels(op.out)))


def _labels(slot: Slot) -> list[object]:
    return [*slot.axes, *(("hard", v) for v in slot.hard), *(["row"] if slot.batched else [])]


def _compact(operands: list, out: list[object]) -> list:
    """Small numbers for the axes: einsum knows no others."""
    seen: dict[object, int] = {}
    named = [[seen.setdefault(x, len(seen)) for x in part] if isinstance(part, list) else part for part in operands]
    return [*named, [seen[x] for x in out]]
