"""Steps of a spread that look only at the edges of those who pass it on, for many replicates side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from zoo.spread.graph import Graph


def successes(trials: int, chance: float, generator: torch.Generator) -> Tensor:
    """Which of so many independent trials succeed, int64, rising: from one success to the next by a geometric skip."""
    device = generator.device
    if chance >= 1:
        return torch.arange(trials, device=device)
    if chance <= 0 or not trials:
        return torch.zeros(0, dtype=torch.long, device=device)
    found, last, scale = [], -1.0, -1 / math.log1p(-chance)
    while last < trials:
        left = (trials - last) * chance
        count = int(left + 4 * math.sqrt(left)) + 8
        gaps = torch.rand(count, dtype=torch.float64, device=device, generator=generator)
        gaps.neg_().log1p_().mul_(-scale).floor_().add_(1).clamp_(max=trials + 1)
        found.append(gaps.cumsum_(0).add_(last))
        last = float(gaps[-1])
    every = torch.cat(found) if len(found) > 1 else found[0]
    return every[: int(torch.searchsorted(every, float(trials)))].long()


class Walk:
    """The states of replicates of a graph's nodes; the place r n + v is node v of replicate r.

    Attributes:
        states: uint8 [R n].
        heads: int64 [R, K], nodes in each compartment.
        reached: int32 [R n], the step at which a node left the first compartment; -1 for never yet.
        members: the places of all who are in a compartment, for those that are followed.
    """

    def __init__(self, begun: Tensor, size: int, followed: Iterable[int]) -> None:
        self.copies, self.n = begun.shape
        self.states = begun.flatten().clone()
        self.heads = torch.stack([(begun == k).sum(1) for k in range(size)], 1)
        self.reached = torch.where(self.states == 0, -1, 0).int()
        self.members = {k: (self.states == k).nonzero()[:, 0] for k in followed}
        self._first = torch.full(self.states.shape, math.inf, dtype=torch.float64, device=begun.device)

    def nodes(self, places: Tensor) -> Tensor:
        return places if self.copies == 1 else places % self.n

    def copy_of(self, places: Tensor) -> Tensor:
        """The replicate of each place."""
        return torch.zeros_like(places) if self.copies == 1 else places.div(self.n, rounding_mode="floor")

    def _counted(self, places: Tensor) -> Tensor | int:
        """How many are of each replicate."""
        return len(places) if self.copies == 1 else torch.bincount(self.copy_of(places), minlength=self.copies)

    def firsts(self, places: Tensor, times: Tensor) -> Tensor:
        """Of several events at one place, the first: a mask."""
        self._first.scatter_reduce_(0, places, times, "amin")
        first = times == self._first.index_select(0, places)
        self._first.index_fill_(0, places, math.inf)
        return first

    def move(self, moves: list[tuple[Tensor, int, int]], step: int) -> None:
        """Move each (places, from, to) at once; no place is in two of them."""
        for places, source, target in moves:
            self.states.index_fill_(0, places, target)
            moved = self._counted(places)
            self.heads[:, source] -= moved
            self.heads[:, target] += moved
            if source == 0:
                fresh = places.masked_select(self.reached.index_select(0, places) < 0)
                self.reached.index_fill_(0, fresh, step)
        for k, members in self.members.items():
            if any(source == k for _, source, _ in moves):
                members = members.masked_select(self.states.index_select(0, members) == k)
            self.members[k] = torch.cat([members, *(places for places, _, target in moves if target == k)])


def out_edges(
    walk: Walk, graph: Graph, members: Tensor, chance: float, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Of the out-edges of those at `members`, the ones that a coin of this chance picks: numbers of edges, where they
    lead, and whence, as places."""
    nodes = walk.nodes(members)
    ends = graph.degrees.index_select(0, nodes).cumsum(0)
    hits = successes(int(ends[-1]) if len(ends) else 0, chance, generator)
    row = torch.searchsorted(ends, hits, right=True)
    whence, node = members.index_select(0, row), nodes.index_select(0, row)
    edges = hits - ends.index_select(0, row) + graph.indptr.index_select(0, node + 1)
    return edges, graph.indices.index_select(0, edges) + (whence - node), whence
