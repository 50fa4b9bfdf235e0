"""Sweeps over histories of one beginner as plain loops, in machine code where numba is installed.

A sweep draws every node's (x, r) from their exact conditional given all others', then proposes other sources.

`law` is what `Histories` holds, as arrays: steps, outside [n], edges into each node and out of it (where a node's
begin, whose, hazards), options' x and r [O], allowed [n, O], the log chance of removal and the option by (x, r)
[T + 2, T + 2], log_start [n, T + 1], the hazard of every edge where they are alike (else 0), and `log_hit` of its
multiples.
"""

from __future__ import annotations

import math

import numpy as np

from inference.spread.law import IMPOSSIBLE, TINY
from inference.spread.sweeps import njit


@njit(cache=True, nogil=True)
def sweeps(law, option, x, r, hit, source, uniforms, swaps, early, cool, found):
    """A sweep over the nodes of each chain, then `swaps` proposals of another source."""
    chains, n = x.shape
    room = np.empty((5, max(law[0] + 3, len(law[4]))))
    order = np.empty(n, dtype=np.int64)
    for c in range(chains):
        for place in range(n):  # an order of the chain's own
            other = int(uniforms[c, n + place] * (place + 1))
            order[place] = order[other]
            order[other] = place
        for node in order:
            redraw(law, option[c], x[c], r[c], hit[c], source[c], node, uniforms[c, node], room, cool)
        for k in range(2 * n, 2 * n + 3 * swaps, 3):
            drawn = uniforms[c, k : k + 3]
            source[c] = swap(law, option[c], x[c], r[c], hit[c], source[c], drawn, early, cool, found)


@njit(cache=True, nogil=True)
def log_hit(hazard, unit, table):
    """log(1 - exp(-hazard)); looked up where every hazard is `unit`."""
    if unit > 0.0:
        return table[int(hazard * (1.0 / unit) + 0.5)]
    return math.log(-math.expm1(-hazard)) if hazard > TINY else IMPOSSIBLE


@njit(cache=True, nogil=True)
def _own(law, x, r, source, j):
    """Nats of a node's own times given all others', and the hazard that it was under when reached."""
    steps, outside, into, removal, log_start = law[0], law[1], law[2], law[7], law[9]
    start, who, hazards = into
    spared, hit, last = 0.0, 0.0, x[j] - 1
    for e in range(start[j], start[j + 1]):
        i = who[e]
        if x[i] <= last:
            if last < r[i]:
                hit += hazards[e]
            spared += hazards[e] * (min(last, r[i]) - x[i])
    total = removal[x[j], r[j]] - outside[j] * (min(r[j], steps) - min(x[j], steps))
    if j == source:
        return total + log_start[j, min(x[j], steps)], hit
    if x[j] == 0:
        return total + IMPOSSIBLE, hit
    return total - spared + (log_hit(hit, law[10], law[11]) if x[j] <= steps else 0.0), hit


@njit(cache=True, nogil=True)
def _move(law, x, r, hit, node, old_x, old_r, one, other):
    """Nats by which what `node` passes on changes with its times, to all but two; `hit` is kept up."""
    start, whom, hazards = law[3]
    gain = 0.0
    for e in range(start[node], start[node + 1]):
        j, w = whom[e], hazards[e]
        if j != one and j != other:
            last = x[j] - 1
            gain += w * (max(min(last, old_r) - old_x, 0) - max(min(last, r[node]) - x[node], 0))
            change = w * ((x[node] <= last < r[node]) - (old_x <= last < old_r))
            if change != 0.0:
                before = hit[j]
                hit[j] = max(before + change, 0.0)
                if x[j] <= law[0]:
                    gain += log_hit(hit[j], law[10], law[11]) - log_hit(before, law[10], law[11])
    return gain


@njit(cache=True, nogil=True)
def redraw(law, option, x, r, hit, source, node, uniform, room, cool):
    """Draw a node's (x, r) from their conditional given all others'."""
    steps, into, out, options_x, options_r, allowed, removal = law[0], law[2], law[3], law[4], law[5], law[6], law[7]
    pressure, own, passed = room[0], room[1], room[2]
    _reached(steps, into, x, r, node, pressure, own, law[10], law[11])
    if node == source:
        own[: steps + 1] = law[9][node]
        own[steps + 1] = IMPOSSIBLE
    _passed(steps, law[1][node], out, x, r, hit, source, node, passed, room[3], law[10], law[11])
    logits, top = room[4], -np.inf
    for o in range(len(options_x)):
        k, end = options_x[o], options_r[o]
        logits[o] = -np.inf
        if allowed[node, o]:
            logits[o] = cool * (own[k] + passed[min(end, steps)] - passed[min(k, steps)] + removal[k, end])
            top = max(top, logits[o])
    drawn = _drawn(logits, len(options_x), top, uniform)
    option[node], x[node], r[node] = drawn, options_x[drawn], options_r[drawn]
    hit[node] = pressure[x[node] - 1] if x[node] > 0 else 0.0
    start, whom, hazards = out
    for e in range(start[node], start[node + 1]):
        if x[node] < x[whom[e]] <= r[node]:
            hit[whom[e]] += hazards[e]


@njit(cache=True, nogil=True)
def _drawn(logits, count, top, uniform):
    total = 0.0
    for o in range(count):
        total += math.exp(logits[o] - top)
    left, last = uniform * total, 0
    for o in range(count):
        weight = math.exp(logits[o] - top)
        if weight > 0.0:
            last = o
            left -= weight
            if left < 0.0:
                break
    return last


@njit(cache=True, nogil=True)
def _reached(steps, into, x, r, node, pressure, own, unit, table):
    """log chance of being reached at each step, or never, into `own`; the hazard in each step into `pressure`."""
    start, who, hazards = into
    pressure[: steps + 2] = 0.0
    for e in range(start[node], start[node + 1]):
        pressure[x[who[e]]] += hazards[e]
        pressure[r[who[e]]] -= hazards[e]
    spared, now, own[0] = 0.0, 0.0, IMPOSSIBLE
    for t in range(steps):
        now += pressure[t]
        pressure[t] = now
        own[t + 1] = log_hit(now, unit, table) - spared
        spared += now
    own[steps + 1] = -spared


@njit(cache=True, nogil=True)
def _passed(steps, outside, out, x, r, hit, source, node, passed, gone, unit, table):
    """Nats of what the node passes on until each step, into `passed`; its hazard now is taken out of `hit`."""
    start, whom, hazards = out
    passed[: steps + 2] = 0.0
    gone[: steps + 2] = 0.0
    left = outside
    for e in range(start[node], start[node + 1]):
        j, w, last = whom[e], hazards[e], x[whom[e]] - 1
        if x[node] <= last < r[node]:
            hit[j] = max(hit[j] - w, 0.0)
        if j != source and last >= 0:
            left += w
            gone[last] += w
            if last < steps:
                passed[last + 1] += log_hit(hit[j] + w, unit, table) - log_hit(hit[j], unit, table)
    for t in range(steps):
        left -= gone[t]
        passed[t + 1] += passed[t] - left


@njit(cache=True, nogil=True)
def swap(law, option, x, r, hit, source, uniforms, early, cool, found):
    """Propose that the source exchanges its times, or x alone, with a node reached soon after; the source after it.

    Exchanged back it is as likely proposed. `found` [n] counts sources by the chance of the exchange.
    """
    count = 0
    for j in range(len(x)):
        count += j != source and x[j] <= x[source] + early
    place, other = int(uniforms[0] * count), -1
    for j in range(len(x)):
        if j != source and x[j] <= x[source] + early:
            if place == 0:
                other = j
                break
            place -= 1
    chance = 0.0
    if other >= 0:
        before = _own(law, x, r, source, source)[0] + _own(law, x, r, source, other)[0]
        times = x[source], r[source], x[other], r[other]
        _exchange(x, r, source, other, uniforms[1] < 0.5)
        here, there = law[8][x[source], r[source]], law[8][x[other], r[other]]
        if here >= 0 and there >= 0 and law[6][source, here] and law[6][other, there]:
            gain = _move(law, x, r, hit, source, times[0], times[1], source, other)
            gain += _move(law, x, r, hit, other, times[2], times[3], source, other)
            after, hit_here = _own(law, x, r, other, source)
            more, _ = _own(law, x, r, other, other)
            chance = math.exp(min(0.0, cool * (gain + after + more - before)))
            if uniforms[2] < chance:
                found[other] += chance
                found[source] += 1.0 - chance
                option[source], option[other], hit[source], hit[other] = here, there, hit_here, 0.0
                return other
            now = x[source], r[source], x[other], r[other]
            _exchange(x, r, source, other, uniforms[1] < 0.5)
            _move(law, x, r, hit, source, now[0], now[1], source, other)
            _move(law, x, r, hit, other, now[2], now[3], source, other)
            found[other] += chance
        else:
            _exchange(x, r, source, other, uniforms[1] < 0.5)
    found[source] += 1.0 - chance
    return source


@njit(cache=True, nogil=True)
def _exchange(x, r, one, other, both):
    x[one], x[other] = x[other], x[one]
    if both:
        r[one], r[other] = r[other], r[one]


@njit(cache=True, nogil=True)
def pressures(law, x, r, source, hit):
    """The hazard that each node is under when reached, into `hit`, and the nats of each history, [C]."""
    nats = np.zeros(len(x))
    for c in range(len(x)):
        for j in range(x.shape[1]):
            own, hit[c, j] = _own(law, x[c], r[c], source[c], j)
            nats[c] += own
    return nats
