"""The arithmetic of hidden chains: filtering, smoothing and the best path, in blocks that run in parallel over time.

Everywhere `start` is log p(z_1), [K], `move` log p(z_t | z_t-1), [K, K], and `seen` log p(x_t | z_t), [N, T, K]. Sums
are made in float64 of numbers scaled at each step; rows on which they come near underflow are done again on logarithms.
With B blocks of L steps the cost is N T K^3 in L + B calls: a call's overhead is what T calls would be made of.

References:
    A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition (Rabiner, 1989)
    Temporal Parallelization of Inference in Hidden Markov Models (Hassan, Särkkä and García-Fernández, 2021)
"""

from __future__ import annotations

import math
from typing import Any

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


def log_evidence(start: Tensor, move: Tensor, seen: Tensor, blocks: int | None = None) -> Tensor:
    """log p(x) of each row, [N]; its gradient is the smoothed posterior, found by a backward pass."""
    return _Evidence.apply(start, move, seen, blocks)


class _Evidence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, start: Tensor, move: Tensor, seen: Tensor, blocks: int | None) -> Tensor:
        ctx.save_for_backward(start, move)
        if any(ctx.needs_input_grad):
            ctx.found = _smooth(start, move, seen, blocks)
            return ctx.found[2]
        return evidence_of(start, move, seen, blocks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        start, move = ctx.saved_tensors
        smoothed, pairs, _ = ctx.found
        weight = gradient.double()
        each = smoothed * weight[:, None, None]
        return each[:, 0].sum(0).to(start.dtype), pairs(weight).to(move.dtype), each.to(start.dtype), None


def evidence_of(start: Tensor, move: Tensor, seen: Tensor, blocks: int | None = None) -> Tensor:
    """log p(x) of each row, [N], without gradients."""
    chain = _Blocks(start, move, seen, blocks)
    if chain.count == 1:
        _, evidence, sure = chain.filter(chain.start.expand(chain.rows, 1, -1))
    else:
        _, evidence, sure = chain.entries()
    evidence = evidence.to(seen.dtype)
    for n in (~sure).nonzero().flatten().tolist():
        evidence[n] = _log_filter(start, move, seen[n])[-1].logsumexp(-1)
    return evidence


def smooth(start: Tensor, move: Tensor, seen: Tensor, blocks: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """p(z_t | x), [N, T, K]; expected numbers of moves summed over the rows, [K, K]; and log p(x), [N]."""
    smoothed, pairs, evidence = _smooth(start, move, seen, blocks)
    return smoothed, pairs(None), evidence


def _smooth(start: Tensor, move: Tensor, seen: Tensor, blocks: int | None) -> tuple[Tensor, Any, Tensor]:
    """p(z_t | x), log p(x), and between them what sums expected moves over the rows, by a weight each."""
    chain = _Blocks(start, move, seen, blocks)
    entries = chain.start.expand(chain.rows, 1, -1)
    exits = torch.ones_like(entries)
    sure = torch.ones(chain.rows, dtype=torch.bool, device=seen.device)
    if chain.count > 1:
        entries, _, sure = chain.entries()
        exits = chain.exits()
    ahead, evidence, certain = chain.filter(entries)
    smoothed, after, safe = chain.backward(ahead, exits)
    before, evidence = ahead[:, :-1], evidence.to(seen.dtype)
    apart: dict[int, Tensor] = {}
    for n in (~(sure & certain & safe)).nonzero().flatten().tolist():
        before[n] = after[n] = 0.0
        smoothed[n], apart[n], evidence[n] = _log_smooth(start, move, seen[n])

    def pairs(weight: Tensor | None) -> Tensor:
        left = before if weight is None else before * weight[:, None, None]
        total = (left.reshape(-1, chain.states).mT @ after.reshape(-1, chain.states)) * chain.matrix
        for n, moves in apart.items():
            total = total + (moves if weight is None else moves * weight[n])
        return total

    return smoothed, pairs, evidence


def filtered(start: Tensor, move: Tensor, seen: Tensor) -> Tensor:
    """p(z_t | x_1, ..., x_t), [N, T, K]."""
    chain = _Blocks(start, move, seen, 1)
    found, _, sure = chain.filter(chain.start.expand(chain.rows, 1, -1))
    for n in (~sure).nonzero().flatten().tolist():
        found[n] = _log_filter(start, move, seen[n]).softmax(-1)
    return found


def best_path(start: Tensor, move: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest states of each row, [N, T], and log p(x, those states), [N] (Viterbi, 1967)."""
    start, move, seen = (t.double() for t in (start, move, seen))
    score = start + seen[:, 0]
    came_from = []
    for t in range(1, seen.shape[1]):
        score, place = (score.unsqueeze(-1) + move).max(-2)
        score = score + seen[:, t]
        came_from.append(place)
    value, state = score.max(-1)
    path = [state]
    for place in reversed(came_from):
        path.append(place.gather(-1, path[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(path[::-1], 1), value


class _Blocks:
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

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
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

    def exits(self) -> Tensor:
        """p(what is seen after each block | the state at its last step), up to a constant, [N, B, K]."""
        state = torch.ones(self.rows, self.states, 1, dtype=torch.float64, device=self.start.device)
        found = [state]
        for backward in (self.matrix @ self.product[:, 1:]).unbind(1)[::-1]:
            state = backward @ state
            state = state / state.sum(1, keepdim=True)
            found.append(state)
        return torch.stack(found[::-1], 1).squeeze(-1)

    def filter(self, entries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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

    def backward(self, filtered: Tensor, exits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def _log_filter(start: Tensor, move: Tensor, seen: Tensor) -> Tensor:
    """log p(z_t, x_1..t) of one row, [T, K]."""
    start, move, seen = (t.detach().double() for t in (start, move, seen))
    found = [start + seen[0]]
    for now in seen[1:]:
        found.append((found[-1].unsqueeze(-1) + move).logsumexp(-2) + now)
    return torch.stack(found)


def _log_smooth(start: Tensor, move: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """p(z_t | x), expected moves and log p(x) of one row, on logarithms; of an impossible row, zeros."""
    ahead = _log_filter(start, move, seen)
    total = ahead[-1].logsumexp(-1)
    seen, move = seen.detach().double(), move.detach().double()
    if not total.isfinite():
        return torch.zeros_like(ahead), torch.zeros_like(move), total
    back = [torch.zeros_like(seen[0])]
    for now in seen[1:].flip(0):
        back.append((move + (now + back[-1])).logsumexp(-1))
    behind = torch.stack(back[::-1])
    moves = torch.zeros_like(move)
    for t in range(1, len(seen)):
        moves += (ahead[t - 1].unsqueeze(-1) + move + (seen[t] + behind[t] - total)).exp()
    return (ahead + behind - total).exp(), moves, total
