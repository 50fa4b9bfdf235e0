"""Whom to begin with, by samples of who would have reached a node: sets of nodes, and the choice that meets most.

A node drawn at random is reached from a set of seeds as often as the set meets the nodes that would have reached it,
and so the expected reach is n times the share of sampled sets that are met: a coverage, submodular as such.

References:
    Maximizing Social Influence in Nearly Optimal Time (Borgs et al., 2014), https://arxiv.org/abs/1212.0884
    Influence Maximization: Near-Optimal Time Complexity Meets Practical Efficiency (Tang, Xiao and Shi, 2014)
    Online Processing Algorithms for Influence Maximization (Tang et al., 2018), for what a choice is sure to be worth
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inference.spread.live_draws import uniform
from inference.spread.live_edges import NEVER, Live
from inference.spread.live_runs import PORTION, Agenda

ROOT = -1
"""The stream of draws of who is to be reached."""


@dataclass(frozen=True)
class Sets:
    """Sampled sets of nodes, each of those who would have reached one: pairs of a set and a node, by set.

    Attributes:
        count: how many sets.
        n: how many nodes there are.
        rows, nodes: [pairs].
    """

    count: int
    n: int
    rows: Tensor
    nodes: Tensor

    @cached_property
    def _by_node(self) -> tuple[Tensor, Tensor]:
        order = self.nodes.argsort(stable=True)
        sizes = torch.bincount(self.nodes, minlength=self.n)
        return self.rows[order], torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])

    def of(self, node: int) -> Tensor:
        """The sets that a node is in."""
        rows, begins = self._by_node
        return rows[begins[node] : begins[node + 1]]

    def met(self, chosen: list[int]) -> Tensor:
        """The place in the choice of the first that meets each set, [sets]; their number where none does."""
        first = torch.full((self.count,), len(chosen), device=self.rows.device)
        for place in reversed(range(len(chosen))):
            first[self.of(chosen[place])] = place
        return first


def reverse_reach(live: Live, first: int, count: int, until: int = NEVER - 1) -> Sets:
    """So many sets, the worlds of which are the runs from `first` on."""
    parts = [
        _portion(live, runs, until)
        for runs in torch.arange(first, first + count, device=live.graph.indptr.device).split(
            max(1, PORTION // live.graph.n)
        )
    ]
    rows, nodes = (torch.cat(side) for side in zip(*parts, strict=True))
    return Sets(count, live.graph.n, rows - first, nodes)


def _portion(live: Live, runs: Tensor, until: int) -> tuple[Tensor, Tensor]:
    n, graph = live.graph.n, live.graph
    into = graph.indices.argsort(stable=True)
    begins = torch.cat([into.new_zeros(1), torch.bincount(graph.indices, minlength=n).cumsum(0)])
    root = (uniform(live.seed, ROOT, runs, torch.zeros_like(runs)) * n).long()
    time = torch.full((len(runs) * n,), NEVER, device=runs.device)
    agenda = Agenda()
    agenda.add(torch.arange(len(runs), device=runs.device) * n + root, torch.zeros_like(root))
    while agenda.steps:
        step, places = agenda.next()
        places = places[time[places] > step]
        time[places] = step
        node, run = places % n, runs[places // n]
        wait = live.passes(run, node, torch.zeros_like(node), torch.zeros_like(node))[0] if step else 0
        row, edge = _rows(begins, node, into)
        source = graph.sources[edge]
        there = (places - node)[row] + source
        open_ = time[there] == NEVER
        edge, row, source, there = edge[open_], row[open_], source[open_], there[open_]
        start = torch.zeros_like(source)
        arrive = live.edges.arrival(run[row], source, edge, node[row], start)
        end = live.passes(run[row], source, start + live.passing, start)[1]
        comes = arrive <= end.clamp(max=until)
        after = arrive[comes].long() + (step + wait if isinstance(wait, int) else (step + wait)[row][comes])
        kept = after <= until
        agenda.add(there[comes][kept], after[kept])
    found = (time < NEVER).nonzero()[:, 0]
    return runs[found // n], found % n


def _rows(begins: Tensor, node: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
    """The in-edges of nodes, and for each the row of its node."""
    degree = begins[node + 1] - begins[node]
    row = torch.arange(len(node), device=node.device).repeat_interleave(degree)
    return row, into[torch.arange(len(row), device=node.device) + (begins[node] - degree.cumsum(0) + degree)[row]]


def greedy(sets: Sets, k: int) -> tuple[list[int], float]:
    """The k nodes that meet most sets, one after the other, and how many sets any k could meet at most."""
    gains = torch.bincount(sets.nodes, minlength=sets.n)
    sizes = torch.bincount(sets.rows, minlength=sets.count)
    begins = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    covered = torch.zeros(sets.count, dtype=torch.bool, device=sets.rows.device)
    chosen: list[int] = []
    most = math.inf
    for _ in range(k):
        most = min(most, float(covered.sum() + gains.topk(k).values.sum()))
        node = int(gains.argmax())
        chosen.append(node)
        fresh = sets.of(node)[~covered[sets.of(node)]]
        covered[fresh] = True
        _, pairs = _rows(begins, fresh, torch.arange(len(sets.rows), device=sets.rows.device))
        gains -= torch.bincount(sets.nodes[pairs], minlength=sets.n)
        gains[node] = -1
    return chosen, min(most, float(covered.sum() + gains.clamp(min=0).topk(k).values.sum()))


def certified(most: float, chosen_from: int, met: float, held: int, risk: float = 0.01) -> float:
    """The share of the best expected reach that a choice has at least, but for a chance of `risk`.

    Parameters:
        most: sets that any k nodes could meet at most, of `chosen_from` sets.
        met: sets that the choice meets, of `held` others.
    """
    a = math.log(2 / risk)
    low = (math.sqrt(met + 2 * a / 9) - math.sqrt(a / 2)) ** 2 - a / 18
    high = (math.sqrt(most + a / 2) + math.sqrt(a / 2)) ** 2
    return max(0.0, low / held) / (high / chosen_from)
