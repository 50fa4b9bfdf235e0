"""A first history of a spread that what was seen allows: each node passes it on for as long as it may."""

from __future__ import annotations

import numpy as np

from inference.spread.moves import Moves
from inference.spread.seen import Seen


def begun(moves: Moves, seen: Seen, rates: np.ndarray) -> np.ndarray:
    """States [n, T + 1], int8, of a history that is possible.

    Where compartments only go forward there is one whenever any history is possible, as nobody could be infected by
    fewer neighbours than here.

    Raises:
        ValueError: there is none; it names a node that nobody could have infected when it was.
    """
    able = rates.max(0) > 0
    could = _could_be(moves, seen, able)
    value = np.where(could, moves.met.any(0).astype(float), -np.inf)
    for t in range(seen.steps - 1, -1, -1):
        value[:, t] += _after(moves, value[:, t + 1], _reach(moves, could[:, t]), able).max(2)
    states = np.empty(could.shape[:2], dtype=np.int8)
    states[:, 0] = np.where(seen.log_start > -np.inf, value[:, 0], -np.inf).argmax(1)
    every = np.arange(len(states))
    for t in range(seen.steps):
        reach = _reach(moves, np.eye(len(moves.names), dtype=bool)[states[:, t]])
        after = _after(moves, value[:, t + 1], reach, able)[every, states[:, t]]
        _refuse(moves, np.all(after == -np.inf, axis=1), t + 1)
        states[:, t + 1] = after.argmax(1)
    return states


def _could_be(moves: Moves, seen: Seen, able: np.ndarray) -> np.ndarray:
    """[n, T + 1, K], compartments in which each node could be at each step, by what it and its neighbours could do."""
    free = np.ones((len(moves.nodes), len(moves.met)), dtype=bool)
    later = seen.allowed.copy()
    for t in range(seen.steps - 1, -1, -1):  # those from which what was seen later can be reached
        onward = np.where(later[:, t + 1], 0.0, -np.inf)
        later[:, t] &= _after(moves, onward, free, able).max(2) > -np.inf
    could = np.zeros_like(later)
    could[:, 0] = later[:, 0] & (seen.log_start > -np.inf)
    for t in range(seen.steps):
        reach, after = _reach(moves, could[:, t]), could[:, t].copy()
        for j in np.flatnonzero(able).tolist():
            after[:, moves.target[j]] |= could[:, t, moves.source[j]] & _open(moves, reach, j)
        could[:, t + 1] = after & later[:, t + 1]
        _refuse(moves, np.all(~could[:, t + 1], axis=1), t + 1)
    return could


def _reach(moves: Moves, could: np.ndarray) -> np.ndarray:
    """[n, G], whether a node has an in-neighbour that could be in a compartment of each group."""
    indptr, indices, weights = moves.arcs
    who = np.repeat(np.arange(len(could)), np.diff(indptr))[weights > 0]
    found = np.zeros((len(could), len(moves.met)), dtype=bool)
    for g, met in enumerate(moves.met):
        passing = np.any(could[:, met > 0], axis=1).reshape(-1)
        found[indices[weights > 0][passing[who]], g] = True
    return found


def _open(moves: Moves, reach: np.ndarray, j: int) -> np.ndarray:
    return reach[:, moves.group[j]] if moves.group[j] >= 0 else np.ones(len(reach), dtype=bool)


def _after(moves: Moves, value: np.ndarray, reach: np.ndarray, able: np.ndarray) -> np.ndarray:
    """[n, K, K], the value of the next compartment, of those that can be gone to from each."""
    size = len(moves.names)
    found = np.full((len(value), size, size), -np.inf)
    found[:, range(size), range(size)] = value
    for j in np.flatnonzero(able).tolist():
        source, target = moves.source[j], moves.target[j]
        found[:, source, target] = np.where(_open(moves, reach, j), value[:, target], found[:, source, target])
    return found


def _refuse(moves: Moves, none: np.ndarray, step: int) -> None:
    if none.any():
        label = moves.nodes[int(none.argmax())]
        raise ValueError(
            f"what was seen can't have happened: by step {step} no neighbour could have passed it on to the node "
            f"{label!r}, or it could not move on as it did"
        )
