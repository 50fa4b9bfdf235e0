"""Cascade: when each node of a graph was reached, with its exact probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.distributions import RowDistribution


class Cascade(Explicit):
    """When each node of a graph was reached: p(x) = prod_v p(v is a seed, or no seed) p(x_v | who was reached before).

    Shapes: x is [N, n], the step at which each node was reached, 0 of seeds, steps + 1 of those never reached. A node
    reached at step s tries each of its out-edges in the steps s + 1, ..., s + tries, every time with the chance
    1 - exp(-rate) of the edge: all later steps make the SI model, one try independent cascade. Likelihood in nats a
    row. It is concave in the rates, whose logarithms are the parameters: a fit by gradients has no other optimum. An
    edge that was tried and never passed has rate 0 there, one never tried any.

    Parameters:
        edges: pairs of nodes 0..n-1; each passes both ways, with one rate, unless directed.
        steps: how long the cascade was watched.
        tries: for how many steps a node that was reached tries to pass it on; None for all that follow.
        per: "graph" for a rate that all edges share, "edge" for one each.
        rate: where the rate or rates start, -log(1 - chance): one for all edges, or a sequence with one each.
        seeds: where the chance of each node to be a seed starts: one for all nodes, or a sequence with one each.

    References:
        On the Convexity of Latent Social Network Inference (Myers and Leskovec, 2010), https://arxiv.org/abs/1010.5504
        Uncovering the Temporal Dynamics of Diffusion Networks (Gomez-Rodriguez, Balduzzi and Schölkopf, 2011),
        https://arxiv.org/abs/1105.0697
    """

    ends: Tensor
    _of_arc: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        edges: Sequence[Sequence[int]],
        steps: int,
        directed: bool = False,
        tries: int | None = None,
        per: str = "graph",
        rate: float | Sequence[float] = 0.2,
        seeds: float | Sequence[float] = 0.1,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"Cascade takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of Cascade is a step for each of n nodes, [n], not {list(self.event_shape)}")
        if steps < 1 or (tries is not None and tries < 1):
            raise ValueError(f"steps and tries are whole numbers from 1 on, not {steps} and {tries}")
        if per not in ("graph", "edge"):
            raise ValueError(f"per must be 'graph' or 'edge', not {per!r}")
        self.steps, self.tries, self.directed, self.per = steps, steps if tries is None else tries, directed, per
        self.support = constraints.integer_interval(0, steps + 1)
        pairs = _pairs(edges, self.features, directed)
        own = torch.arange(len(pairs))
        self.register_buffer("ends", (pairs if directed else torch.cat([pairs, pairs.flip(1)])).T.contiguous())
        self.register_buffer("_of_arc", own if directed else own.repeat(2))
        rates = _numbers("rate", rate, 1 if per == "graph" else len(pairs), constraints.positive)
        self.log_rates = nn.Parameter(rates.log())
        self.seed_logits = nn.Parameter(_numbers("seeds", seeds, self.features, constraints.unit_interval).logit())

    def extra_repr(self) -> str:
        return f"{self.features} nodes, {len(self.rates)} edges, {self.steps} steps"

    @property
    def rates(self) -> Tensor:
        """The rate of each edge, [E]."""
        return self.log_rates.exp().expand(int(self._of_arc.max()) + 1)

    @property
    def chances(self) -> Tensor:
        """The chance of each edge to pass at one try, [E]."""
        return -torch.expm1(-self.rates)

    def distribution(self, context: Tensor | None = None) -> ReachedSteps:
        self.check(context=context)
        return ReachedSteps(self.ends, self.rates[self._of_arc], self.seed_logits, self.steps, self.tries)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is None or not self.support.check(x).all():
            return
        alone = (x > 0) & (x <= self.steps) & (self.distribution().infectors(x.long()) == 0)
        if alone.any():
            row, node = alone.nonzero()[0].tolist()
            raise ValueError(
                f"row {row} has node {node} reached at step {int(x[row, node])}, when no neighbour could have passed "
                "it on: no cascade on this graph does that"
            )


class ReachedSteps(RowDistribution):
    """The steps at which nodes are reached, given the rates [A] of the arcs from ends[0] to ends[1]."""

    _elementwise = constraints.nonnegative_integer

    def __init__(self, ends: Tensor, rates: Tensor, seed_logits: Tensor, steps: int, tries: int) -> None:
        self.ends, self.rates, self.seed_logits, self.steps, self.tries = ends, rates, seed_logits, steps, tries
        super().__init__(torch.Size(), seed_logits.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        x = value.long()
        before = self._gap(x).sub(1).clamp(0, self.tries)
        survived = -(before.to(self.rates.dtype) @ self.rates)
        caught = (x > 0) & (x <= self.steps)
        pressure = self._sums(self._tries_at(x) * self.rates)
        possible = caught & (pressure > 0)
        passed = torch.where(possible, -torch.expm1(-torch.where(possible, pressure, 1.0)), 1.0).log()
        passed = passed.masked_fill(caught & ~possible, -torch.inf)
        seed = nn.functional.logsigmoid(torch.where(x == 0, self.seed_logits, -self.seed_logits))
        return survived + (passed + seed).sum(-1)

    def infectors(self, x: Tensor) -> Tensor:
        """How many neighbours try each node at the step that reaches it, [..., n]."""
        return self._sums(self._tries_at(x).to(self.rates.dtype))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            never = self.steps + 1
            draw = torch.rand(shape, dtype=self.rates.dtype, device=self.rates.device)
            x = torch.where(draw < self.seed_logits.sigmoid(), 0, never)
            for step in range(1, never):
                now = x.masked_fill(x == never, step)
                tried = self._tries_at(now) * self.rates
                caught = torch.rand_like(draw) < -torch.expm1(-self._sums(tried))
                x = torch.where((x == never) & caught, step, x)
            return x

    def _gap(self, x: Tensor) -> Tensor:
        """Steps from when an arc's first node was reached to when its second was, [..., A]."""
        return x[..., self.ends[1]] - x[..., self.ends[0]]

    def _tries_at(self, x: Tensor) -> Tensor:
        gap = self._gap(x)
        return (gap > 0) & (gap <= self.tries)

    def _sums(self, of_arcs: Tensor) -> Tensor:
        """Sums over the arcs into each node, [..., n]."""
        zeros = of_arcs.new_zeros(*of_arcs.shape[:-1], *self.event_shape)
        return zeros.index_add(-1, self.ends[1], of_arcs)


def _pairs(edges: Sequence[Sequence[int]], n: int, directed: bool) -> Tensor:
    """The edges as a tensor [E, 2], checked."""
    seen = set()
    for edge in edges:
        if len(edge) != 2 or not all(0 <= int(node) < n and int(node) == node for node in edge):
            raise ValueError(f"an edge is a pair of nodes 0 to {n - 1}, not {list(edge)}")
        pair = tuple(edge) if directed else tuple(sorted(edge))
        if pair in seen or edge[0] == edge[1]:
            raise ValueError(f"the edge {list(edge)} {'leads to itself' if edge[0] == edge[1] else 'is given twice'}")
        seen.add(pair)
    if not seen:
        raise ValueError("Cascade needs edges, pairs of nodes; it was given none")
    return torch.tensor([[int(node) for node in edge] for edge in edges])


def _numbers(name: str, given: float | Sequence[float], count: int, support: constraints.Constraint) -> Tensor:
    numbers = torch.as_tensor(given, dtype=torch.float64)
    if numbers.dim() and len(numbers) != count:
        raise ValueError(f"{name} is one number or {count}, not {len(numbers)}")
    if not support.check(numbers).all():
        kind = "positive" if support is constraints.positive else "between 0 and 1"
        raise ValueError(f"{name} must be {kind}, not {given}")
    return numbers.expand(count).clone()
