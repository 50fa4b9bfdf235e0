"""A program written as numbers: where each table lies in the arena, and where each sum finds its factors."""

from __future__ import annotations

import numpy as np
from numba import njit

from inference.exact.lanes import (
    BATCHED,
    BATCHED_SHARED,
    BLOCK,
    FIRST,
    FIRST_TERM,
    KIND,
    MODES,
    OUT,
    OUT_STEP,
    OUTER,
    RECORD,
    SECOND,
    SECOND_TERM,
    SHARED_STATIC,
    STATIC,
    STATIC_SHARED,
    TERMS,
    UNARY,
    UNROLLED,
)
from inference.exact.liveness import CONTRACT, GATHER, LOAD, SCALE, STORE, give, last_uses, take

CONTRACTS = MODES * (UNROLLED + 1) * BLOCK
INVERTING, SCALING, LOADING, STORING, GATHERING = range(CONTRACTS + 1, CONTRACTS + 6)
"""Kinds of records that are not inner loops of a contraction."""

MOST_AXES = 256
"""Axes that the tables of one operation may have."""


@njit(cache=True)
def encode(operations, starts, axes, sizes, consts, hard_starts, hards, cards, hard_cards, kept):
    """Records, their table of offsets, the arena's entries, and where each slot lies in it.

    Slot i has the axes axes[starts[i]:starts[i + 1]], ranks whose lengths are in `cards`, and depends on the rows of
    codes hards[hard_starts[i]:hard_starts[i + 1]], of `hard_cards` states. It lies at consts[i] among the static
    tables, or has -1 there. An operation is (kind, out, a, b): slots, or rows of the likelihoods and of the answers.
    The slots `kept` stay in the arena to the end.
    """
    last = last_uses(operations, consts, kept)
    records = np.zeros((2 * len(operations), RECORD), np.int64)
    table = np.empty(4096, np.int32)
    places = consts.copy()
    gaps = np.zeros((len(sizes) + 2, 2), np.int64)  # the free stretches of the arena: start, length
    gaps[0, 1] = 2**62
    free, top, n, end = 1, 0, 0, 0
    shape = np.zeros((4, MOST_AXES), np.int64)  # lengths of an operation's axes, then steps in out, a and b
    for i in range(len(operations)):
        kind, out, a, b = operations[i]
        for slot in (out if kind != STORE else -1, b if kind == SCALE else -1):
            if slot >= 0:
                places[slot], free = take(gaps, free, sizes[slot])
                top = max(top, places[slot] + sizes[slot])
        if kind == CONTRACT:
            if b >= 0 and consts[b] >= 0:
                a, b = b, a
            mode = BATCHED if b >= 0 else UNARY
            if b < 0:
                a, b = -1, a
            elif consts[a] >= 0:
                mode = STATIC
            axis = _shape(shape, out, a, b, starts, axes, cards)
            table, n, end = _contraction(records, n, table, end, shape, axis, mode, out, a, b, places)
        elif kind == GATHER:
            table, end = _lookup(records[n], table, end, a, hard_starts, hards, hard_cards)
            records[n, OUT], records[n, FIRST], records[n, OUTER] = places[out], places[a], sizes[a]
            n += 1
        else:
            records[n, KIND] = CONTRACTS + kind
            slot = out if kind == LOAD else a
            records[n, OUT] = places[out] if kind != STORE else out
            records[n, FIRST] = places[b] if kind == SCALE else a
            records[n, SECOND] = places[slot]
            records[n, OUTER] = sizes[slot]
            n += 1
        operand = operations[i]
        for slot in (operand[2] if kind != LOAD else -1, operand[3], operand[1] if kind != STORE else -1):
            if slot >= 0 and consts[slot] < 0 and last[slot] <= i:
                if slot == operand[3] and slot == operand[2]:
                    continue
                free = give(gaps, free, places[slot], sizes[slot])
    return records[:n].copy(), table[:end].copy(), top, places


@njit(cache=True)
def _shape(shape, out, a, b, starts, axes, cards):
    """The axes of an operation: their lengths and their steps in out, a and b; neighbours joined where they can be.

    The axes of the result come first. Returns how many there are of the result, and in all.
    """
    slots, ends, steps = np.empty(3, np.int64), np.zeros(3, np.int64), np.ones(3, np.int64)
    slots[0], slots[1], slots[2] = out, a, b
    for k in range(3):
        ends[k] = starts[slots[k] + 1] if slots[k] >= 0 else 0
    found = np.zeros((MOST_AXES, 5), np.int64)  # from the innermost outwards: in the result, length, steps
    count = 0
    while True:
        rank = _innermost(slots, ends, starts, axes)
        if rank < 0:
            break
        length = cards[rank]
        for k in range(3):
            here = slots[k] >= 0 and ends[k] > starts[slots[k]] and axes[ends[k] - 1] == rank
            found[count, 2 + k] = steps[k] if here else 0
            if here:
                ends[k] -= 1
                steps[k] *= length
            if k == 0:
                found[count, 0] = 1 if here else 0
        found[count, 1] = length
        count += 1 if length > 1 else 0
    results = _joined(shape, found, count, 1, 0)
    return results, _joined(shape, found, count, 0, results)


@njit(cache=True)
def _innermost(slots, ends, starts, axes):
    """The least rank not yet seen in any of the tables, or -1."""
    rank = -1
    for k in range(3):
        if slots[k] >= 0 and ends[k] > starts[slots[k]] and (rank < 0 or axes[ends[k] - 1] < rank):
            rank = axes[ends[k] - 1]
    return rank


@njit(cache=True)
def _joined(shape, found, count, wanted, first):
    """Write the axes that are in the result or are not, neighbours as one where each table holds them as one."""
    total = first
    for i in range(count - 1, -1, -1):
        if found[i, 0] != wanted:
            continue
        joined = total > first
        for k in range(3):
            joined = joined and shape[1 + k, total - 1] == found[i, 2 + k] * found[i, 1]
        if not joined:
            total += 1
            shape[0, total - 1] = 1
        shape[0, total - 1] *= found[i, 1]
        for k in range(3):
            shape[1 + k, total - 1] = found[i, 2 + k]
    return total


@njit(cache=True)
def _cost(mode, block, shared_first, shared_second):
    """Loads and sums of one term, in vectors of one lane's worth of a register."""
    seconds = 1 if shared_second else block
    firsts = 1 if shared_first else block
    if mode == UNARY:
        return 2.0 + 3 * block
    if mode == STATIC:
        return 2.0 + 2 * seconds + firsts + block
    return 2.0 + 2 * seconds + 2 * firsts + block


@njit(cache=True)
def _block_axis(shape, results, mode):
    """The axis of the result whose neighbouring entries are computed at once."""
    best, least = -1, np.inf
    for i in range(results):
        length = shape[0, i]
        shared_first, shared_second = shape[2, i] == 0, shape[3, i] == 0
        cost = (length // BLOCK) * _cost(mode, BLOCK, shared_first, shared_second)
        if length % BLOCK:
            cost += _cost(mode, length % BLOCK, shared_first, shared_second)
        if cost / length < least:
            best, least = i, cost / length
    return best


@njit(cache=True)
def _contraction(records, n, table, end, shape, axis, mode, out, a, b, places):
    """One or two records: whole blocks of results, and what is left of the axis."""
    results, total = axis
    chosen = _block_axis(shape, results, mode)
    starts = np.empty(3, np.int64)
    starts[0], starts[1], starts[2] = places[out], places[a] if a >= 0 else 0, places[b]
    if mode == BATCHED and chosen >= 0 and shape[3, chosen] == 0:  # the table whose entry is shared comes first
        starts[1], starts[2] = starts[2], starts[1]
        for i in range(total):
            shape[2, i], shape[3, i] = shape[3, i], shape[2, i]
    length = shape[0, chosen] if chosen >= 0 else 1
    terms, outer = 1, 1
    for i in range(total):
        if i >= results:
            terms *= shape[0, i]
        elif i != chosen:
            outer *= shape[0, i]
    whole, rest = length // BLOCK, length % BLOCK
    table = _with_room(table, end, 3 * outer * (whole + 1) + 2 * terms)
    sums = end
    for k in range(2):
        table[end] = 0
        end = _spread(table, end, shape, results, total, -1, 2 + k)
    for part in range(2):
        block, repeats, skipped = (BLOCK, whole, 0) if part == 0 else (rest, 1, whole * BLOCK)
        if block == 0 or repeats == 0:
            continue
        record = records[n]
        n += 1
        record[KIND] = _kind(shape, chosen, mode, terms, block)
        record[OUTER] = outer * repeats
        record[TERMS], record[FIRST_TERM], record[SECOND_TERM] = terms, sums, sums + terms
        for k in range(3):
            step = shape[1 + k, chosen] if chosen >= 0 else 0
            record[OUT_STEP + k], record[OUT + k] = step, end
            for r in range(repeats):
                table[end] = starts[k] + (skipped + r * BLOCK) * step
                end = _spread(table, end, shape, 0, results, chosen, 1 + k)
    return table, n, end


@njit(cache=True)
def _kind(shape, chosen, mode, terms, block):
    """The number of the inner loop, of those that `lanes.variant` numbers."""
    if block > 1 and shape[2, chosen] == 0 and mode != UNARY:
        mode = STATIC_SHARED if mode == STATIC else BATCHED_SHARED
    elif block > 1 and shape[3, chosen] == 0 and mode == STATIC:
        mode = SHARED_STATIC
    return (mode * (UNROLLED + 1) + (terms if terms <= UNROLLED else 0)) * BLOCK + block - 1


@njit(cache=True)
def _with_room(table, end, more):
    """The table, or a longer copy of it, with room for so many entries more."""
    if end + more <= len(table):
        return table
    larger = np.empty(2 * (end + more), np.int32)
    for i in range(end):
        larger[i] = table[i]
    return larger


@njit(cache=True)
def _spread(table, start, shape, begin, stop, skipped, which):
    """Offsets over the axes from `begin` to `stop`, the last the fastest, from that at `start`; where they end."""
    size = 1
    for i in range(stop - 1, begin - 1, -1):
        if i == skipped:
            continue
        for j in range(1, shape[0, i]):
            for k in range(size):
                table[start + j * size + k] = table[start + k] + j * shape[which, i]
        size *= shape[0, i]
    return start + size


@njit(cache=True)
def _lookup(record, table, end, slot, hard_starts, hards, hard_cards):
    """The rows of codes that a table depends on, each with its step."""
    begin, stop = hard_starts[slot], hard_starts[slot + 1]
    table = _with_room(table, end, 2 * (stop - begin))
    record[FIRST_TERM], record[OUT_STEP] = end, stop - begin
    values = 1
    for k in range(stop - 1, begin - 1, -1):
        table[end], table[end + 1] = hards[k], values
        values *= hard_cards[hards[k]]
        end += 2
    record[TERMS] = values
    record[KIND] = GATHERING
    return table, end
