"""Markov chain over symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.bridges import LARGEST, Histories, one_hot
from zoo.bridges import draw as draw_state
from zoo.choosing import Choose
from zoo.distributions import RowDistribution
from zoo.long_run import hitting_times, stationary
from zoo.ngrams import Level, added, after, counted, discounted, draw, keys_of, merged, probabilities
from zoo.unrolling import in_turn

MOST_STATES = 4096


class MarkovChain(Explicit):
    """Markov chain of order n over symbols: p(x) = prod_t p(x_t | x_t-n, ..., x_t-1).

    Shapes: x is [N, T], codes 0..levels-1; `step_log_prob` takes rows of any length. Likelihood in nats a row. What
    comes before a row is a symbol of its own, so the start of a row is learned too. It is fitted by counting in one
    pass (`inference.em`, or `count`); it has no parameters to follow a gradient by, and takes no context.

    Parameters:
        levels: how many symbols there are.
        order: how many symbols before it a symbol depends on, n; an n-gram model in the usual sense has order n - 1.
        smoothing: "absolute", interpolated absolute discounting: `discount` of each count goes to the chain one
            order lower, down to the uniform distribution; "kneser-ney", the same, but lower orders count in how
            many different places a symbol was met; or "add", `pseudo_count` added to each count.
        discount: of the first two, between 0 and 1.
        pseudo_count: of "add"; 0 is maximum likelihood, uniform after a history never met.

    References:
        Improved Backing-off for M-gram Language Modeling (Kneser and Ney, 1995)
        On Structuring Probabilistic Dependences in Stochastic Language Modelling (Ney, Essen and Kneser, 1994)
        An Empirical Study of Smoothing Techniques for Language Modeling (Chen and Goodman, 1999)
    """

    capabilities = Explicit.capabilities | {"em_start", "prepare", "expect", "maximise", "unroll", "cells", "complete"}
    keys: Tensor
    counts: Tensor
    unit: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        levels: int,
        order: int = 1,
        smoothing: str = "kneser-ney",
        discount: float = 0.75,
        pseudo_count: float = 1.0,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"MarkovChain takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of MarkovChain is T symbols, [T], not {list(self.event_shape)}")
        if levels < 2 or order < 0:
            raise ValueError(f"levels must be at least 2 and order at least 0, not {levels} and {order}")
        if (levels + 1) ** (order + 1) >= 2**63:
            raise ValueError(f"(levels + 1) ** (order + 1) must stay below 2 ** 63: order {order} is too high")
        if smoothing not in ("kneser-ney", "absolute", "add"):
            raise ValueError(f"smoothing must be 'kneser-ney', 'absolute' or 'add', not {smoothing!r}")
        if not 0 <= discount <= 1:
            raise ValueError(f"discount must lie between 0 and 1, not {discount}")
        if not pseudo_count >= 0:
            raise ValueError(f"pseudo_count must be at least 0, not {pseudo_count}")
        self.levels, self.order, self.smoothing, self.pseudo_count = levels, order, smoothing, float(pseudo_count)
        self.discount = float(discount)
        self.support = constraints.integer_interval(0, levels - 1)
        self.register_buffer("keys", torch.zeros(0, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.long))
        self.register_buffer("unit", torch.ones(()))
        self._table: list[Level] | None = None

    def extra_repr(self) -> str:
        return f"order {self.order} over {self.levels} symbols, {len(self.keys)} n-grams met"

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._table = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state: dict, prefix: str, *args: Any) -> None:
        for name in ("keys", "counts"):
            if prefix + name in state:
                setattr(self, name, getattr(self, name).new_zeros(state[prefix + name].shape))
        self._table = None
        super()._load_from_state_dict(state, prefix, *args)

    @property
    def _levels(self) -> list[Level]:
        """What the counts come to, made when first asked for."""
        if self._table is None:
            given = self.keys, self.counts, self.order, self.levels
            if self.smoothing == "add":
                self._table = added(*given, self.pseudo_count)
            else:
                self._table = discounted(*given, self.discount, kinds=self.smoothing == "kneser-ney")
        return self._table

    def distribution(self, context: Tensor | None = None) -> ChainRows:
        self.check(context=context)
        return ChainRows(self)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is not None:
            self._check_codes(x)

    def _check_codes(self, x: Tensor) -> None:
        if x.dim() != 2:
            raise ValueError(f"MarkovChain takes rows of symbols, [N, T], not {list(x.shape)}")
        if not x.numel():
            return
        low, high = torch.aminmax(x)
        if low < 0 or high >= self.levels or (x.is_floating_point() and (x != x.long()).any()):
            bad = (x < 0) | (x >= self.levels) | (x != x.long())
            row, place = bad.nonzero()[0].tolist()
            raise ValueError(
                f"row {row} has {x[row, place].item():g} at place {place}, but symbols are those "
                f"whose codes are 0 to {self.levels - 1}"
            )

    @torch.no_grad()
    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_t | what comes before it) of rows of any length, [N, T], in nats."""
        self._check_codes(x)
        return probabilities(self._levels, keys_of(x, self.order, self.levels), self.levels).log().to(self.dtype)

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """So many rows symbol by symbol, each what `choose` makes of its logits: codes, [rows, T]."""
        levels, order, base = self._levels, self.order, self.levels + 1
        history = torch.full((rows,), base**order - 1, dtype=torch.long, device=self.device)
        read = 0

        def logits(t: int, codes: Tensor) -> Tensor:
            nonlocal history, read
            for k in range(read, t):
                history = (history * base + codes[:, k]) % base**order
            read = t
            return after(levels, history, self.levels).log()

        return in_turn(choose, logits, torch.zeros(rows, self.features, dtype=torch.long, device=self.device), known)

    @torch.no_grad()
    def continue_from(self, x: Tensor, steps: int) -> Tensor:
        """Draws of the symbols that follow rows of any length, [N, steps]."""
        self._check_codes(x)
        if steps < 0:
            raise ValueError(f"steps must be at least 0, not {steps}")
        base, levels = self.levels + 1, self._levels
        padded = torch.cat([x.new_full((len(x), self.order), self.levels), x], 1).long()
        history = torch.zeros(len(x), dtype=torch.long, device=self.device)
        for k in range(self.order, 0, -1):
            history = history * base + padded[:, -k]
        found = torch.empty(steps, len(x), dtype=torch.long, device=self.device)
        for t in range(steps):
            found[t] = draw(levels, history, self.levels)
            history = (history * base + found[t]) % base**self.order
        return found.mT.contiguous()

    # ---- what is missing

    @torch.no_grad()
    def cells(self, x: Tensor, known: Tensor) -> Tensor:
        """p(x_t | the known symbols), [N, T, levels], exactly; `known` [N, T] says which of x they are."""
        chain, told = self._bridge(x, known)
        if self.order == 0:
            found = told * chain.table
            return (found / found.sum(-1, keepdim=True)).to(self.dtype)
        return chain.marginals(told).to(self.dtype)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor:
        """Bridges: the unknown symbols drawn given the known ones, exactly, [draws, N, T]."""
        chain, told = self._bridge(x, known)
        if self.order == 0:
            return draw_state((told * chain.table).expand(draws, -1, -1, -1))
        return chain.draws(chain.ahead(told), draws)

    @torch.no_grad()
    def log_known(self, x: Tensor, known: Tensor) -> Tensor:
        """log p(the known symbols of each row), [N], in nats."""
        chain, told = self._bridge(x, known)
        if self.order == 0:
            return (told * chain.table).sum(-1).log().sum(-1).to(self.dtype)
        return chain.log_known(told).to(self.dtype)

    def _bridge(self, x: Tensor, known: Tensor) -> tuple[Histories, Tensor]:
        self._check_codes(torch.where(known, x, torch.zeros_like(x)))
        base = self.levels + 1
        if base**self.order * self.levels > LARGEST:
            raise ValueError(
                f"a bridge passes messages over all {base**self.order} histories of {self.levels} symbols, which is "
                f"too many (most: {LARGEST} numbers); sample by continue_from, or take a lower order"
            )
        keys = torch.arange(base**self.order, device=self.device)[:, None] * base
        table = probabilities(self._levels, keys + torch.arange(self.levels, device=self.device), self.levels)
        return Histories(table, self.order, self.levels), one_hot(x, known, self.levels)

    # ---- counting

    def count(self, x: Tensor) -> None:
        """Add the n-grams of these rows, of any length, to what was counted before."""
        self._check_codes(x)
        keys, counts = counted(x, self.order, self.levels)
        if len(self.keys):
            keys, counts = merged(torch.cat([self.keys, keys]), torch.cat([self.counts, counts]))
        self._set(keys, counts)

    def _set(self, keys: Tensor, counts: Tensor) -> None:
        self.keys, self.counts, self._table = keys, counts, None

    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """Nothing counted: the uniform distribution. The first step is the last."""
        self._set(self.keys[:0], self.counts[:0])

    def prepare(self, x: Tensor) -> Tensor:
        self.check(x)
        return x

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """How often each n-gram is met, a sparse vector, and the rows' log-likelihood."""
        keys, counts = counted(prepared, self.order, self.levels)
        size = ((self.levels + 1) ** (self.order + 1),)
        # each key once and sorted, which is what coalesced means
        sums = torch.sparse_coo_tensor(keys[None], counts, size, is_coalesced=True, check_invariants=False)
        return (sums,), (probabilities(self._levels, keys, self.levels).log() * counts).sum()

    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        sums = statistics[0].coalesce()
        self._set(sums.indices()[0].clone(), sums.values().clone())

    # ---- the chain in the long run

    @torch.no_grad()
    def transition(self) -> Tensor:
        """p(symbol | history), [levels ** order, levels], float64; histories in the order of their digits."""
        states = self.levels**self.order
        if states > MOST_STATES:
            raise ValueError(f"a chain of {states} histories is too large for matrices (most: {MOST_STATES})")
        digits = [torch.arange(self.levels, device=self.device)] * (self.order + 1)
        grams = torch.cartesian_prod(*digits).reshape(-1, self.order + 1)
        keys = keys_of(grams[:, -1:], self.order, self.levels, before=grams[:, :-1])
        return probabilities(self._levels, keys, self.levels).reshape(states, self.levels)

    def matrix(self) -> Tensor:
        """p(next history | history), [S, S] with S = levels ** order, float64."""
        transition = self.transition()
        states = len(transition)
        rows = torch.arange(states, device=transition.device)[:, None]
        after = (rows * self.levels + torch.arange(self.levels, device=transition.device)) % states
        return transition.new_zeros(states, states).scatter_add_(1, after, transition)

    def stationary(self) -> Tensor:
        """What histories are met in the long run, [levels] * order; for order 0 the symbols, [levels]."""
        if self.order == 0:
            return self.transition()[0]
        return stationary(self._flow()).reshape([self.levels] * self.order)

    def _flow(self) -> Tensor:
        matrix = self.matrix()
        return matrix - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)

    def spectral_gap(self) -> float:
        """1 - the second largest modulus of an eigenvalue: 0 where the chain never forgets, 1 at once."""
        moduli = torch.linalg.eigvals(self.matrix()).abs().sort(descending=True).values
        return float(1 - moduli[1]) if len(moduli) > 1 else 1.0

    def mixing_time(self, distance: float = 0.25) -> float:
        """The first step by which all starts are within this total variation of stationarity; inf if none is."""
        if not 0 < distance < 1:
            raise ValueError(f"distance must lie between 0 and 1, not {distance}")
        matrix, target = self.matrix(), self.stationary().flatten()
        if self.order == 0:
            return 1.0

        def far(power: Tensor) -> bool:
            return bool((power - target).abs().sum(-1).max() > 2 * distance)

        powers = [matrix]
        while far(powers[-1]):
            if len(powers) > 40:
                return float("inf")
            powers.append(powers[-1] @ powers[-1])
        passed, steps = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device), 0
        for place in range(len(powers) - 2, -1, -1):
            further = passed @ powers[place]
            if far(further):
                passed, steps = further, steps + 2**place
        return float(steps + 1)

    def hitting_times(self, targets: Sequence[int]) -> Tensor:
        """Expected steps until a symbol of `targets` comes, from each history; 0 at one, inf where it may never.

        With an absorbing symbol for a target this is the time to absorption. [levels] * order.
        """
        if self.order == 0 or not targets or not all(0 <= t < self.levels for t in targets):
            raise ValueError(f"targets are symbols, 0 to {self.levels - 1}, of a chain of order 1 or more")
        flow = self._flow()
        goal = torch.isin(torch.arange(len(flow)) % self.levels, torch.tensor(targets)).to(flow.device)
        return hitting_times(flow, goal).reshape([self.levels] * self.order)


class ChainRows(RowDistribution):
    """The rows of a Markov chain."""

    def __init__(self, model: MarkovChain) -> None:
        self._model = model
        super().__init__(torch.Size(), model.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        found = self._model.step_log_prob(value.reshape(-1, value.shape[-1])).sum(-1).reshape(value.shape[:-1])
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        nothing = torch.empty(shape[:-1].numel(), 0, dtype=torch.long, device=self._model.device)
        return self._model.continue_from(nothing, shape[-1]).reshape(shape)
