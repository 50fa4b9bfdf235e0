"""The rate equations and their slopes as plain loops, compiled: LANES of a batch at a time, in a core's nearest cache.

Arrays are [..., B]; tables list, for each event, the heads it takes, those it meets and what it changes, row by row.
What numpy would write in one line is written out: its own loops take a second each to compile.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 32
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def course(start, paces, tables, weights, counts, widths, heads, happened):
    """Fill heads [T, K, B] and happened [T, E, B] from start [K, B] and paces [S, E, B]."""
    y, n, states, flows, pace, spare = _room(start, paces)
    for first in range(0, start.shape[1], y.shape[1]):
        _load(start, y, first)
        _fill(n, 0.0)
        _store(y, heads[0], first)
        _store(n, happened[0], first)
        at = 0
        for t in range(len(counts)):
            for _ in range(counts[t]):
                _stages(y, states, flows, paces, pace, at, first, widths[t], tables, weights, spare)
                _step(y, n, flows, widths[t], tables, weights)
                at += 2
            at += 1
            _store(y, heads[t + 1], first)
            _store(n, happened[t + 1], first)


@_compiled
def slopes(start, paces, tables, weights, counts, widths, of_heads, of_happened, of_start, of_paces):
    """Fill of_start [K, B] and of_paces [S, E, B] from the slopes of heads and happened, by going back step by step."""
    y, n, states, flows, pace, spare = _room(start, paces)
    back, later, rise, event = np.empty_like(y), np.empty_like(y), np.empty_like(n), np.empty_like(n)
    steps = 0
    for t in range(len(counts)):
        steps += counts[t]
    kept, slope = np.empty((steps, y.shape[0], y.shape[1])), np.empty((of_paces.shape[0], n.shape[0], y.shape[1]))
    for first in range(0, start.shape[1], y.shape[1]):
        _load(start, y, first)
        at, done = 0, 0
        for t in range(len(counts)):
            for _ in range(counts[t]):
                _copy(y, kept[done])
                _stages(y, states, flows, paces, pace, at, first, widths[t], tables, weights, spare)
                _step(y, n, flows, widths[t], tables, weights)
                at, done = at + 2, done + 1
            at += 1
        _fill(back, 0.0)
        _fill(rise, 0.0)
        for s in range(len(slope)):
            _fill(slope[s], 0.0)
        for t in range(len(counts) - 1, -1, -1):
            _more(of_heads[t + 1], back, first)
            _more(of_happened[t + 1], rise, first)
            at -= 1
            for _ in range(counts[t]):
                at, done = at - 2, done - 1
                _copy(kept[done], y)
                _stages(y, states, flows, paces, pace, at, first, widths[t], tables, weights, spare)
                _copy(back, y)
                _fill(later, 0.0)
                for stage in range(3, -1, -1):
                    _felt(stage, y, rise, later, event, widths[t], tables, weights)
                    row = _row(paces, at, stage)
                    _load(paces[row], pace, first)
                    _flow_back(states[stage], pace, event, later, slope[row], tables, weights, spare)
                    _add(later, back)
        _more(of_heads[0], back, first)
        _store(back, of_start, first)
        for s in range(len(slope)):
            _store(slope[s], of_paces[s], first)


@_compiled
def _room(start, paces):
    """Heads, events, the states and flows of four stages, rates, and room for sizes and products."""
    k, e, lanes = start.shape[0], paces.shape[1], min(LANES, start.shape[1])
    states, flows = np.empty((4, k, lanes)), np.empty((4, e, lanes))
    return np.empty((k, lanes)), np.empty((e, lanes)), states, flows, np.empty((e, lanes)), np.empty((2 * k + 2, lanes))


@_compiled
def _load(source, target, first):
    """Lanes past the end of the batch repeat its last."""
    last = source.shape[1] - 1
    for i in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[i, n] = source[i, min(first + n, last)]


@_compiled
def _store(source, target, first):
    for i in range(source.shape[0]):
        for n in range(min(source.shape[1], target.shape[1] - first)):
            target[i, first + n] = source[i, n]


@_compiled
def _more(source, target, first):
    last = source.shape[1] - 1
    for i in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[i, n] += source[i, min(first + n, last)]


@_compiled
def _fill(target, number):
    for i in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[i, n] = number


@_compiled
def _copy(source, target):
    for i in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[i, n] = source[i, n]


@_compiled
def _add(source, target):
    for i in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[i, n] += source[i, n]


@_compiled
def _row(paces, at, stage):
    """Where the rates of a stage are: at the beginning, in the middle twice, at the end."""
    return 0 if paces.shape[0] == 1 else at + (stage + 1) // 2


@_compiled
def _stages(y, states, flows, paces, pace, at, first, width, tables, weights, spare):
    """The states and flows of the four stages of a step from y."""
    for stage in range(4):
        state = states[stage]
        _copy(y, state)
        if stage:
            _change(state, flows[stage - 1], width if stage == 3 else width / 2, tables, weights)
        _load(paces[_row(paces, at, stage)], pace, first)
        _flow(state, pace, flows[stage], tables, weights, spare)


@_compiled
def _step(y, n, flows, width, tables, weights):
    total = flows[0]
    for e in range(n.shape[0]):
        for i in range(n.shape[1]):
            total[e, i] += 2 * (flows[1, e, i] + flows[2, e, i]) + flows[3, e, i]
            n[e, i] += width / 6 * total[e, i]
    _change(y, total, width / 6, tables, weights)


@_compiled
def _change(y, flow, width, tables, weights):
    for e in range(flow.shape[0]):
        for j in range(tables[4][e], tables[4][e + 1]):
            k, amount = tables[5][j], weights[1][j] * width
            for i in range(y.shape[1]):
                y[k, i] += amount * flow[e, i]


@_compiled
def _felt(stage, back, rise, later, event, width, tables, weights):
    """The slopes of a stage's flow: by what comes after the step, and by the stage after it."""
    share = width / 6 if stage == 0 or stage == 3 else width / 3
    reach = 0.0 if stage == 3 else (width if stage == 2 else width / 2)
    for e in range(rise.shape[0]):
        for i in range(rise.shape[1]):
            event[e, i] = share * rise[e, i]
        for j in range(tables[4][e], tables[4][e + 1]):
            k, amount = tables[5][j], weights[1][j]
            for i in range(rise.shape[1]):
                event[e, i] += amount * (share * back[k, i] + reach * later[k, i])
    _fill(later, 0.0)


@_compiled
def _shares(y, tables, spare):
    """One by the heads of each group, the first rows of `spare`."""
    group = tables[6]
    groups = group[-1] + 1
    _fill(spare[:groups], 0.0)
    for k in range(y.shape[0]):
        g = group[k]
        for i in range(y.shape[1]):
            spare[g, i] += y[k, i]
    for g in range(groups):
        for i in range(y.shape[1]):
            size = spare[g, i]
            spare[g, i] = 1.0 / (size if size > 0 else 1.0)
    return groups


@_compiled
def _products(e, y, takers, pressure, tables, weights, spare):
    """The heads that may take part in an event, and the pressure on each."""
    alone = weights[2][e]
    for i in range(y.shape[1]):
        takers[i] = 0.0
        pressure[i] = alone
    for j in range(tables[0][e], tables[0][e + 1]):
        k = tables[1][j]
        for i in range(y.shape[1]):
            takers[i] += y[k, i]
    for j in range(tables[2][e], tables[2][e + 1]):
        k, weight = tables[3][j], weights[0][j]
        g = tables[6][k]
        for i in range(y.shape[1]):
            pressure[i] += weight * y[k, i] * spare[g, i]


@_compiled
def _flow(y, pace, flow, tables, weights, spare):
    _shares(y, tables, spare)
    takers, pressure = spare[-1], spare[-2]
    for e in range(flow.shape[0]):
        _products(e, y, takers, pressure, tables, weights, spare)
        for i in range(y.shape[1]):
            flow[e, i] = pace[e, i] * takers[i] * pressure[i]


@_compiled
def _flow_back(y, pace, event, later, slope, tables, weights, spare):
    """Add to `later` the slopes of y, and to `slope` those of the paces, from those of the flow, `event`."""
    groups = _shares(y, tables, spare)
    takers, pressure, sizes, group = spare[-1], spare[-2], spare[groups : 2 * groups], tables[6]
    _fill(sizes, 0.0)
    for e in range(slope.shape[0]):
        _products(e, y, takers, pressure, tables, weights, spare)
        for i in range(y.shape[1]):
            slope[e, i] += event[e, i] * takers[i] * pressure[i]
            event[e, i] *= pace[e, i]
        for j in range(tables[0][e], tables[0][e + 1]):
            k = tables[1][j]
            for i in range(y.shape[1]):
                later[k, i] += event[e, i] * pressure[i]
        for j in range(tables[2][e], tables[2][e + 1]):
            k, weight = tables[3][j], weights[0][j]
            g = group[k]
            for i in range(y.shape[1]):
                felt = event[e, i] * takers[i] * weight * spare[g, i]
                later[k, i] += felt
                sizes[g, i] -= felt * y[k, i] * spare[g, i]
    for k in range(y.shape[0]):
        g = group[k]
        for i in range(y.shape[1]):
            later[k, i] += sizes[g, i]
