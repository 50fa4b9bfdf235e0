"""Compartments and the transitions between them: one declaration for a population, a graph, and every way to run it.

    sir = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])

A head of S meets others at the rate beta, and a share I / N of them infects it: beta S I / N events a unit of time. A
head of I recovers at the rate gamma. Rates are named, so that they can be given, drawn from priors, or change in time.
Groups (ages, regions) make each compartment a vector; `contacts` says who meets whom, `travel` who moves where.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.registry import near
from zoo.spread.checks import add_up, clock, device_of, different, heads_of, matrix, numbers, rates_at
from zoo.spread.events import happenings, travels
from zoo.spread.transitions import Transition

__all__ = ["Compartments", "Rate", "Transition"]

Rate = Tensor | float | Callable[[float], Tensor | float]
"""A number, one for each of a batch, or a function of time that gives either."""


class Compartments:
    """Compartments of a population, and the events that move heads between them.

    Heads are tensors `[..., K]`; with G groups, K is G times the compartments, group by group. The E events are the
    transitions, group by group, then the travels.

    Parameters:
        names: the compartments; a string is one letter each.
        transitions: between them.
        groups: names of the groups, or None.
        contacts: [G, G], by what the rate is multiplied for a head of the row's group that meets one of the column's;
            the identity where None.
        travel: [G, G], at which rate a head moves from the row's group to the column's; the diagonal does not count.

    Raises:
        ValueError: none of them, or one twice; a transition of an unknown compartment; a matrix of another shape, or
            with negative numbers.
    """

    def __init__(
        self,
        names: str | Sequence[str],
        transitions: Sequence[Transition],
        *,
        groups: Sequence[str] | None = None,
        contacts: Tensor | Sequence[Sequence[float]] | None = None,
        travel: Tensor | Sequence[Sequence[float]] | None = None,
    ) -> None:
        self.names, self.transitions = different("compartments", names), different("transitions", transitions)
        self.groups = None if groups is None else different("groups", groups)
        for transition in self.transitions:
            for name in (transition.source, transition.target, *transition.by):
                if name is not None and name not in self.names:
                    raise ValueError(
                        f"the transition {transition.label} names {name!r}, which is no compartment"
                        f"{near(name, self.names)}"
                    )
        self.contacts = matrix("contacts", contacts, torch.eye(self._count, dtype=torch.float64))
        self.travel = matrix("travel", travel, torch.zeros(self._count, self._count, dtype=torch.float64))
        self.parameters = tuple(dict.fromkeys(transition.rate for transition in self.transitions))
        self._lay_out()

    def __repr__(self) -> str:
        groups = "" if self.groups is None else f", in the groups {', '.join(map(str, self.groups))}"
        return f"Compartments({', '.join(map(str, self.transitions))}{groups})"

    @property
    def _count(self) -> int:
        return 1 if self.groups is None else len(self.groups)

    @property
    def size(self) -> int:
        """K, the numbers of a state."""
        return self._count * len(self.names)

    def _lay_out(self) -> None:
        """What each event changes, whose heads it takes, and whom they meet."""
        events = [
            *happenings(self.transitions, self.parameters, self.groups),
            *travels(self.names, self.travel, len(self.parameters), self.groups),
        ]
        self.events = tuple(event.label for event in events)
        self.change = torch.zeros(len(events), self.size, dtype=torch.float64)
        """[E, K], what one event adds to each number."""
        self.taken = torch.zeros_like(self.change)
        """[E, K], the heads that the rate is a head's: the source's, or all of the group for births."""
        self.met = torch.zeros_like(self.change)
        """[E, K], how many contacts a head of the event's source has with each number, were all of its group there."""
        self.scale = torch.tensor([event.scale for event in events], dtype=torch.float64)
        self.rate_of = torch.tensor([event.rate for event in events], dtype=torch.long)
        self.contagious = torch.tensor([bool(event.by) for event in events])
        """[E], whether the event needs a contact."""
        for row, event in enumerate(events):
            for sign, end in ((-1, event.source), (1, event.target)):
                if end is not None:
                    self.change[row, self.index(end[0], end[1])] += sign * event.moved
            if event.source is None:
                self.taken[row].view(self._count, -1)[event.group] = 1
            else:
                self.taken[row, self.index(*event.source)] = 1
            for name in event.by:
                self.met[row].view(self._count, -1)[:, self.names.index(name)] = self.contacts[event.group]
        self._itself = torch.where(self.contagious, (self.met * self.taken).sum(-1), 0.0)
        self.alone = torch.where(self.contagious, 0.0, 1.0).to(torch.float64)
        """[E], 1 for events that need no contact."""
        self.group_of_events = torch.tensor([event.group for event in events], dtype=torch.long)
        self.group_of_heads = torch.arange(self._count).repeat_interleave(len(self.names))
        self.closed = not self.sizes(self.change).any()
        """Whether each group keeps its size."""

    def index(self, name: str, group: int = 0) -> int:
        """Where a compartment (of a group) is in a state."""
        if name not in self.names:
            raise ValueError(f"there is no compartment {name!r}{near(name, self.names)}")
        return group * len(self.names) + self.names.index(name)

    # ---- numbers given

    def state(self, *, population: float | Sequence[float] | Tensor | None = None, **heads: Any) -> Tensor:
        """Heads [..., K] of numbers by compartment, [...] each, or [..., G] with groups; zeros of those not named.

        Parameters:
            population: what they must add up to, [...] or [..., G], where that is known.
            heads: by compartment.

        Raises:
            TypeError: no numbers.
            ValueError: an unknown compartment; a number that is negative or not finite; another population.
        """
        for name in heads:
            self.index(name)
        device = device_of(heads)
        given = {name: numbers(f"heads of {name}", value, device) for name, value in heads.items()}
        if self.groups is None:
            given = {name: value[..., None] for name, value in given.items()}
        shape = torch.broadcast_shapes((self._count,), *(value.shape for value in given.values()))
        none = torch.zeros(shape, dtype=torch.float64, device=device)
        made = torch.stack([given.get(name, none).expand(shape) for name in self.names], -1).flatten(-2)
        if population is not None:
            told = numbers("a population", population, device)
            add_up(self.sizes(made), told[..., None] if self.groups is None else told)
        return made

    clock = staticmethod(clock)

    def checked(self, start: Tensor) -> Tensor:
        """Heads [..., K] as given, float64.

        Raises:
            TypeError: no tensor.
            ValueError: another width; heads that are negative or not finite.
        """
        return heads_of(start, self.size)

    def rates(self, given: Mapping[str, Rate], time: float = 0.0) -> Tensor:
        """The rates [..., P] at a time, in the order of `parameters`, checked by `rates_at`."""
        return rates_at(self.parameters, given, time)

    def to(self, device: torch.device) -> Compartments:
        """The same with its tables on a device."""
        if device == self.change.device:
            return self
        other = copy.copy(self)
        vars(other).update({name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)})
        return other

    # ---- what happens how often

    def paces(self, rates: Tensor) -> Tensor:
        """The rate of every event, [..., E], of rates [..., P]; an event that two make counts once."""
        one = rates.new_ones(*rates.shape[:-1], 1)  # the rate of travels, whose scale has it
        return torch.cat([rates, one], -1)[..., self.rate_of] * self.scale

    def sizes(self, heads: Tensor) -> Tensor:
        """All heads of each group, [..., G], of heads [..., K]."""
        return heads.unflatten(-1, (self._count, len(self.names))).sum(-1)

    def hazards(self, heads: Tensor, rates: Tensor) -> Tensor:
        """Events a unit of time, [..., E], where heads [..., K] are many: the deterministic limit. Rates [..., P]."""
        return self.flow(heads, self.paces(rates))

    def propensities(self, heads: Tensor, rates: Tensor) -> Tensor:
        """Events a unit of time, [..., E], of whole heads [..., K], none of which meets itself. Rates [..., P]."""
        return self.flow(heads, self.paces(rates), itself=self._itself)

    def flow(self, heads: Tensor, paces: Tensor, *, itself: Tensor | None = None) -> Tensor:
        """Events a unit of time, [..., E], of the rate of each; `itself` [E] is how often a head would meet itself."""
        sizes = self.sizes(heads)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        shares = heads / sizes[..., self.group_of_heads]
        pressure = shares @ self.met.T + self.alone
        if itself is not None:
            pressure = (pressure - itself / sizes[..., self.group_of_events]).clamp(min=0)
        return paces * (heads @ self.taken.T) * pressure
