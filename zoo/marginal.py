"""log p of rows of a network of tables some of whose values are missing, by a sum over what they may be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from opt_einsum import contract
from torch import Tensor

ROWS = -1
"""The axis of rows among the axes of an operand, which are variables."""
Operand = tuple[Tensor, tuple[int, ...]]


def log_marginal(
    log_tables: Sequence[Tensor],
    parents: Sequence[Sequence[int]],
    codes: Tensor,
    missing: Sequence[int],
    seen: Sequence[tuple[tuple[int, ...], Tensor]],
) -> Tensor:
    """log sum over the missing of prod_v P(v | parents) prod_s exp seen_s, [N] nats, differentiable.

    The sums of products are ordered by `opt_einsum`. Each likelihood is scaled, row by row, by the greatest that
    the known values leave possible: one that contradicts another by more than the range
    of the dtype (700 nats of a double) is taken for impossible, unless the variables of the one hold the other's.

    Parameters:
        log_tables: log P(v | parents), [*parents' states, states].
        codes: the states [N, V]; those of the missing are not read.
        seen: positions of some of the missing, and log P(what was seen | these), [N, *their states].
    """
    total = codes.new_zeros(len(codes), dtype=log_tables[0].dtype)
    operands: list[Operand] = []
    for v, table in enumerate(log_tables):
        scope = (*parents[v], v)
        known = [i for i, u in enumerate(scope) if u not in missing]
        free = tuple(i for i in range(len(scope)) if i not in known)
        rows = table.permute(*known, *free)[tuple(codes[:, scope[i]] for i in known)] if known else table
        if free:
            operands.append((rows.exp(), (*([ROWS] if known else []), *(scope[i] for i in free))))
        else:
            total = total + rows
    if not missing:
        return total
    tables = list(operands)
    for scope, log_likelihood in _merged(seen).items():
        with torch.no_grad():
            possible = _sum(tables, scope, len(codes)) > 0
            axes = tuple(range(1, log_likelihood.dim()))
            greatest = log_likelihood.masked_fill(~possible, -torch.inf).amax(axes)
            greatest = torch.where(greatest.isfinite(), greatest, 0.0)
        scaled = log_likelihood - greatest.reshape(-1, *[1] * len(axes))
        operands.append((scaled.masked_fill(~possible, -torch.inf).exp(), (ROWS, *scope)))
        total = total + greatest
    return total + _sum(operands, (), len(codes)).log()


def _merged(seen: Sequence[tuple[tuple[int, ...], Tensor]]) -> dict[tuple[int, ...], Tensor]:
    """The log-likelihoods, each on part of another's variables added to it."""
    merged: dict[tuple[int, ...], Tensor] = {}
    for scope, found in sorted(seen, key=lambda part: len(part[0]), reverse=True):
        wider = next((each for each in merged if set(scope) <= set(each)), None)
        if wider is None:
            merged[scope] = found
            continue
        order = sorted(range(len(scope)), key=lambda i: wider.index(scope[i]))
        sizes = [size if v in scope else 1 for v, size in zip(wider, merged[wider].shape[1:], strict=True)]
        merged[wider] = merged[wider] + found.permute(0, *(1 + i for i in order)).reshape(-1, *sizes)
    return merged


def _sum(operands: Sequence[Operand], kept: tuple[int, ...], rows: int) -> Tensor:
    """The product summed over all variables but those kept, [N, *kept]."""
    by_row = any(ROWS in axes for _, axes in operands)
    parts = [part for operand in operands for part in operand]
    summed = contract(*parts, (*([ROWS] if by_row else []), *kept))
    return summed if by_row else summed.expand(rows, *summed.shape)
