"""The interpreter of an encoded program: a tile of rows at a time, all its tables in one small arena.

Numba keeps the machine code beside this file and looks at this file alone: whoever changes lanes.py, loops.py or
moves.py deletes `__pycache__/*.nbi`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from inference.exact.encoding import CONTRACTS, GATHERING, INVERTING, LOADING, SCALING, STORING
from inference.exact.lanes import FIRST, KIND, OUT, OUTER, SECOND
from inference.exact.loops import contract, invert, scale
from inference.exact.moves import gather, load, store


@njit(cache=True, nogil=True)
def run(lanes, records, table, consts, arena, codes, likelihoods, answers, log_evidence, roots, scales, start, stop):
    """Rows from `start` to `stop`; a last tile that is not full is filled up with the last row."""
    width = len(lanes)
    picked = np.empty((len(codes), width), np.int64)
    for tile in range(start, stop, width):
        here = min(width, stop - tile)
        for h in range(len(codes)):
            for lane in range(width):
                picked[h, lane] = codes[h, tile + min(lane, here - 1)]
        for i in range(len(records)):
            kind = records[i, KIND]
            if kind < CONTRACTS:
                contract(lanes, arena, consts, table, records, i)
            elif kind == GATHERING:
                gather(lanes, arena, consts, table, records, i, picked)
            elif kind == INVERTING:
                invert(lanes, arena, consts, table, records, i)
            elif kind == SCALING:
                scale(lanes, arena, consts, table, records, i)
            elif kind == LOADING and here == width:
                load(lanes, arena, consts, table, records, i, likelihoods, tile)
            elif kind == LOADING:
                _load_some(lanes, arena, records[i], likelihoods, tile, here)
            elif kind == STORING and here == width:
                store(lanes, arena, consts, table, records, i, answers, tile)
            elif kind == STORING:
                _store_some(lanes, arena, records[i], answers, tile, here)
        _conclude(arena, width, roots, scales, log_evidence, answers, tile, here)


@njit(cache=True)
def _load_some(lanes, arena, record, likelihoods, tile, here):
    width = len(lanes)
    for o in range(record[OUTER]):
        for lane in range(width):
            arena[(record[OUT] + o) * width + lane] = likelihoods[record[FIRST] + o, tile + min(lane, here - 1)]


@njit(cache=True)
def _store_some(lanes, arena, record, answers, tile, here):
    for o in range(record[OUTER]):
        for lane in range(here):
            answers[record[OUT] + o, tile + lane] = arena[(record[SECOND] + o) * len(lanes) + lane]


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
        if log_evidence[tile + lane] == -np.inf:
            answers[:, tile + lane] = np.nan
