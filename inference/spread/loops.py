"""Sweeps over histories of one beginner as plain loops, in machine code where numba is installed.

A sweep draws every node's (x, r) from their exact conditional given all others', then proposes other sources.

`law` is what `Histories` holds, as arrays: steps, edges into each node and out of it (where a node's begin, whose,
hazards), whether these are the same, alike and for ever, options' x and r [O], their nats that are a node's own and no
edge's, [n, O], where it did not begin it and where it did, the option by (x, r) [T + 2, T + 2], the hazard of every
edge where they are alike (else 0), and `log_hit` of its multiples, of which the first is what a stray costs.
"""

from __future__ import annotations

import math

import numpy as np

from inference.spread.law import TINY
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
    return math.log(-math.expm1(-hazard)) if hazard > TINY else table[0]


@njit(cache=True, nogil=True)
def _along(law, x, r, source, j):
    """Nats of a node's time given all others', along its edges, and the hazard that it was under when reached."""
    start, who, hazards = law[1]
    spared, hit, last = 0.0, 0.0, x[j] - 1
    for e in range(start[j], start[j + 1]):
        i = who[e]
        if x[i] <= last:
            if last < r[i]:
                hit += hazards[e]
            spared += hazards[e] * (min(last, r[i]) - x[i])
    if j == source:
        return 0.0, hit
    return (log_hit(hit, law[9], law[10]) if x[j] <= law[0] else 0.0) - spared, hit


@njit(cache=True, nogil=True)
def _move(law, x, r, hit, node, old_x, old_r, one, other):
    """Nats by which what `node` passes on changes with its times, to all but two; `hit` is kept up."""
    start, whom, hazards = law[2]
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
                    gain += log_hit(hit[j], law[9], law[10]) - log_hit(before, law[9], law[10])
    return gain


@njit(cache=True, nogil=True)
def redraw(law, option, x, r, hit, source, node, uniform, room, cool):
    """Draw a node's (x, r) from their conditional given all others'."""
    steps, out, options_x, options_r, unit, table = law[0], law[2], law[4], law[5], law[9], law[10]
    pressure, own, passed, was = room[0], room[1], room[2], x[node]
    if law[3]:
        _both(steps, out, x, hit, source, node, pressure, own, passed, room[3], unit, table)
    else:
        _reached(steps, law[1], x, r, node, pressure, own, unit, table)
        _passed(steps, out, x, r, hit, source, node, passed, room[3], unit, table)
    alone = law[7][node] if node == source else law[6][node]
    if node == source:
        own[: steps + 2] = 0.0
    logits, top = room[4], -np.inf
    for o in range(len(options_x)):
        k, end = options_x[o], options_r[o]
        logits[o] = alone[o] + cool * (own[k] + passed[min(end, steps)] - passed[min(k, steps)])
        top = max(top, logits[o])
    drawn = _drawn(logits, len(options_x), top, uniform)
    option[node], x[node], r[node] = drawn, options_x[drawn], options_r[drawn]
    hit[node] = pressure[x[node] - 1] if x[node] > 0 else 0.0
    start, whom, hazards = out
    if law[3] and x[node] != was:
        for e in range(start[node], start[node + 1]):
            hit[whom[e]] += unit * ((x[node] < x[whom[e]]) - (was < x[whom[e]]))
    if not law[3]:
        for e in range(start[node], start[node + 1]):
            if x[node] < x[whom[e]] <= r[node]:
                hit[whom[e]] += hazards[e]


@njit(cache=True, nogil=True)
def _both(steps, out, x, hit, source, node, pressure, own, passed, gained, unit, table):
    """What `_reached` and `_passed` find, in one pass where edges are mutual, alike, and pass it on for ever."""
    start, whom, _ = out
    pressure[: steps + 2] = 0.0
    gained[: steps + 2] = 0.0
    was, scale, begins = x[node], 1.0 / unit, -1
    for e in range(start[node], start[node + 1]):
        j = whom[e]
        pressure[x[j]] += 1.0
        if j == source:
            begins = x[j]
        else:
            others = int(hit[j] * scale + 0.5) - (was < x[j])
            gained[x[j]] += table[others + 1] - table[others]
    passed[steps], left = 0.0, pressure[steps + 1]
    for k in range(steps - 1, -1, -1):
        passed[k] = passed[k + 1] + left * unit - gained[k + 1]
        left += pressure[k + 1] - (begins == k + 1)
    spared, now, own[0] = 0.0, 0.0, 0.0
    for t in range(steps):
        now += pressure[t]
        pressure[t] = now * unit
        own[t + 1] = table[int(now + 0.5)] - spared
        spared += now * unit
    own[steps + 1] = -spared


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
    spared, now, own[0] = 0.0, 0.0, 0.0
    for t in range(steps):
        now += pressure[t]
        pressure[t] = now
        own[t + 1] = log_hit(now, unit, table) - spared
        spared += now
    own[steps + 1] = -spared


@njit(cache=True, nogil=True)
def _passed(steps, out, x, r, hit, source, node, passed, gone, unit, table):
    """Nats of what the node passes on until each step, into `passed`; its hazard now is taken out of `hit`."""
    start, whom, hazards = out
    passed[: steps + 2] = 0.0
    gone[: steps + 2] = 0.0
    left = 0.0
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
        before = _along(law, x, r, source, other)[0]
        fixed = law[7][source, option[source]] + law[6][other, option[other]]
        times = x[source], r[source], x[other], r[other]
        _exchange(x, r, source, other, uniforms[1] < 0.5)
        here, there = law[8][x[source], r[source]], law[8][x[other], r[other]]
        alone = law[6][source, here] + law[7][other, there] if min(here, there) >= 0 else -np.inf
        if alone > -np.inf:
            gain = _move(law, x, r, hit, source, times[0], times[1], source, other)
            gain += _move(law, x, r, hit, other, times[2], times[3], source, other)
            after, hit_here = _along(law, x, r, other, source)
            chance = math.exp(min(0.0, alone - fixed + cool * (gain + after - before)))
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
def pressures(law, x, r, source, hit, strays):
    """Nats of each history along its edges, [C], but for its `strays` [C]; hazards when reached into `hit` [C, n]."""
    nats = np.zeros(len(x))
    for c in range(len(x)):
        for j in range(x.shape[1]):
            along, hit[c, j] = _along(law, x[c], r[c], source[c], j)
            stray = j != source[c] and x[c, j] <= law[0] and hit[c, j] <= TINY
            strays[c] += stray
            nats[c] += along - law[10][0] if stray else along
    return nats
