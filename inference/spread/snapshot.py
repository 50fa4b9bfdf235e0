"""A spread seen once: which nodes it had reached by then, and the histories that this allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from inference.near import near
from inference.protocols import name_of
from inference.spread.law import IMPOSSIBLE, Histories, options
from inference.spread.moves import Moves, moves_of
from inference.spread.seen import check_nodes, listed


@dataclass(frozen=True)
class Snapshot:
    """What was seen of n nodes at one step.

    Attributes:
        moves: of the spread.
        could: [n, K], whether a node may have been in a compartment.
        steps: step -> its chance to be the one at which it was seen.
        reading: what was taken of the nodes that were not named.
    """

    moves: Moves
    could: np.ndarray
    steps: dict[int, float]
    reading: str

    @classmethod
    def of(cls, spread: Any, given: Mapping[Any, Any]) -> Snapshot:
        """What `given` says, as `inference.spread.source.source` reads it.

        Raises:
            ValueError: a spread of another kind; unknown keys or nodes; no step, or nobody who was reached.
        """
        moves = _checked(spread)
        known = ("infected", "seen", "step", *moves.names)
        if unknown := [key for key in given if key not in known]:
            raise ValueError(f"a snapshot has no {unknown[0]!r}{near(unknown[0], known)}")
        steps = _steps(given.get("step"))
        could = np.zeros((len(moves.nodes), len(moves.names)), dtype=bool)
        could[:, 0] = True
        if "seen" in given:
            could[:] = True
            could[_places(moves, "seen", given["seen"]), 1:] = False
        told: dict[int, str] = {}
        for key in (name for name in ("infected", *moves.names) if name in given):
            for place in _places(moves, key, given[key]):
                if place in told and told[place] != "infected":
                    raise ValueError(f"the node {moves.nodes[place]!r} is in {told[place]} and in {key}: one is right")
                could[place] = [k > 0 if key == "infected" else name == key for k, name in enumerate(moves.names)]
                told[place] = key
        if could[:, 0].all():
            raise ValueError("nobody was reached, so that nothing says who began it: name those who were as 'infected'")
        others = "'seen' and not named" if "seen" in given else "not named"
        return cls(moves, could, steps, f"where nodes {others} were seen unreached")

    @property
    def reached(self) -> np.ndarray:
        """Places of nodes that it had reached for certain."""
        return np.flatnonzero(~self.could[:, 0])

    def candidates(self) -> np.ndarray:
        """Places of nodes that may have begun it: near enough to all that were reached, past none that was not.

        Raises:
            ValueError: there is none.
        """
        passable = np.asarray(self.could[:, 1:].any(1))
        adjacency = _adjacency(self.moves, passable)
        far = dijkstra(adjacency.T, indices=self.reached, unweighted=True)
        near_enough = (far <= max(self.steps)).all(0) & passable
        if not near_enough.any():
            raise ValueError(self._impossible(adjacency, far))
        return np.flatnonzero(near_enough)

    def _impossible(self, adjacency: sparse.csr_matrix, far: np.ndarray) -> str:
        who, steps = self.moves.nodes, max(self.steps)
        _, piece = connected_components(adjacency, directed=False)
        pieces = [self.reached[piece[self.reached] == p] for p in np.unique(piece[self.reached])]
        if len(pieces) > 1:
            told = " and ".join(f"{who[p[0]]!r} ({len(p)} in all)" for p in pieces[:3])
            more = f" and {len(pieces) - 3} more" if len(pieces) > 3 else ""
            return f"no one node began it: no path of nodes that may have been reached joins {told}{more}"
        return f"no node can have reached all {len(self.reached)} in {steps} steps; the nearest to all takes more"

    def histories(self) -> tuple[np.ndarray, Histories]:
        """The places of the nodes that may have been reached, and the law of their histories, begun by a candidate."""
        moves, steps = self.moves, max(self.steps)
        candidates = self.candidates()
        adjacency = _adjacency(moves, np.asarray(self.could[:, 1:].any(1)))
        ahead = dijkstra(adjacency, indices=candidates, unweighted=True, min_only=True)
        kept = np.flatnonzero(ahead <= steps)
        place = np.full(len(moves.nodes), -1)
        place[kept] = np.arange(len(kept))
        who, whom, hazards = _edges(moves)
        inside, leaving = (place[who] >= 0) & (place[whom] >= 0), (place[who] >= 0) & (place[whom] < 0)
        outside = np.bincount(place[who[leaving]], hazards[leaving], minlength=len(kept))
        pairs, log_removal = options(steps, _removal(moves))
        return kept, Histories(
            steps,
            torch.from_numpy(np.stack([place[who[inside]], place[whom[inside]]], 1)),
            torch.from_numpy(hazards[inside]),
            torch.from_numpy(outside.astype(float)),
            pairs,
            log_removal,
            self._allowed(pairs)[kept],
            self._log_start(place[candidates], len(kept)),
        )

    def _allowed(self, pairs: Tensor) -> Tensor:
        """[n, O], whether a node may have had each (x, r)."""
        (x, r), steps = pairs.T, max(self.steps)
        end = torch.where(x > steps, 0, torch.where(r > steps, 1, 2))
        could = torch.from_numpy(np.pad(self.could, ((0, 0), (0, 3 - self.could.shape[1]))))
        return could[:, end]

    def _log_start(self, candidates: np.ndarray, n: int) -> Tensor:
        """[n, T + 1]: seen at `step`, it was begun `step` before the last of all."""
        found = torch.full((n, max(self.steps) + 1), IMPOSSIBLE, dtype=torch.float64)
        for step, chance in self.steps.items():
            found[torch.from_numpy(candidates), max(self.steps) - step] = math.log(chance / len(self.moves.nodes))
        return found


def _checked(spread: Any) -> Moves:
    """The moves of a spread whose nodes are reached by contact, then removed at most."""
    if not hasattr(spread, "rates"):
        raise ValueError(f"who began it is asked of a spread by hazards along edges, which {name_of(spread)} has not")
    moves = moves_of(spread)
    names = moves.names
    first, second = names[:2]
    path = [(t.source, t.target, tuple(t.by)) for t in spread.compartments.transitions]
    if path[:1] != [(first, second, (second,))] or path[1:] not in ([], [(second, names[-1], ())]) or len(names) > 3:
        raise ValueError(
            f"who began it is asked of spreads like SI, SIR and cascades, not of {', '.join(names)}: nodes go from the "
            "first compartment to the second by contact with it, and then at most to a third"
        )
    if any(callable(rate) or getattr(rate, "ndim", 0) for rate in spread.rates.values()):
        raise ValueError("who began it needs rates that are one number each, not functions of time or batches")
    return moves


def _edges(moves: Moves) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indptr, indices, weights = moves.arcs
    who = np.repeat(np.arange(len(moves.nodes)), np.diff(indptr))
    return who, indices, weights * moves.rates(1)[0, 0]


def _removal(moves: Moves) -> float | None:
    return -math.expm1(-moves.rates(1)[0, 1]) if len(moves.names) > 2 else None


def _adjacency(moves: Moves, passable: np.ndarray) -> sparse.csr_matrix:
    """Edges that pass it on, between nodes that may have been reached."""
    who, whom, hazards = _edges(moves)
    live = (hazards > 0) & passable[who] & passable[whom]
    n = len(moves.nodes)
    return sparse.csr_matrix((np.ones(int(live.sum())), (who[live], whom[live])), shape=(n, n))


def _places(moves: Moves, key: str, labels: Any) -> list[int]:
    if isinstance(labels, Mapping):
        raise ValueError(
            f"who began it is asked of nodes as seen at one step, so that {key!r} is a list, not {{node: step}}: of "
            "what was seen at several, `history` draws who began it, those that were reached at step 0"
        )
    nodes = listed(key, labels)
    check_nodes(moves, key, nodes)
    return [moves.places[label] for label in nodes]


def _steps(given: Any) -> dict[int, float]:
    """step -> chance, of a step or of such a mapping."""
    if given is None:
        raise ValueError("at which step was it seen? Give 'step', or {step: its chance}")
    chances = given if isinstance(given, Mapping) else {given: 1.0}
    for step, chance in chances.items():
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
            raise ValueError(f"'step' is a whole number from 0 on, or maps such to chances, not {step!r}")
        if not 0 <= chance < math.inf:
            raise ValueError(f"the chance of step {step} is a number from 0 on, not {chance!r}")
    total = sum(chances.values())
    if not total > 0:
        raise ValueError("no step has a chance: give 'step', or {step: its chance}")
    return {int(step): chance / total for step, chance in chances.items() if chance > 0}
