"""Sweeps over hidden chains in blocks that run in parallel over time, for any device.

With B blocks of L steps the cost is N T K^3 in L + B calls: a call's overhead is what T calls would be made of.

References:
    Temporal Parallelization of Inference in Hidden Markov Models (Hassan, Särkkä and García-Fernández, 2021)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-250
"""A scaled sum below this is done again on logarithms."""


def blocks_of(rows: int, steps: int, states: int) -> int:
    """How many blocks to cut T steps into: one where there are rows enough to fill the processor."""
    if rows * states >= 512 or steps < 64:
        return 1
    return max(1, round(math.sqrt(steps / rows)))


class Blocks:
    """The steps of each row, cut into blocks; those after the last are as if nothing had been seen."""

    def __init__(self, start: Tensor, move: Tensor, seen: Tensor, blocks: int | None) -> None:
        self.rows, self.steps, self.states = seen.shape
        self.count = min(blocks or blocks_of(*seen.shape), self.steps)
        self.length = -(-self.steps // self.count)
        self.count = -(-self.steps // self.length)
        self.start, self.matrix = start.double().exp(), move.double().exp()
        seen = seen.double()
        top = seen.amax(-1, keepdim=True)
        top = torch.where(top.isfinite(), top, torch.zeros_like(top))
        self.offset = top.sum((1, 2))
        weights = F.pad((seen - top).exp(), (0, 0, 0, self.count * self.length - self.steps), value=1.0)
        # [L, N, B, K]: what is done at once lies together
        self.weights = weights.reshape(self.rows, self.count, self.length, self.states).movedim(2, 0).contiguous()

    def evidence(self) -> tuple[Tensor, Tensor]:
        """log p(x), [N], and whether it is sure, [N]."""
        if self.count == 1:
            return self._filter(self.start.expand(self.rows, 1, -1))[1:]
        return self._entries()[1:]

    def filtered(self) -> tuple[Tensor, Tensor]:
        """p(z_t | x_1..t), [N, T, K], and whether it is sure, [N]."""
        entries, sure = self.start.expand(self.rows, 1, -1), torch.ones_like(self.offset, dtype=torch.bool)
        if self.count > 1:
            entries, _, sure = self._entries()
        found, _, certain = self._filter(entries)
        return found, certain & sure

    def smoothed(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """p(z_t-1 | x_1..t-1) and what joins it to p(z_t | x), [N, T - 1, K]; p(z_t | x), [N, T, K]; log p(x); sure."""
        entries, sure = self.start.expand(self.rows, 1, -1), torch.ones_like(self.offset, dtype=torch.bool)
        exits = torch.ones_like(entries)
        if self.count > 1:
            entries, _, sure = self._entries()
            exits = self._exits()
        ahead, evidence, certain = self._filter(entries)
        smoothed, after, safe = self._backward(ahead, exits)
        return ahead[:, :-1], after, smoothed, evidence, certain & safe & sure

    def _flat(self, x: Tensor) -> Tensor:
        """[L, N, B, K] as [N, T, K]."""
        return x.movedim(0, 2).reshape(self.rows, -1, self.states)[:, : self.steps]

    def _products(self) -> None:
        """Each block as a matrix, its rows scaled to sum to one, [N, B, K, K], and the scales' logarithms."""
        product = torch.diag_embed(self.weights[0]).reshape(-1, self.states, self.states)
        scale = product.new_zeros(product.shape[:-1])
        low = torch.full_like(scale, torch.inf)
        for t in range(1, self.length + 1):
            if t < self.length:
                product = product.reshape(-1, self.states) @ self.matrix
                product = product.reshape(len(scale), self.states, self.states)
                product *= self.weights[t].reshape(-1, 1, self.states)
            if t % 4 == 0 or t == self.length:
                total = product.sum(-1)
                low = torch.minimum(low, total)
                total.clamp_(min=torch.finfo(total.dtype).tiny)
                product /= total.unsqueeze(-1)
                scale += total.log_()
        shape = (self.rows, self.count, self.states)
        self.product, self.scale = product.reshape(*shape, self.states), scale.reshape(shape)
        self.low = low.reshape(shape) < TINY

    def _entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """The states predicted at each block's first step, [N, B, K]; log p(x), [N]; whether it is sure, [N]."""
        self._products()
        top = self.scale.amax(-1, keepdim=True)
        self.product *= (self.scale - top).exp().unsqueeze(-1)
        state = self.start.expand(self.rows, 1, -1)
        found, norms = [], []
        for onward in (self.product @ self.matrix).unbind(1):
            found.append(state)
            state = state @ onward
            norms.append(state.sum(-1, keepdim=True))
            state = state / norms[-1]
        entries, norm = torch.cat(found, 1), torch.cat(norms, 1).squeeze(-1)
        sure = (norm >= TINY).all(-1) & ~(self.low & (entries > 0)).flatten(1).any(-1)
        return entries, self.offset + top.sum((1, 2)) + norm.log().sum(-1), sure

    def _exits(self) -> Tensor:
        """p(what is seen after each block | the state at its last step), up to a constant, [N, B, K]."""
        state = torch.ones(self.rows, self.states, 1, dtype=torch.float64, device=self.start.device)
        found = [state]
        for backward in (self.matrix @ self.product[:, 1:]).unbind(1)[::-1]:
            state = backward @ state
            state = state / state.sum(1, keepdim=True)
            found.append(state)
        return torch.stack(found[::-1], 1).squeeze(-1)

    def _filter(self, entries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """p(z_t | x_1..t), [N, T, K]; log p(x), [N]; whether it is sure, [N]."""
        states = torch.empty_like(self.weights)
        evidence, state = self.offset, entries
        for t in range(self.length):
            torch.mul(state if t == 0 else state @ self.matrix, self.weights[t], out=states[t])
            state = states[t]
            if t % 4 == 3 or t == self.length - 1:
                norm = state.sum(-1, keepdim=True)
                state /= norm
                evidence = evidence + norm.log().sum((1, 2))
        norms = states.sum(-1, keepdim=True)
        sure = (norms >= TINY).all(0).all(-1).all(-1)
        return self._flat(states / norms), evidence, sure

    def _backward(self, filtered: Tensor, exits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """p(z_t | x), [N, T, K]; what joins p(z_t-1 | x_1..t-1) to it, [N, T - 1, K]; whether it is sure, [N]."""
        ahead = torch.empty_like(self.weights)
        state = exits
        back = self.matrix.mT.contiguous()
        for t in range(self.length - 1, -1, -1):
            if t % 4 == 0:
                state = state / state.sum(-1, keepdim=True)
            ahead[t] = state
            if t:
                state = (state * self.weights[t]) @ back
        behind = self._flat(ahead)
        joined = filtered * behind
        total = joined.sum(-1, keepdim=True)
        sure = (total >= TINY).all(1).squeeze(-1)
        joined /= total
        after = (self._flat(self.weights) * behind)[:, 1:]
        norm = ((filtered[:, :-1] @ self.matrix) * after).sum(-1, keepdim=True)
        sure &= (norm >= TINY).all(1).squeeze(-1)
        return joined, after / norm, sure
