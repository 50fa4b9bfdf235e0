"""Compartments on a graph: each node is in one of them, and edges pass it on, in steps of time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Rate, Transition
from zoo.spread.frontier import Walk, out_edges, successes
from zoo.spread.graph import ChangingGraph, Graph
from zoo.spread.replicates import OnGraph, Step, checked


class GraphSpread(OnGraph):
    """A spread on a graph in discrete time.

    In a step of length h each out-edge of weight w, from a node that infects to one that can be, passes it on with
    chance 1 - exp(-rate w h), and a transition without contact happens with chance 1 - exp(-rate h), all independently
    and by the states before the step. Where a node could make several transitions the first in time happens: one with
    hazard a of a sum b with chance (1 - exp(-b h)) a / b.

    Parameters:
        compartments: of one group, without births and deaths: the nodes stay.
        graph: who meets whom.
        rates: by name, a unit of time (and of weight); a number, one for each replicate, or a function of time.
        step: h.

    Raises:
        ValueError: what compartments of a graph can't do; a rate that is missing, unknown or negative.
    """

    def __init__(
        self, compartments: Compartments, graph: Graph | ChangingGraph, rates: Mapping[str, Rate], *, step: float = 1.0
    ) -> None:
        if not isinstance(compartments, Compartments):
            raise TypeError(f"a spread is of Compartments, as sir() gives, not of {compartments!r}")
        if not 0 < step < math.inf:
            raise ValueError(f"a step is a time above 0, not {step}")
        if compartments.groups is not None:
            raise ValueError("on a graph the edges say who meets whom: give compartments without groups")
        for transition in compartments.transitions:
            _check(transition)
        compartments.rates(rates)
        for name, rate in rates.items():  # those that are differentiated, too
            if isinstance(rate, Tensor) and not (rate >= 0).all():
                raise ValueError(f"the rate {name!r} must be a number from 0 on, not {rate.min().item():g}")
        self.compartments, self.graph, self.rates, self.step = compartments, checked(graph), dict(rates), step

    def __repr__(self) -> str:
        names = self.compartments.names
        return f"GraphSpread({('' if max(map(len, names)) == 1 else '-').join(names)} on a {self.graph!r})"

    @cached_property
    def active(self) -> frozenset[int]:
        """Compartments of those who pass it on, or will without being met."""
        found = {name for transition in self.compartments.transitions for name in transition.by}
        while more := {str(t.source) for t in self._alone if t.target in found} - found:
            found |= more
        return frozenset(self.compartments.names.index(name) for name in found)

    @property
    def _alone(self) -> list[Transition]:
        return [t for t in self.compartments.transitions if not t.by]

    def _walk(self, begun: Tensor, portion: slice, of: int, generator: torch.Generator) -> tuple[Walk, Step]:
        index, moves = self.compartments.index, self.compartments.transitions
        followed = {index(name) for t in moves for name in t.by} | {index(t.source) for t in self._alone if t.source}
        walk = Walk(begun, self.compartments.size, followed)
        return walk, _Stepper(self, portion, of, generator).step


def _check(transition: Transition) -> None:
    if transition.source is None or transition.target is None:
        raise ValueError(f"{transition.label} on a graph: its nodes stay, and are neither born nor die")
    if transition.pairs:
        raise ValueError(
            f"{transition.label} moves pairs, which a graph can't: declare it by={transition.source!r}, as "
            "maki_thompson has it"
        )


class _Stepper:
    """Steps of a portion of the replicates."""

    def __init__(self, spread: GraphSpread, portion: slice, of: int, generator: torch.Generator) -> None:
        self.spread, self.generator, self.portion, self.of = spread, generator, portion, of
        self.changing = any(callable(rate) for rate in spread.rates.values())
        self.hazards = self._hazards(0)
        index = spread.compartments.index
        self.by_source: dict[int, list[tuple[int, Transition]]] = {}
        for number, transition in enumerate(spread.compartments.transitions):
            self.by_source.setdefault(index(str(transition.source)), []).append((number, transition))

    def _hazards(self, t: int) -> list[Tensor]:
        """What each transition's rate is in a step, [1] or [replicates of this portion], by transition."""
        spread, device = self.spread, self.generator.device
        rates = spread.compartments.rates(spread.rates, t * spread.step) * spread.step
        rates = rates.reshape(-1, rates.shape[-1])
        if len(rates) not in (1, self.of):
            raise ValueError(f"the rates are rates of {len(rates)} replicates, and not of {self.of}")
        rates = (rates[self.portion] if len(rates) > 1 else rates).to(device)
        place = spread.compartments.parameters.index
        return [rates[:, place(transition.rate)] for transition in spread.compartments.transitions]

    def step(self, walk: Walk, t: int) -> None:
        if self.changing and t:
            self.hazards = self._hazards(t)
        graph, index, moves = self.spread.graph.at(t), self.spread.compartments.index, []
        for source, transitions in self.by_source.items():
            ready = []
            for number, transition in transitions:
                happen = self._met if transition.by else self._alone
                ready.append(happen(walk, graph, transition, self.hazards[number], len(transitions) > 1))
            if len(ready) > 1:
                ready = _first_of(walk, ready)
            for (places, _), (_, transition) in zip(ready, transitions, strict=True):
                moves.append((places, source, index(str(transition.target))))
        walk.move(moves, t + 1)

    def _met(self, walk: Walk, graph: Graph, transition: Transition, hazard: Tensor, timed: bool) -> tuple[Tensor, ...]:
        """Places that were met, and when in the step (or in any order, each once, where that doesn't matter)."""
        index = self.spread.compartments.index
        members = torch.cat([walk.members[index(name)] for name in transition.by])
        bound = -math.expm1(-float(hazard.max()) * graph.heaviest)
        edges, places, whence = out_edges(walk, graph, members, bound, self.generator)
        open_ = walk.states.index_select(0, places) == index(str(transition.source))
        edges, places, whence = (each.masked_select(open_) for each in (edges, places, whence))
        if graph.weights is not None or len(hazard) > 1:
            each = hazard[walk.copy_of(whence)] if len(hazard) > 1 else hazard
            each = each if graph.weights is None else each * graph.weights[edges]
            passes = self._uniform(len(edges)) * bound < -torch.expm1(-each)
            places, each = places[passes], each.expand(len(edges))[passes]
        else:
            each = hazard
        if timed:
            return places, self._when(each.expand(len(places)))
        order = torch.arange(len(places), dtype=torch.float64, device=places.device)
        return places.masked_select(walk.firsts(places, order)), order

    def _alone(
        self, walk: Walk, graph: Graph, transition: Transition, hazard: Tensor, timed: bool
    ) -> tuple[Tensor, ...]:
        """Places where it happens without a contact, and when in the step."""
        members = walk.members[self.spread.compartments.index(str(transition.source))]
        bound = -math.expm1(-float(hazard.max()))
        places = members.index_select(0, successes(len(members), bound, self.generator))
        each = hazard
        if len(hazard) > 1:
            each = hazard[walk.copy_of(places)]
            happens = self._uniform(len(places)) * bound < -torch.expm1(-each)
            places, each = places[happens], each[happens]
        return places, self._when(each.expand(len(places))) if timed else places

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, dtype=torch.float64, device=self.generator.device, generator=self.generator)

    def _when(self, hazard: Tensor) -> Tensor:
        """When in the step, as a share of it, something of this hazard happened that did happen."""
        return -torch.log1p(self._uniform(len(hazard)) * torch.expm1(-hazard)) / hazard


def _first_of(walk: Walk, ready: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    places, times = (torch.cat(side) for side in zip(*ready, strict=True))
    first = walk.firsts(places, times).split([len(each) for each, _ in ready])
    return [(each[keep], when[keep]) for (each, when), keep in zip(ready, first, strict=True)]
