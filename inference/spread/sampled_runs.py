"""Sampled runs as the edges that would pass it on, so that it can be seen who is reached without some nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.spread.dominators import dominated, dominators, levels
from inference.spread.live_edges import NEVER, Live
from inference.spread.live_runs import PORTION, forward, stages


@dataclass(frozen=True)
class SampledRuns:
    """Runs, and in each the edges that pass it on between those who are reached. A place is run * n + node.

    Attributes:
        n: nodes, and `runs` how many runs.
        source, target: places, [edges].
        begun: places of those who begin it.
    """

    n: int
    runs: int
    source: Tensor
    target: Tensor
    begun: Tensor

    @classmethod
    def of(cls, live: Live, begun: Any, first: int, count: int) -> SampledRuns:
        source, target, _, there = passed(live, begun, first, count)
        return cls(live.graph.n, count, source, target, there)

    def without(self, nodes: Sequence[int]) -> SampledRuns:
        """The same runs without some nodes."""
        kept, begun = spared(self, nodes)
        return replace(self, source=self.source[kept], target=self.target[kept], begun=begun)

    def reached(self, without: Sequence[int] = ()) -> Tensor:
        """How many are reached in each run where some nodes are not there, int64 [runs]."""
        left = self.without(without)
        level = levels(left.source, left.target, left.begun, self.runs * self.n)
        return (level > 0).view(self.runs, self.n).sum(1)

    def lost(self) -> Tensor:
        """How many fewer would be reached without each node, int64 [runs, n]."""
        level = levels(self.source, self.target, self.begun, self.runs * self.n)
        above = dominators(self.source, self.target, level)
        return dominated(above, level).view(self.runs, self.n)

    def greedy(self, k: int, free: Tensor) -> list[int]:
        """The k nodes, of those that are free, without whom fewest are reached, one after the other.

        That a node does not begin a run itself does not count for it: who begins is drawn, and of few runs chance would
        choose those whom it drew.
        """
        left, lost = self, self._passed_on()
        begins = torch.zeros_like(lost, dtype=torch.bool)
        begins.view(-1)[self.begun] = True
        chosen: list[int] = []
        able = free.clone()
        for _ in range(k):
            node = int(torch.where(able, lost.sum(0), -1).argmax())
            chosen.append(node)
            able[node] = False
            changed = (lost[:, node] > 0) | begins[:, node]
            left = left.without([node])
            lost[changed] = left._of(changed)._passed_on()
        return chosen

    def _passed_on(self) -> Tensor:
        """As `lost`, without those runs that a node begins."""
        lost = self.lost()
        lost.view(-1)[self.begun] = 0
        return lost

    def _of(self, rows: Tensor) -> SampledRuns:
        """Some of the runs, numbered anew."""
        number = rows.cumsum(0) - 1
        parts = []
        for places in (self.source, self.target, self.begun):
            row = places // self.n
            parts.append((number[row] * self.n + places % self.n)[rows[row]])
        return SampledRuns(self.n, int(rows.sum()), *parts)


def spared(runs: Any, without: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which edges of runs are left without some nodes, bool [edges], and the places of those who begin it still."""
    gone = torch.zeros(runs.n, dtype=torch.bool, device=runs.source.device)
    gone[list(without)] = True
    return ~(gone[runs.source % runs.n] | gone[runs.target % runs.n]), runs.begun[~gone[runs.begun % runs.n]]


def passed(live: Live, begun: Any, first: int, count: int, until: int = NEVER - 1) -> list[Tensor]:
    """Edges of so many runs that pass it on by a step between those who are reached: their sources, their targets, how
    long they take; and those who begin it."""
    parts = []
    device = live.graph.indptr.device
    for runs in torch.arange(first, first + count, device=device).split(max(1, PORTION // live.graph.n)):
        parts.append(_edges(live, begun.drawn(live.seed, runs), runs, int(runs[0]) - first, until))
    return [torch.cat(side) for side in zip(*parts, strict=True)]


def _edges(live: Live, begun: Tensor, runs: Tensor, offset: int, until: int) -> tuple[Tensor, ...]:
    """As `passed`, as places from `offset` runs on."""
    time = forward(live, begun, runs, until=until)
    row, node = (time < NEVER).nonzero(as_tuple=True)
    stage = stages(live, begun).expand_as(time)
    begin, end = live.passes(runs[row], node, (stage[row, node] - 1).clamp(min=0), time[row, node])
    edge, at = live.out(node)
    target = live.graph.indices[edge]
    arrive = live.edges.arrival(runs[row][at], node[at], edge, target, begin[at])
    passes = (arrive <= end[at].clamp(max=until)) & (time[row[at], target] < NEVER)
    place = (row + offset) * live.graph.n + node
    beginning = stage[row, node] > 0
    there = (row[at] + offset) * live.graph.n + target
    length = arrive - time[row, node][at]
    return place[at][passes], there[passes], length[passes].long(), place[beginning]
