"""The arithmetic of hidden chains: filtering, smoothing and the best path.

Everywhere `start` is log p(z_1), [K], `move` log p(z_t | z_t-1), [K, K], and `seen` log p(x_t | z_t), [N, T, K]. Sums
are made in float64 of scaled numbers; rows on which they come near underflow are done again on logarithms.

References:
    A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition (Rabiner, 1989)
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from zoo.hidden_blocks import Blocks

LARGEST = 128
"""States beyond which products of matrices, which read the moves once for all rows, beat plain loops."""


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
    evidence, sure = _sweeps(start, move, seen, blocks).evidence()
    evidence = evidence.to(seen.dtype)
    for n in (~sure).nonzero().flatten().tolist():
        evidence[n] = _log_filter(start, move, seen[n])[-1].logsumexp(-1)
    return evidence


def smooth(
    start: Tensor, move: Tensor, seen: Tensor, blocks: int | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """p(z_t | x), [N, T, K]; expected numbers of moves summed over the rows, [K, K]; and log p(x), [N].

    `lengths`, [N], are of the rows that end before T: moves after their ends are not counted.
    """
    smoothed, pairs, evidence = _smooth(start, move, seen, blocks, lengths)
    return smoothed, pairs(None), evidence


def _smooth(
    start: Tensor, move: Tensor, seen: Tensor, blocks: int | None, lengths: Tensor | None = None
) -> tuple[Tensor, Any, Tensor]:
    """p(z_t | x), log p(x), and between them what sums expected moves over the rows, by a weight each."""
    chain = _sweeps(start, move, seen, blocks)
    before, after, smoothed, evidence, sure = chain.smoothed()
    evidence = evidence.to(seen.dtype)
    if lengths is not None:
        after *= (torch.arange(1, seen.shape[1], device=seen.device) < lengths[:, None]).unsqueeze(-1)
    apart: dict[int, Tensor] = {}
    for n in (~sure).nonzero().flatten().tolist():
        before[n] = after[n] = 0.0
        smoothed[n], apart[n], evidence[n] = _log_smooth(
            start, move, seen[n], None if lengths is None else int(lengths[n])
        )

    def pairs(weight: Tensor | None) -> Tensor:
        left = before if weight is None else before * weight[:, None, None]
        total = (left.reshape(-1, left.shape[-1]).mT @ after.reshape(-1, left.shape[-1])) * chain.matrix
        for n, moves in apart.items():
            total = total + (moves if weight is None else moves * weight[n])
        return total

    return smoothed, pairs, evidence


def _sweeps(start: Tensor, move: Tensor, seen: Tensor, blocks: int | None) -> Any:
    """The chain ready for its sweeps: plain loops compiled by numba where it is installed, blocks elsewhere."""
    if blocks is None and seen.device.type == "cpu" and seen.shape[-1] <= LARGEST and find_spec("numba"):
        from zoo.hidden_loops import Loops

        return Loops(start, move, seen)
    return Blocks(start, move, seen, blocks)


def filtered(start: Tensor, move: Tensor, seen: Tensor) -> Tensor:
    """p(z_t | x_1, ..., x_t), [N, T, K]."""
    found, sure = _sweeps(start, move, seen, None).filtered()
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


def _log_filter(start: Tensor, move: Tensor, seen: Tensor) -> Tensor:
    """log p(z_t, x_1..t) of one row, [T, K]."""
    start, move, seen = (t.detach().double() for t in (start, move, seen))
    found = [start + seen[0]]
    for now in seen[1:]:
        found.append((found[-1].unsqueeze(-1) + move).logsumexp(-2) + now)
    return torch.stack(found)


def _log_smooth(start: Tensor, move: Tensor, seen: Tensor, length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
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
    for t in range(1, len(seen) if length is None else length):
        moves += (ahead[t - 1].unsqueeze(-1) + move + (seen[t] + behind[t] - total)).exp()
    return (ahead + behind - total).exp(), moves, total
