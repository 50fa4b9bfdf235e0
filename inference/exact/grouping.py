"""Rows of evidence that lack different cells: which of them share a program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.exact.evidence import MISSING, Evidence
from inference.exact.program import Ask
from inference.exact.results import TooLarge

if TYPE_CHECKING:
    from inference.exact.engine import Engine

COMPILING = 2.5e-4
"""Seconds that compiling a question takes a variable, and `WORKING` those of a multiply-add: for choosing a plan."""
WORKING = 4e-10


def groups(
    engine: Engine, evidence: Evidence, marginals: tuple[int, ...], joint: tuple[int, ...]
) -> Iterable[tuple[Tensor | None, Ask, Evidence]]:
    """Rows that share a program: by pattern of what is missing, or all in one where that costs less."""
    partly = sorted(evidence.partly)
    seen = tuple(sorted(evidence.joint))
    soft = sorted({*evidence.likelihoods, *partly, *(v for scope in seen for v in scope if v in evidence.codes)})
    always = tuple(sorted(v for v in evidence.codes if v not in soft))
    together = Ask(always, tuple(soft), marginals, joint, seen=seen)
    if not partly or seen or not _worth_grouping(engine, 1, evidence.rows, together):
        yield None, together, evidence
        return
    kinds, group = patterns(torch.stack([evidence.codes[v] == MISSING for v in partly], 1))
    if not _worth_grouping(engine, len(kinds), evidence.rows, together):
        yield None, together, evidence
        return
    for i, pattern in enumerate(kinds):
        rows = (group == i).nonzero()[:, 0]
        known = {v for v, absent in zip(partly, pattern.tolist(), strict=True) if not absent}
        part = evidence.take(rows)
        codes = {v: c for v, c in part.codes.items() if v in known or v not in partly}
        part = replace(part, codes=codes)
        hard = tuple(sorted(v for v in codes if v not in evidence.likelihoods))
        free = tuple(v for v in marginals if v not in hard)
        if not set(joint) & set(hard):
            yield rows, Ask(hard, tuple(sorted(part.likelihoods)), free, joint), part
        else:  # some of the joint's variables are known in these rows only
            softened = tuple(sorted({*part.likelihoods, *(v for v in joint if v in hard)}))
            yield rows, Ask(tuple(v for v in hard if v not in joint), softened, (), joint), part


def _worth_grouping(engine: Engine, kinds: int, rows: int, together: Ask) -> bool:
    try:
        work = engine.program(together).multiply_adds
    except TooLarge:
        return True
    return kinds * len(engine.variables) * COMPILING < rows * work * WORKING


def patterns(missing: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows [P, V] of a table of yes and no [N, V], and which of them each row is, [N].

    As `missing.unique(dim=0, return_inverse=True)` in another order: rows read as numbers sort many times faster.
    """
    group = torch.zeros(len(missing), dtype=torch.long, device=missing.device)
    for part in missing.split(30, 1):
        bits = 2 ** torch.arange(part.shape[1], device=part.device)
        number = torch.zeros_like(group)
        for column, bit in zip(part.unbind(1), bits.tolist(), strict=True):
            number += column * bit
        group = ((group << 30) | number).unique(return_inverse=True)[1]
    first = group.new_empty(int(group.max()) + 1)
    first[group] = torch.arange(len(group), device=group.device)
    return missing[first], group
