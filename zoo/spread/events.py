"""What happens among compartments: each transition in each group, and each compartment's travels between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from zoo.spread.transitions import Transition


@dataclass(frozen=True)
class Event:
    """A transition in one group, or a travel of one compartment; ends are (compartment, group)."""

    label: str
    source: tuple[str, int] | None
    target: tuple[str, int] | None
    group: int
    rate: int
    by: tuple[str, ...]
    scale: float
    moved: int = 1


def happenings(
    transitions: Sequence[Transition], parameters: Sequence[str], groups: Sequence[str] | None
) -> Iterator[Event]:
    """Every transition, group by group."""
    for group, where in enumerate([""] if groups is None else [f" in {name}" for name in groups]):
        for transition in transitions:
            source = None if transition.source is None else (transition.source, group)
            target = None if transition.target is None else (transition.target, group)
            rate, moved = parameters.index(transition.rate), 2 if transition.pairs else 1
            yield Event(transition.label + where, source, target, group, rate, tuple(transition.by), 1 / moved, moved)


def travels(names: Sequence[str], travel: Tensor, rate: int, groups: Sequence[str] | None) -> Iterator[Event]:
    """Every compartment's travels from a group to another, whose rate is 1 times what `travel` says."""
    for here, there in (travel - travel.diag().diag()).nonzero().tolist():
        for name in names:
            label = f"{name} from {groups[here]} to {groups[there]}" if groups else name
            yield Event(label, (name, here), (name, there), here, rate, (), float(travel[here, there]))
