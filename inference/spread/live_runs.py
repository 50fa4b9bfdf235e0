"""Runs on live edges: forward from those who begin, to whom and when; backward, who would have reached a node."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.spread.live_edges import NEVER, Live

PORTION = 2**19
"""Places, runs times nodes, that are walked at once."""


@dataclass
class Agenda:
    """Places to be reached, by the step."""

    steps: list[int] = field(default_factory=list)
    places: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def add(self, places: Tensor, times: Tensor) -> None:
        times, order = times.sort()
        found, counts = times.unique_consecutive(return_counts=True)
        for step, part in zip(found.tolist(), places[order].split(counts.tolist()), strict=True):
            if step not in self.places:
                heapq.heappush(self.steps, step)
            self.places[step].append(part)

    def next(self) -> tuple[int, Tensor]:
        step = heapq.heappop(self.steps)
        return step, torch.cat(self.places.pop(step)).unique()


def forward(
    live: Live,
    begun: Tensor,
    runs: Tensor,
    *,
    closed: Tensor | None = None,
    cut: Tensor | None = None,
    until: int = NEVER - 1,
) -> Tensor:
    """The step at which each node is reached in each run, int64 [runs, n]; `NEVER` for never.

    Parameters:
        begun: compartments at the beginning, [runs, n] or [1, n].
        runs: the numbers of the runs.
        closed: bool [n], nodes that nothing reaches; nobody begins in them.
        cut: bool [E], edges that nothing passes.
        until: the last step.
    """
    n = live.graph.n
    stage = stages(live, begun).expand(len(runs), n).reshape(-1)
    time = torch.full((len(runs) * n,), NEVER, device=runs.device)
    free = (stage == 0) if closed is None else (stage == 0) & ~closed.repeat(len(runs))
    beginning = (stage > 0).nonzero()[:, 0]
    agenda = Agenda()
    agenda.add(beginning, torch.zeros_like(beginning))
    while agenda.steps:
        step, places = agenda.next()
        places = places[time[places] > step]
        time[places] = step
        node, run = places % n, runs[places // n]
        begin, end = live.passes(run, node, (stage[places] - 1).clamp(min=0), torch.full_like(node, step))
        edge, row = live.out(node)
        target = live.graph.indices[edge]
        there = (places - node)[row] + target
        open_ = free[there] & (time[there] == NEVER) & (end > begin)[row]
        if cut is not None:
            open_ &= ~cut[edge]
        edge, row, target, there = edge[open_], row[open_], target[open_], there[open_]
        arrive = live.edges.arrival(run[row], node[row], edge, target, begin[row])
        comes = arrive <= end[row].clamp(max=until)
        agenda.add(there[comes], arrive[comes].long())
    return time.view(len(runs), n)


def stages(live: Live, begun: Tensor) -> Tensor:
    """Where in the chain a compartment is, from 1 on; 0 for the first compartment, -1 for those nothing happens to."""
    table = torch.full((256,), -1, dtype=torch.long, device=begun.device)
    table[0] = 0
    table[torch.tensor(live.chain, device=begun.device)] = torch.arange(1, len(live.chain) + 1, device=begun.device)
    return table[begun.long()]


def counts(live: Live, begun: Tensor, time: Tensor, runs: Tensor, steps: int | None, size: int) -> Tensor:
    """Nodes in each compartment after each step, int64 [runs, steps + 1, size]; until nothing changes where None."""
    stage = stages(live, begun).expand_as(time)
    row, node = (time < NEVER).nonzero(as_tuple=True)
    first = (stage[row, node] - 1).clamp(min=0)
    entered = live.entries(runs[row], node, first, time[row, node])
    last = steps if steps is not None else int(entered[entered < NEVER].max()) if (entered < NEVER).any() else 0
    change = torch.zeros(len(runs), last + 2, size, dtype=torch.long, device=time.device)
    home = begun.long().expand_as(time)
    change[:, 0].scatter_add_(1, home, torch.ones_like(home))
    for place, compartment in enumerate(live.chain):
        fresh = first <= place
        before = torch.where(first == place, home[row, node], live.chain[place - 1] if place else 0)
        at = entered[:, place].clamp(max=last + 1)
        flat = change.view(-1)
        one = torch.ones_like(at)[fresh]
        base = (row * (last + 2) + at)[fresh] * size
        flat.index_add_(0, base + before[fresh], -one)
        flat.index_add_(0, base + compartment, one)
    return change.cumsum(1)[:, : last + 1]
