"""A program written as numbers: where each table lies in the arena, and where each sum finds its factors."""

from __future__ import annotations

import numpy as np
from numba import njit

from inference.exact.lanes import (
    BATCHED,
    BATCHED_SHARED,
    BLOCK,
    FIRST,
    FIRST_STEP,
    FIRST_TERM,
    KIND,
    MODES,
    OUT,
    OUT_STEP,
    OUTER,
    RECORD,
    SECOND,
    SECOND_STEP,
    SECOND_TERM,
    SHARED_STATIC,
    STATIC,
    STATIC_SHARED,
    TERMS,
    UNARY,
    UNROLLED,
)

CONTRACT, INVERSE, SCALE, LOAD, STORE, GATHER = range(6)
"""What an operation does; two of them bring likelihoods in and answers out."""

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
    last = _last_uses(operations, consts, kept)
    records = np.zeros((2 * len(operations), RECORD), np.int64)
    table = np.empty(4096, np.int32)
    places = consts.copy()
    gaps = np.zeros((len(sizes) + 2, 2), np.int64)  # the free stretches of the arena: start, length
    gaps[0] = 0, 2**62
    free, top, n, end = 1, 0, 0, 0
    shape = np.zeros((4, MOST_AXES), np.int64)
    for i in range(len(operations)):
        kind, out, a, b = operations[i]
        for slot in (out if kind != STORE else -1, b if kind == SCALE else -1):
            if slot >= 0:
                places[slot], free = _take(gaps, free, sizes[slot])
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
                free = _give(gaps, free, places[slot], sizes[slot])
    return records[:n].copy(), table[:end].copy(), top, places


@njit(cache=True)
def _last_uses(operations, consts, kept):
    last = np.full(len(consts), -1)
    for i in range(len(operations)):
        kind, out, a, b = operations[i]
        if kind != LOAD:
            last[a] = i
        if b >= 0:
            last[b] = i
    for slot in kept:
        last[slot] = len(operations)
    return last


@njit(cache=True)
def _take(gaps, free, size):
    """The first stretch long enough, and how many stretches there are then."""
    g = 0
    while gaps[g, 1] < size:
        g += 1
    start = gaps[g, 0]
    gaps[g, 0] += size
    gaps[g, 1] -= size
    if gaps[g, 1] == 0:
        gaps[g : free - 1] = gaps[g + 1 : free].copy()
        free -= 1
    return start, free


@njit(cache=True)
def _give(gaps, free, start, size):
    """Add a stretch to the free ones, joined to its neighbours; how many there are then."""
    g = 0
    while gaps[g, 0] < start:
        g += 1
    below = g > 0 and gaps[g - 1, 0] + gaps[g - 1, 1] == start
    above = start + size == gaps[g, 0]
    if below:
        gaps[g - 1, 1] += size + (gaps[g, 1] if above else 0)
        if above:
            gaps[g : free - 1] = gaps[g + 1 : free].copy()
            free -= 1
    elif above:
        gaps[g] = start, size + gaps[g, 1]
    else:
        gaps[g + 1 : free + 1] = gaps[g:free].copy()
        gaps[g] = start, size
        free += 1
    return free


@njit(cache=True)
def _shape(shape, out, a, b, starts, axes, cards):
    """The axes of an operation: their lengths and their steps in out, a and b; neighbours joined where they can be.

    The axes of the result come first. Returns how many there are of the result, and in all.
    """
    ends = np.array([starts[out + 1], starts[a + 1] if a >= 0 else 0, starts[b + 1]])
    begins = np.array([starts[out], starts[a] if a >= 0 else 0, starts[b]])
    steps = np.ones(3, np.int64)
    found = np.zeros((MOST_AXES, 5), np.int64)  # from the innermost outwards: in the result, length, steps
    count = 0
    while True:
        rank = 2**62
        for k in range(3):
            if ends[k] > begins[k]:
                rank = min(rank, axes[ends[k] - 1])
        if rank == 2**62:
            break
        here = found[count]
        here[:] = 0
        here[1] = cards[rank]
        for k in range(3):
            if ends[k] > begins[k] and axes[ends[k] - 1] == rank:
                ends[k] -= 1
                here[2 + k] = steps[k]
                steps[k] *= cards[rank]
                if k == 0:
                    here[0] = 1
        count += here[1] > 1
    total, results = 0, 0
    for wanted in (1, 0):
        first = total
        for i in range(count - 1, -1, -1):
            if found[i, 0] != wanted:
                continue
            if total > first and (shape[1:, total - 1] == found[i, 2:] * found[i, 1]).all():
                shape[0, total - 1] *= found[i, 1]
                shape[1:, total - 1] = found[i, 2:]
            else:
                shape[0, total] = found[i, 1]
                shape[1:, total] = found[i, 2:]
                total += 1
        results = total if wanted == 1 else results
    return results, total


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
    first = places[a] if a >= 0 else 0
    starts = np.array([places[out], first, places[b]])
    length, steps = 1, np.zeros(3, np.int64)
    if chosen >= 0:
        length, steps = shape[0, chosen], shape[1:, chosen].copy()
    if mode == BATCHED and steps[2] == 0:  # the table whose entry is shared comes first
        for i in range(total):
            shape[2, i], shape[3, i] = shape[3, i], shape[2, i]
        steps = np.array([steps[0], steps[2], steps[1]])
        starts = np.array([starts[0], starts[2], starts[1]])
    terms, outer = 1, 1
    for i in range(total):
        if i >= results:
            terms *= shape[0, i]
        elif i != chosen:
            outer *= shape[0, i]
    whole, rest = length // BLOCK, length % BLOCK
    needed = end + 3 * outer * (whole + 1) + 2 * terms
    if needed > len(table):
        larger = np.empty(2 * needed, np.int32)
        larger[:end] = table[:end]
        table = larger
    sums = end
    for k in range(2):
        table[end] = 0
        _spread(table[end : end + terms], shape, results, total, -1, 2 + k)
        end += terms
    for block, repeats, skipped in ((BLOCK, whole, 0), (rest, 1, whole * BLOCK)):
        if block == 0 or repeats == 0:
            continue
        record = records[n]
        n += 1
        shared = mode
        if block > 1 and steps[1] == 0 and mode != UNARY:
            shared = STATIC_SHARED if mode == STATIC else BATCHED_SHARED
        elif block > 1 and steps[2] == 0 and mode == STATIC:
            shared = SHARED_STATIC
        record[KIND] = (shared * (UNROLLED + 1) + (terms if terms <= UNROLLED else 0)) * BLOCK + block - 1
        record[OUTER] = outer * repeats
        record[TERMS], record[FIRST_TERM], record[SECOND_TERM] = terms, sums, sums + terms
        record[OUT_STEP], record[FIRST_STEP], record[SECOND_STEP] = steps
        for k in range(3):
            record[OUT + k] = end
            part = table[end : end + outer * repeats]
            part[0] = starts[k] + skipped * steps[k]
            _spread(part, shape, 0, results, chosen, 1 + k)
            for r in range(1, repeats):
                part[r * outer : (r + 1) * outer] = part[:outer] + r * BLOCK * steps[k]
            end += outer * repeats
    return table, n, end


@njit(cache=True)
def _spread(part, shape, begin, stop, skipped, which):
    """Offsets over the axes from `begin` to `stop`, the last the fastest, from the offset that part[0] holds."""
    size = 1
    for i in range(stop - 1, begin - 1, -1):
        if i == skipped:
            continue
        for j in range(1, shape[0, i]):
            for k in range(size):
                part[j * size + k] = part[k] + j * shape[which, i]
        size *= shape[0, i]


@njit(cache=True)
def _lookup(record, table, end, slot, hard_starts, hards, hard_cards):
    """The rows of codes that a table depends on, each with its step."""
    begin, stop = hard_starts[slot], hard_starts[slot + 1]
    if end + 2 * (stop - begin) > len(table):
        larger = np.empty(2 * len(table) + 2 * (stop - begin), np.int32)
        larger[:end] = table[:end]
        table = larger
    record[FIRST_TERM], record[OUT_STEP] = end, stop - begin
    values = 1
    for k in range(stop - 1, begin - 1, -1):
        table[end], table[end + 1] = hards[k], values
        values *= hard_cards[hards[k]]
        end += 2
    record[TERMS] = values
    record[KIND] = GATHERING
    return table, end
