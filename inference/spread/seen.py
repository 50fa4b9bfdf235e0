"""What was seen of a spread on a graph: at each step, in which compartments each node may have been."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.near import near
from inference.spread.moves import Moves


@dataclass(frozen=True)
class Seen:
    """What is known of histories of n nodes in T steps.

    Attributes:
        allowed: [n, T + 1, K], whether a node may have been in a compartment at a step.
        log_start: [n, K], log of the chance to begin in each compartment.
    """

    allowed: np.ndarray
    log_start: np.ndarray

    @property
    def steps(self) -> int:
        return self.allowed.shape[1] - 1


def seen_of(moves: Moves, given: Mapping[Any, Any], seeds: Any = None) -> Seen:
    """What `given` says, as `inference.spread.history.history` reads it.

    Raises:
        ValueError: an unknown key or node, a step that is none or beyond the last, what contradicts itself.
    """
    known = ("step", "start", "seen", "infected", "reached", *moves.names)
    if unknown := [key for key in given if key not in known]:
        raise ValueError(f"what was seen has no {unknown[0]!r}{near(unknown[0], known)}")
    apart = ("step", "start", "seen")
    seen = {key: _by_step(moves, key, given[key], given.get("step")) for key in given if key not in apart}
    last = _last(moves, given, seen)
    allowed = np.ones((len(moves.nodes), last + 1, len(moves.names)), dtype=bool)
    for key, steps in seen.items():
        if key in ("infected", "reached") and 0 in moves.target:
            raise ValueError(f"nodes return to {moves.names[0]}: say {moves.names[1]!r}, not {key!r}, at which step")
        for node, step in steps.items():
            _see(moves, allowed[node], key, step)
    if "seen" in given:
        named = {node for steps in seen.values() for node in steps}
        alone = [node for node in _by_step(moves, "seen", given["seen"], last) if node not in named]
        allowed[alone, last, 1:] = False
    log_start = _log_start(moves, given.get("start"), seeds)
    _check(moves, allowed, log_start)
    return Seen(allowed, log_start)


def _see(moves: Moves, allowed: np.ndarray, key: str, step: int | None) -> None:
    if key == "reached":
        allowed[:step, 1:] = False  # None: never
        if step is not None:
            allowed[step, 0] = False
    elif key == "infected":
        allowed[step, 0] = False
    else:
        allowed[step, [k for k, name in enumerate(moves.names) if name != key]] = False


def _by_step(moves: Moves, key: str, given: Any, step: Any) -> dict[int, int | None]:
    """place -> step, of labels that were seen at the last step, or of label -> step."""
    if not isinstance(given, Mapping) or key == "seen":
        if key == "reached":
            raise ValueError("'reached' maps nodes to the steps that reached them, {node: step}, None for never")
        if step is None:
            raise ValueError(f"at which step were the nodes of {key!r} seen? Give 'step', or {{node: step}}")
        given = dict.fromkeys(listed(key, given), step)
    check_nodes(moves, key, given)
    for label, when in given.items():
        if when is None and key == "reached":
            continue
        if isinstance(when, bool) or int(when) != when or when < 0:
            raise ValueError(f"{key!r} of the node {label!r} is a step, a whole number from 0 on, not {when!r}")
    return {moves.places[label]: None if when is None else int(when) for label, when in given.items()}


def check_nodes(moves: Moves, key: str, labels: Iterable[Any]) -> None:
    for label in labels:
        if label not in moves.places:
            raise ValueError(f"the graph has no node {label!r}, which {key!r} names{near(label, moves.nodes)}")


def listed(key: str, given: Any) -> list[Any]:
    """Labels of nodes, which are no single one."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"the nodes of {key!r} are given as a list, [{given!r}], not as {given!r}")
    return given.tolist() if hasattr(given, "tolist") else list(given)


def _last(moves: Moves, given: Mapping[Any, Any], seen: Mapping[str, Mapping[int, int | None]]) -> int:
    steps = {(key, node): step for key, each in seen.items() for node, step in each.items() if step is not None}
    last = given.get("step", max(steps.values(), default=None))
    if last is None:
        raise ValueError("until which step do the histories go? Give {'step': ...}")
    if isinstance(last, bool) or int(last) != last or last < 1:
        raise ValueError(f"'step', the last one, is a whole number from 1 on, not {last!r}")
    for (key, node), step in steps.items():
        if step > last:
            raise ValueError(f"{key!r} has the node {moves.nodes[node]!r} at step {step}, beyond the last, {last}")
    return int(last)


def _log_start(moves: Moves, start: Any, seeds: Any) -> np.ndarray:
    """[n, K]: those of `start` where they are told, or else seeds by chance."""
    chances = np.zeros((len(moves.nodes), len(moves.names)))
    if start is None:
        chances[:, moves.first] = _chance(moves, 1 / len(moves.nodes) if seeds is None else seeds)
    else:
        if seeds is not None:
            raise ValueError("give 'start', who began it, or seeds, the chance of each node to have, and not both")
        for name, labels in start.items():
            if name not in moves.names:
                raise ValueError(f"'start' names {name!r}, which is no compartment{near(name, moves.names)}")
            for node in _by_step(moves, "start", labels, 0):
                chances[node, moves.names.index(name)] = 1.0
    chances[:, 0] += 1 - chances.sum(1)
    with np.errstate(divide="ignore"):
        return np.log(chances)


def _chance(moves: Moves, seeds: Any) -> np.ndarray:
    """[n], of each node to be a seed; of label -> chance, those not named have none."""
    if isinstance(seeds, Mapping):
        found = np.zeros(len(moves.nodes))
        check_nodes(moves, "seeds", seeds)
        for label, chance in seeds.items():
            found[moves.places[label]] = chance
    else:
        found = np.broadcast_to(np.asarray(seeds, float), (len(moves.nodes),))
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            f"the chance to be a seed lies between 0 and 1, not at {found[~((found >= 0) & (found <= 1))][0]}"
        )
    return found


def _check(moves: Moves, allowed: np.ndarray, log_start: np.ndarray) -> None:
    """Refuse what no node's path could be, whatever its neighbours'."""
    now = allowed[:, 0] & (log_start > -np.inf)
    for step in range(1, allowed.shape[1]):
        _named(moves, now, step - 1)
        after = now.copy()
        for source, target in zip(moves.source, moves.target, strict=True):
            after[:, target] |= now[:, source]
        now = after & allowed[:, step]
    _named(moves, now, allowed.shape[1] - 1)


def _named(moves: Moves, now: np.ndarray, step: int) -> None:
    if (none := ~now.any(1)).any():
        label = moves.nodes[int(none.argmax())]
        raise ValueError(f"what was seen of the node {label!r} contradicts itself, or how it began, at step {step}")
