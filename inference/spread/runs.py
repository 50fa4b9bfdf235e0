"""Runs of a spread on a graph with an intervention: on live edges where that can be, else step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.near import near
from inference.spread.do import Intervention
from inference.spread.live_draws import uniform
from inference.spread.live_edges import NEVER, Live
from inference.spread.live_runs import PORTION, counts, forward

BEGIN = 0
"""The stream of draws of who begins it."""


@dataclass(frozen=True)
class Begun:
    """Who begins it.

    Attributes:
        places: compartments of those who were named, uint8 [n].
        chosen: compartment -> how many are in it at random.
        steps: how long it is followed; to its end where None.
    """

    places: Tensor
    chosen: Mapping[int, int]
    steps: int | None = None

    @classmethod
    def of(cls, spread: Any, given: Mapping[Any, Any], intervention: Intervention | None = None) -> Begun:
        names, graph = list(spread.compartments.names), spread.graph
        places = torch.zeros_like(graph.index(graph.nodes[:0]).new_zeros(graph.n), dtype=torch.uint8)
        chosen = {}
        for name, who in given.items():
            if name == "steps":
                continue
            if name not in names:
                raise ValueError(f"given={{{name!r}: ...}} is no compartment{near(name, [*names, 'steps'])}")
            if isinstance(who, int) and not isinstance(who, bool):
                chosen[names.index(name)] = who
                continue
            at = graph.index(who)
            if (twice := places[at] > 0).any():
                raise ValueError(f"the node {graph.nodes[int(at[twice][0])]!r} begins in two compartments: name one")
            if intervention is not None and (late := intervention.closed[at]).any():
                named = graph.nodes[int(at[late][0])]
                raise ValueError(f"the node {named!r} is among those who begin it: vaccinating comes too late")
            places[at] = names.index(name)
        begun = cls(places, chosen, horizon(given.get("steps")))
        begun._check(spread, names)
        return begun

    def _check(self, spread: Any, names: list[str]) -> None:
        free, wanted = int((self.places == 0).sum()), sum(self.chosen.values())
        if min(self.chosen.values(), default=0) < 0 or wanted > free:
            raise ValueError(f"{wanted} nodes at random can't begin it: there are {free} to choose from")
        carrying = [names.index(name) for name in carriers(spread.compartments)]
        there = {*self.places.unique().tolist(), *(k for k, many in self.chosen.items() if many)}
        if not there & set(carrying):
            known = " or ".join(names[k] for k in carrying)
            raise ValueError(f"nobody begins it: say who is in {known}, given={{{names[carrying[0]]!r}: [a node]}}")

    def drawn(self, seed: int, runs: Tensor) -> Tensor:
        """Compartments at the beginning, uint8 [runs, n], or [1, n] where nobody is chosen at random."""
        if not sum(self.chosen.values()):
            return self.places[None]
        nodes = torch.arange(len(self.places), device=self.places.device)
        keys = uniform(seed, BEGIN, runs[:, None], nodes[None])
        keys = torch.where(self.places > 0, 2.0, keys)
        begun, first = self.places.repeat(len(runs), 1), 0
        order = keys.topk(sum(self.chosen.values()), largest=False).indices
        for compartment, many in self.chosen.items():
            begun.scatter_(1, order[:, first : first + many], compartment)
            first += many
        return begun


def horizon(given: Any) -> int | None:
    """The step until which a spread is followed; None for its end."""
    if given is None or (isinstance(given, int) and given >= 0):
        return given
    raise ValueError(f"steps are a whole number from 0 on, not {given!r}")


def carriers(compartments: Any) -> list[str]:
    """Compartments of those who pass it on, or will without being met, in the order of the names."""
    found = {name for transition in compartments.transitions for name in transition.by}
    alone = [t for t in compartments.transitions if not t.by]
    while more := {t.source for t in alone if t.target in found} - found:
        found |= more
    return [name for name in compartments.names if name in found]


@dataclass(frozen=True)
class Runs:
    """What happened in each run.

    Attributes:
        names: the compartments.
        passing: those whose nodes pass it on, whose number has a peak.
        total: how many were reached, [runs].
        counts: nodes in each compartment after each step, [runs, steps + 1, compartments].
        method: how they were run, in words.
    """

    names: tuple[str, ...]
    passing: tuple[int, ...]
    total: Tensor
    counts: Tensor
    method: str


def courses(spread: Any, begun: Begun, intervention: Intervention, draws: int, seed: int) -> Runs:
    """So many runs; the same draws and seed with another intervention have their random numbers in common."""
    names = tuple(spread.compartments.names)
    passing = tuple(sorted({names.index(name) for t in spread.compartments.transitions for name in t.by}))
    live = Live.of(spread, seed, intervention.contacts)
    if live is None:
        return Runs(names, passing, *_stepwise(spread, begun, intervention, draws, seed))
    return Runs(names, passing, *_lively(spread, live, begun, intervention, draws, seed))


def _lively(
    spread: Any, live: Live, begun: Begun, intervention: Intervention, draws: int, seed: int
) -> tuple[Tensor, Tensor, str]:
    cut, until = intervention.cut(spread.graph), NEVER - 1 if begun.steps is None else begun.steps
    mute = _mute(spread)
    totals, told = [], []
    for runs in torch.arange(draws, device=begun.places.device).split(max(1, PORTION // spread.graph.n)):
        start = torch.where(intervention.closed, 0, begun.drawn(seed, runs))
        time = forward(live, start, runs, closed=intervention.closed, cut=cut, until=until)
        totals.append(((time < NEVER) & ~torch.isin(start, mute)).sum(1))
        told.append(counts(live, start, time, runs, begun.steps, len(spread.compartments.names)))
    return torch.cat(totals), _joined(told), f"{draws} runs on live edges"


def _stepwise(
    spread: Any, begun: Begun, intervention: Intervention, draws: int, seed: int
) -> tuple[Tensor, Tensor, str]:
    if begun.steps is None:
        raise ValueError('this spread has no end of its own: say how long to follow it, given={..., "steps": 100}')
    start = begun.drawn(seed, torch.arange(draws, device=begun.places.device))
    start = torch.where(intervention.closed, 0, start)
    course = intervention.on(spread).simulate(start, begun.steps, replicates=draws, seed=seed)
    total = (course.reached >= 0) & ~torch.isin(start, _mute(spread))
    return total.sum(1), course.counts, f"{draws} runs step by step"


def _mute(spread: Any) -> Tensor:
    """Compartments after the first from which nothing is passed on: those who begin there were not reached."""
    names, able = list(spread.compartments.names), carriers(spread.compartments)
    return torch.tensor([k for k, name in enumerate(names) if k and name not in able], dtype=torch.uint8)


def _joined(parts: list[Tensor]) -> Tensor:
    """Counts of several portions, each to its own last step, with the last one's numbers from there on."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.cat([p, p[:, -1:].expand(-1, longest - p.shape[1], -1)], 1) for p in parts])
