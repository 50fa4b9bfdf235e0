"""The interpreter of an encoded program: a tile of rows at a time, all its tables in one small arena."""

from __future__ import annotations

import numpy as np
from numba import njit

from inference.exact.encoding import (
    CONTRACTS,
    EMITTING,
    INVERTING,
    LOADING,
    LOOKING_UP,
    SCALING,
    SELECTING,
)
from inference.exact.lanes import (
    FIRST,
    FIRST_TERM,
    KIND,
    OUT,
    OUT_STEP,
    OUTER,
    SECOND,
    TERMS,
    contract,
    copy,
    invert,
    scale,
    select,
)


@njit(cache=True, nogil=True)
def run(lanes, records, table, consts, arena, codes, likelihoods, answers, log_evidence, roots, scales, start, stop):
    """Rows from `start` to `stop`; a last tile that is not full is filled up with the last row."""
    width = len(lanes)
    picked = np.empty((len(codes), width), np.int64)
    picks = np.empty(width, np.int64)
    for tile in range(start, stop, width):
        here = min(width, stop - tile)
        for h in range(len(codes)):
            for lane in range(width):
                picked[h, lane] = codes[h, tile + min(lane, here - 1)]
        for i in range(len(records)):
            kind = records[i, KIND]
            if kind < CONTRACTS:
                contract(lanes, arena, consts, table, records, i)
            elif kind == SELECTING:
                _pick(picks, picked, records[i], table)
                select(lanes, arena, consts, table, records, i, picks)
            elif kind == LOOKING_UP:
                _pick(picks, picked, records[i], table)
                _look_up(arena, consts, records[i], picks)
            elif kind == INVERTING:
                invert(lanes, arena, consts, table, records, i)
            elif kind == SCALING:
                scale(lanes, arena, consts, table, records, i)
            elif kind == LOADING:
                _load(lanes, arena, records[i], likelihoods, tile, here)
            elif kind == EMITTING:
                _emit(lanes, arena, records[i], answers, tile, here)
        _conclude(arena, width, roots, scales, log_evidence, answers, tile, here)


@njit(cache=True)
def _pick(picks, picked, record, table):
    """Which of a table's values of the evidence each lane has."""
    picks[:] = 0
    for k in range(record[OUT_STEP]):
        place = record[FIRST_TERM] + 2 * k
        row, step = picked[table[place]], table[place + 1]
        for lane in range(len(picks)):
            picks[lane] += row[lane] * step


@njit(cache=True)
def _look_up(arena, consts, record, picks):
    width, values = len(picks), record[TERMS]
    for lane in range(width):
        first = record[FIRST] + picks[lane]
        for o in range(record[OUTER]):
            arena[(record[OUT] + o) * width + lane] = consts[first + o * values]


@njit(cache=True)
def _load(lanes, arena, record, likelihoods, tile, here):
    width, rows = len(lanes), likelihoods.shape[1]
    for o in range(record[OUTER]):
        if here == width:
            copy(lanes, arena, record[OUT] + o, likelihoods, (record[FIRST] + o) * rows + tile, True)
        else:
            for lane in range(width):
                arena[(record[OUT] + o) * width + lane] = likelihoods[record[FIRST] + o, tile + min(lane, here - 1)]


@njit(cache=True)
def _emit(lanes, arena, record, answers, tile, here):
    width, rows = len(lanes), answers.shape[1]
    for o in range(record[OUTER]):
        if here == width:
            copy(lanes, arena, record[SECOND] + o, answers, (record[OUT] + o) * rows + tile, False)
        else:
            for lane in range(here):
                answers[record[OUT] + o, tile + lane] = arena[(record[SECOND] + o) * width + lane]


@njit(cache=True)
def _conclude(arena, width, roots, scales, log_evidence, answers, tile, here):
    """log P(evidence): a product as long as it is far from the ends of double precision, then its logarithm."""
    for lane in range(here):
        total, product = 0.0, 1.0
        for k in range(len(roots) + len(scales)):
            if k < len(roots):
                product *= np.float64(arena[roots[k] * width + lane])
            else:
                product /= np.float64(arena[scales[k - len(roots)] * width + lane])
            if not 1e-150 < product < 1e150:
                total += np.log(product)
                product = 1.0
        total += np.log(product)
        log_evidence[tile + lane] += total
        if total == -np.inf:
            answers[:, tile + lane] = np.nan
