"""A program run step by step, every table kept: for autograd, and for going back from the last variable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.exact.program import Op, Program
from inference.exact.values import Output, labels, lettered


def run(program: Program, static: dict[int, Tensor], codes: Tensor, likelihoods: Tensor) -> dict[int, Tensor]:
    """The value of each slot: static ones [*axes, *hard], the others [*axes, N]."""
    values = dict(static)
    place = {v: i for i, v in enumerate(program.ask.hard)}
    start = 0
    for slot, _ in program.likelihoods:
        values[slot.index] = likelihoods[start : start + slot.size]
        start += slot.size
    for op in program.batched:
        if op.kind == "gather":
            where: tuple[Any, ...] = (..., *(codes[place[v]] for v in op.a.hard))
            values[op.out.index] = values[op.a.index][where]
        elif op.kind == "inverse":
            values[op.out.index] = 1 / values[op.a.index]
        elif op.kind == "scale":
            assert op.b is not None
            table = values[op.a.index]
            greatest = table.detach().flatten(0, -2).amax(0)
            values[op.b.index] = torch.where(greatest > 0, 1 / greatest, 1.0)
            values[op.out.index] = table * values[op.b.index]
        else:
            values[op.out.index] = _product(op, values)
    return values


def _product(op: Op, values: dict[int, Tensor]) -> Tensor:
    axes = lettered(op)
    rows = len(axes)
    operands: list = []
    for slot in (op.a, op.b):
        if slot is not None:
            operands += [values[slot.index], labels(slot, axes) + ([rows] if slot.batched else [])]
    if op.kind == "contract":
        return torch.einsum(*operands, labels(op.out, axes) + ([rows] if op.out.batched else []))
    return greatest_product(op, operands, rows)


def greatest_product(op: Op, operands: list, rows: int) -> Tensor:
    """As a contraction, with the greatest product in place of the sum."""
    order = sorted({axis for marks in operands[1::2] for axis in marks if axis != rows})
    axes = lettered(op)
    kept = labels(op.out, axes)
    lost = [axis for axis in order if axis not in kept]
    batch = [rows] if op.out.batched else []
    whole = torch.einsum(*operands, lost + kept + batch)
    return whole.flatten(0, len(lost) - 1).amax(0) if lost else whole


def output(program: Program, values: dict[int, Tensor], rows: int) -> Output:
    """The answers among a program's values."""
    like = next(iter(values.values()))
    log_evidence = like.new_zeros(rows)
    for root in program.roots:
        log_evidence = log_evidence + values[root.index].log()
    for scale in program.scales:
        log_evidence = log_evidence - values[scale.index].log()
    parts = [_rows_last(values[slot.index], slot.batched, rows) for slot in program.marginals.values()]
    marginals = torch.cat(parts) if parts else like.new_empty(0, rows)
    joint = None
    if program.joint is not None:
        joint = _rows_last(values[program.joint.index], program.joint.batched, rows)
    return Output(log_evidence, marginals, joint)


def _rows_last(value: Tensor, batched: bool, rows: int) -> Tensor:
    return value.reshape(-1, rows) if batched else value.reshape(-1, 1).expand(-1, rows)
