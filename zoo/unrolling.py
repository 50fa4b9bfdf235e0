"""Rows made number by number by families that are no networks: tables, n-grams, hidden chains, free parameters.

See `zoo.autoregressive.Autoregressive` for what `unroll` and `step_log_prob` promise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from zoo.base import Explicit
from zoo.choosing import Choose
from zoo.networks import flat, unflat

Logits = Callable[[int, Tensor], Tensor]
"""(i, codes [rows, features], of which the first i are known) -> logits of number i, [rows, levels]."""


def in_turn(choose: Choose, logits: Logits, codes: Tensor, known: Tensor | None) -> Tensor:
    """The numbers of each row one after the other, from what is `known` on, into `codes`, [rows, features]."""
    told = 0
    if known is not None:
        told = known.shape[1]
        codes[:, :told] = known
    for i in range(told, codes.shape[1]):
        codes[:, i] = choose(i, logits(i, codes))
    return codes


class Factorised(Explicit):
    """Numbers that are independent given the context: p(x | c) = prod_i p(x_i | c)."""

    levels: int
    capabilities = Explicit.capabilities | {"unroll"}

    @abstractmethod
    def level_logits(self, context: Tensor | None) -> Tensor:
        """The logits of every number's levels, [N or 1, features, levels]."""

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_i | c) of each number, [N, features], in nats."""
        codes = flat(x, self.event_shape).long().unsqueeze(-1)
        logs = self.level_logits(context).log_softmax(-1)
        return logs.expand(len(codes), -1, -1).gather(-1, codes).squeeze(-1)

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """So many rows, each number what `choose` makes of its logits: codes, [rows, *event_shape]."""
        logits = self.level_logits(context).expand(rows, -1, -1)
        codes = torch.zeros(rows, self.features, dtype=torch.long, device=logits.device)
        return unflat(in_turn(choose, lambda i, _: logits[:, i], codes, known), self.event_shape)


class HiddenChain:
    """What a hidden chain of states makes the next number's logits of, step by step of a forward filter.

    `start` [K] and `move` [K, K] are log p(z_1) and log p(z_t | z_t-1), `table` [K, D, levels] the log p of each of
    the D numbers of a step. Logarithms are kept of what is joined with a state, in float64: nothing underflows.
    """

    def __init__(self, start: Tensor, move: Tensor, table: Tensor, rows: int) -> None:
        self.move, self.table = move.double().exp(), table.double()
        self.shown = self.table.exp()
        self.size = table.shape[1]
        self.state = start.double().expand(rows, -1)
        """log p(the state now | the numbers so far), [rows, K]."""
        self.seen = 0

    def logits(self, i: int, codes: Tensor) -> Tensor:
        while self.seen < i:
            self._see(self.seen, codes[:, self.seen])
        return (self.state.exp() @ self.shown[:, i % self.size]).log()

    def _see(self, i: int, codes: Tensor) -> None:
        state = self.state + self.table[:, i % self.size, codes].mT
        total = state.logsumexp(-1, keepdim=True)
        # what no state can show tells nothing of the states
        self.state = torch.where(total > -torch.inf, state - total, self.state)
        self.seen += 1
        if self.seen % self.size == 0:
            self.state = (self.state.exp() @ self.move).log()
