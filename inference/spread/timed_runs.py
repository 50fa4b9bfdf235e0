"""Sampled runs that are followed to a step, so that it can be seen who is reached by then without some nodes.

Without a node others are reached later, or not in time: each edge keeps how long it takes. All the shortest ways to
whom a node saves lead through it, so that whom it dominates on those is the most that it can save; what it does save is
looked at for the nodes with the largest such bounds, until no other can save more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.spread.dominators import dominated, dominators, levels
from inference.spread.live_edges import Live
from inference.spread.sampled_runs import passed, spared


@dataclass(frozen=True)
class TimedRuns:
    """Runs to a step, and in each the edges that may pass it on by then. A place is run * n + node.

    Attributes:
        n: nodes, `runs` how many runs, and `until` the last step.
        source, target: places, [edges], and `length`, the steps from when one is reached to when the other is.
        begun: places of those who begin it.
    """

    n: int
    runs: int
    until: int
    source: Tensor
    target: Tensor
    length: Tensor
    begun: Tensor

    @classmethod
    def of(cls, live: Live, begun: Any, first: int, count: int) -> TimedRuns:
        return cls(live.graph.n, count, begun.steps, *passed(live, begun, first, count, begun.steps))

    def without(self, nodes: Sequence[int]) -> TimedRuns:
        """The same runs without some nodes."""
        kept, begun = spared(self, nodes)
        ways = self.source[kept], self.target[kept], self.length[kept]
        return replace(self, source=ways[0], target=ways[1], length=ways[2], begun=begun)

    def times(self) -> Tensor:
        """The step at which each place is reached, [runs * n]; one after the last for those that are not in time."""
        time = torch.full((self.runs * self.n,), self.until + 1, device=self.source.device)
        time[self.begun] = 0
        return _relaxed(time, self.source, self.target, self.length)

    def reached(self, without: Sequence[int] = ()) -> Tensor:
        """How many are reached in time in each run where some nodes are not there, int64 [runs]."""
        return (self.without(without).times() <= self.until).view(self.runs, self.n).sum(1)

    def greedy(self, k: int, free: Tensor) -> list[int]:
        """The k nodes, of those that are free, without whom fewest are reached in time, one after the other.

        As in `SampledRuns.greedy` the runs that a node begins don't count for it.
        """
        left, able = self, free.clone()
        chosen: list[int] = []
        for _ in range(k):
            chosen.append(left._next(able))
            able[chosen[-1]] = False
            left = left.without(chosen[-1:])
        return chosen

    def _next(self, able: Tensor) -> int:
        time = self.times()
        tight = (time[self.source] + self.length == time[self.target]) & (time[self.target] <= self.until)
        source, target = self.source[tight], self.target[tight]
        level = levels(source, target, self.begun, len(time))
        above = dominators(source, target, level)
        most_lost = dominated(above, level).index_fill_(0, self.begun, 0)
        bound = torch.where(able, most_lost.view(self.runs, self.n).sum(0), -1)
        found, most = -1, -1
        for node in bound.argsort(descending=True, stable=True).tolist():
            if int(bound[node]) <= most:
                break
            if (lost := self._lost(node, time, above)) > most:
                found, most = node, lost
        return found

    def _lost(self, node: int, time: Tensor, above: Tensor) -> int:
        """How many fewer are reached in time without a node: of those it dominates, who has no other way in time."""
        inside = torch.zeros(len(time) + 1, dtype=torch.bool, device=time.device)
        inside[node : len(time) : self.n] = (time[node :: self.n] <= self.until) & (time[node :: self.n] > 0)
        while (more := inside[:-1] | inside[above]).sum() > inside.sum():
            inside[:-1] = more
        there = inside[self.target] & (self.target % self.n != node)
        later = torch.where(inside[:-1], self.until + 1, time)
        later = _relaxed(later, self.source[there], self.target[there], self.length[there])
        return int((later[inside[:-1]] > self.until).sum())


def _relaxed(time: Tensor, source: Tensor, target: Tensor, length: Tensor) -> Tensor:
    """Times at which no edge leads to its target sooner."""
    while True:
        sooner = time.scatter_reduce(0, target, time[source] + length, "amin")
        if torch.equal(sooner, time):
            return time
        time = sooner
