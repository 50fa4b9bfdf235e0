"""Chains over histories of a spread: replicas that explore, by strays, and trade places down to the one that counts.

Who began a spread, and by which unseen nodes it came, is rigid: no node can be moved alone. In the replicas of a chain
nodes are also reached from nowhere, at a small rate of its own for each replica; neighbouring replicas trade rates by
Metropolis, and the draws are of the replica whose rate is zero.

References:
    Exchange Monte Carlo Method and Application to Spin Glass Simulations (Hukushima and Nemoto, 1996),
    https://arxiv.org/abs/cond-mat/9512035
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.spread.begin import begun
from inference.spread.chances import gained, log_joint
from inference.spread.moves import Moves
from inference.spread.rates import Rates, update
from inference.spread.seen import Seen
from inference.spread.sweeps import sweep, weigh_contacts

STRAYS = (0.0, 0.25, 1.0, 3.0, 8.0, 20.0)
"""Strays that each replica would expect among nodes of which none is reached otherwise. Where little was seen a spread
that happened and none at all lie far apart: these six bring three times the draws of four up to 8, for half the price
again."""


class Walk:
    """A replica: a history, and rates, that move by sweeps."""

    def __init__(
        self, moves: Moves, seen: Seen, priors: Mapping[str, Any], strays: float, random: np.random.Generator
    ) -> None:
        self.moves, self.seen, self.random = moves, seen, random
        self.rates = Rates(moves, priors, seen.steps, random)
        self.states = begun(moves, seen, self.rates.table)
        self.stray = strays / (len(moves.nodes) * seen.steps)
        self.pressure = np.zeros((len(self.states), seen.steps, len(moves.met)))
        self.contacts = np.zeros(self.pressure.shape, dtype=np.int64)
        self.free = _free(seen)

    @property
    def stray(self) -> float:
        return float(self.rates.table[0, -1])

    @stray.setter
    def stray(self, rate: float) -> None:
        self.rates.table[:, -1] = rate

    @property
    def history(self) -> tuple[np.ndarray, np.ndarray]:
        return self.states, self.pressure

    def sweep(self) -> None:
        """A sweep over the nodes, in an order of its own."""
        moves, seen = self.moves, self.seen
        parts = self.states, self.pressure, self.contacts
        weigh_contacts(self.states, *moves.arcs, moves.met, *parts[1:])  # anew, that rounding does not pile up
        order = self.random.permutation(self.free)
        luck = self.random.random((len(order), seen.steps + 1))
        sweep(*parts, moves.arcs, self.rates.table, moves.law, seen.log_start, seen.allowed, order, luck)

    def gain(self, stray: float) -> float:
        """log p(this history), were the rate of strays this one, less what it is."""
        table = self.rates.table.copy()
        table[:, -1] = stray
        return gained(self.states, self.pressure, self.rates.table, table, *self.moves.law[:3])

    def log_joint(self) -> float:
        """log p(this history)."""
        return log_joint(self.states, self.pressure, self.rates.table, *self.moves.law[:3], self.seen.log_start)

    def draw(self) -> dict[str, Any]:
        came = {name: _first(self.states == k) for k, name in enumerate(self.moves.names) if k}
        return {**self.rates.values, "reached": _first(self.states != 0), **came, "lp": self.log_joint()}


def warm(walks: list[Walk], sweeps: int) -> None:
    for _ in range(sweeps):
        _round(walks, True)


def drawn(walks: list[Walk], draws: int, thin: int) -> dict[str, np.ndarray]:
    """Draws of the replica without strays, by name, and "lp", the log density of its histories given its rates."""
    kept = []
    for _ in range(draws):
        for _ in range(thin):
            _round(walks, False)
        kept.append(walks[0].draw())
    return {name: np.stack([draw[name] for draw in kept]) for name in kept[0]}


def _round(walks: list[Walk], warming: bool) -> None:
    """A sweep of each replica, and its rates, then trades between neighbours."""
    for walk in walks:
        walk.sweep()
    update([walk.rates for walk in walks], [walk.history for walk in walks], warming)
    for place in range(len(walks) - 1):
        _trade(walks, place)


def _trade(walks: list[Walk], place: int) -> None:
    """Let two neighbouring replicas trade their rates of strays, and with them their places."""
    one, other = walks[place : place + 2]
    a, b = one.stray, other.stray
    if math.log(1 - one.random.random()) < one.gain(b) + other.gain(a):
        one.stray, other.stray = b, a
        walks[place], walks[place + 1] = other, one


def _free(seen: Seen) -> np.ndarray:
    """The nodes whose path is not known."""
    start = seen.allowed[:, 0] & (seen.log_start > -np.inf)
    return np.flatnonzero((start.sum(1) > 1) | (seen.allowed[:, 1:].sum(2) > 1).any(1))


def _first(there: np.ndarray) -> np.ndarray:
    """[n], the first step at which a node is there, steps + 1 where it never is."""
    return np.where(there.any(1), there.argmax(1), there.shape[1])
