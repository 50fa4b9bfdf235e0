"""A spread on a graph by what is drawn once for each node and each edge: who reaches whom, and when.

Where nobody comes back to the first compartment, a run is a draw for each edge (how long it takes to pass it on) and
for each node (how long it stays in each compartment); the rest is shortest paths. The draws are functions of (seed,
run, node or edge): a run with an intervention shares with the one without it all that the intervention doesn't touch.

References:
    Maximizing the Spread of Influence through a Social Network (Kempe, Kleinberg and Tardos, 2003), for live edges
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from inference.spread.live_draws import exponential, uniform

NEVER = 2**31 - 1
"""A step that does not come."""
EDGES, NODES = 1, 2
"""Streams of draws: of edges; of nodes, one more for each compartment."""


@dataclass(frozen=True)
class Contacts:
    """By what contacts are multiplied, in pieces: `values[i]` from the step `steps[i]` on, the first from 0."""

    steps: tuple[float, ...] = (0.0,)
    values: tuple[float, ...] = (1.0,)

    @cached_property
    def _pieces(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where each piece begins, its factor, and the sum of the factors until then."""
        steps, values = (torch.tensor(part, dtype=torch.float64) for part in (self.steps, self.values))
        return steps, values, torch.cat([steps.new_zeros(1), (steps.diff() * values[:-1]).cumsum(0)])

    def factor(self, step: float) -> float:
        return self.values[bisect_right(self.steps, step) - 1]

    def until(self, begin: Tensor, needed: Tensor) -> Tensor:
        """The first step by whose beginning the factors since `begin` have the sum needed; infinite for none."""
        if len(self.steps) == 1:
            return begin + (needed / self.values[0]).ceil()
        steps, values, sums = (part.to(begin.device) for part in self._pieces)
        now = torch.searchsorted(steps, begin.double(), right=True) - 1
        wanted = sums[now] + (begin - steps[now]) * values[now] + needed
        then = (torch.searchsorted(sums, wanted) - 1).clamp(min=0)
        return steps[then] + ((wanted - sums[then]) / values[then]).ceil()


@dataclass(frozen=True)
class Races:
    """An edge passes it on after a time of the rate `hazard` a step, times its weight and the contacts there are."""

    graph: Any
    seed: int
    hazard: Tensor
    contacts: Contacts

    def arrival(self, run: Tensor, source: Tensor, edge: Tensor, target: Tensor, begin: Tensor) -> Tensor:
        """The step at which it comes along edges whose sources pass it on from `begin`; infinite for never."""
        hazard = _of_run(self.hazard, run)
        hazard = hazard if self.graph.weights is None else hazard * self.graph.weights[edge]
        drawn = exponential(self.seed, EDGES, run, source * self.graph.n + target)
        return self.contacts.until(begin, drawn / hazard)


@dataclass(frozen=True)
class Picks:
    """A node picks one of its in-edges, each by its weight, or none: the live edges of linear thresholds."""

    graph: Any
    seed: int

    @cached_property
    def _before(self) -> Tensor:
        """[E], the weights of a target's in-edges that come before each."""
        target, weights = self.graph.indices, self.graph.weights
        order = target.argsort(stable=True)
        sums = weights[order].cumsum(0)
        counts = torch.bincount(target, minlength=self.graph.n)
        first = (counts.cumsum(0) - counts)[target[order]]
        found = torch.empty_like(weights)
        found[order] = sums - weights[order] - (sums - weights[order])[first]
        return found

    def arrival(self, run: Tensor, source: Tensor, edge: Tensor, target: Tensor, begin: Tensor) -> Tensor:
        drawn = uniform(self.seed, NODES, run, target) - self._before[edge]
        return torch.where((drawn >= 0) & (drawn < self.graph.weights[edge]), begin + 1.0, torch.inf)


@dataclass(frozen=True)
class Live:
    """All draws of a spread's runs.

    Attributes:
        chain: the compartments that a node goes through once it is reached, by number.
        passing: where in the chain it passes it on.
        leaves: hazards a step [1] or [runs] of leaving each but the last of the chain.
        edges: how long edges take.
    """

    graph: Any
    seed: int
    chain: tuple[int, ...]
    passing: int
    leaves: tuple[Tensor, ...]
    edges: Races | Picks

    @classmethod
    def of(cls, spread: Any, seed: int, contacts: Contacts | None = None) -> Live | None:
        """The draws of a spread; None where it isn't of this kind: nodes come back, rates or edges change."""
        found = chained(spread.compartments)
        if found is None or not hasattr(spread.graph, "indptr"):
            return None
        chain, met, moves = found
        rates, place = getattr(spread, "rates", {}), chain.index(spread.compartments.names.index(met.by[0]))
        if met.rate not in rates:
            return cls(spread.graph, seed, chain, place, (), Picks(spread.graph, seed))
        if any(callable(rate) for rate in rates.values()):
            return None
        device = spread.graph.indptr.device
        hazard, *leaves = (
            torch.as_tensor(rates[t.rate], dtype=torch.float64, device=device).reshape(-1) * spread.step
            for t in (met, *moves)
        )
        return cls(
            spread.graph, seed, chain, place, tuple(leaves), Races(spread.graph, seed, hazard, contacts or Contacts())
        )

    def stay(self, stage: int, run: Tensor, node: Tensor) -> Tensor:
        """Steps that nodes stay in a compartment of the chain, at least 1."""
        if stage == len(self.chain) - 1:
            return torch.full_like(node, NEVER)
        hazard = _of_run(self.leaves[stage], run)
        drawn = exponential(self.seed, NODES + stage, run, node) / hazard
        return drawn.ceil().clamp(max=NEVER).long()

    def entries(self, run: Tensor, node: Tensor, stage: Tensor, time: Tensor) -> Tensor:
        """The step at which each compartment of the chain is entered, [..., chain], by those in `stage` at `time`.

        Compartments before that were entered then, too.
        """
        at = [time]
        for before in range(len(self.chain) - 1):
            stay = torch.where(stage > before, 0, self.stay(before, run, node))
            at.append((at[-1] + stay).clamp(max=NEVER))
        return torch.stack(at, -1)

    def passes(self, run: Tensor, node: Tensor, stage: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """From which step, and to which, nodes in `stage` at `time` pass it on."""
        entered = self.entries(run, node, stage, time)
        begin = entered[..., self.passing]
        end = entered[..., self.passing + 1] if self.passing + 1 < len(self.chain) else torch.full_like(begin, NEVER)
        return begin, torch.where(stage > self.passing, begin, end)

    def out(self, node: Tensor) -> tuple[Tensor, Tensor]:
        """The out-edges of nodes, and for each the row of its node."""
        begin, end = self.graph.indptr[node], self.graph.indptr[node + 1]
        degree = end - begin
        row = torch.arange(len(node), device=node.device).repeat_interleave(degree)
        edge = torch.arange(len(row), device=node.device) + (begin - degree.cumsum(0) + degree)[row]
        return edge, row


def _of_run(hazard: Tensor, run: Tensor) -> Tensor:
    """The hazard of each run: of as many runs as there are, and of those after them from the first on again."""
    return hazard[run % len(hazard)] if len(hazard) > 1 else hazard


def chained(compartments: Any) -> tuple[tuple[int, ...], Any, Sequence[Any]] | None:
    """The compartments after the first that a node goes through, who is met, and the moves between them.

    None where the first is left in other ways than by meeting one, where someone comes back to it, or ways part.
    """
    names, moves = list(compartments.names), {}
    for transition in compartments.transitions:
        if transition.source in moves or (transition.by != ()) != (transition.source == names[0]):
            return None
        moves[transition.source] = transition
    met = moves.pop(names[0], None)
    if met is None or len(met.by) != 1:
        return None
    chain, path = [met.target], []
    while chain[-1] in moves:
        path.append(moves.pop(chain[-1]))
        chain.append(path[-1].target)
    if moves or met.by[0] not in chain or names[0] in chain:
        return None
    return tuple(names.index(name) for name in chain), met, path
