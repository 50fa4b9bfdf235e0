"""Bridges: what is not known of a chain, given what is known before and after it, by passing messages both ways.

A message is a distribution over states, scaled to sum to one at each step, in float64. Two kinds of chain: `Chain`,
whose moves are a matrix a step, and `Histories`, whose state is the last `order` symbols.

References:
    A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition (Rabiner, 1989)
    Calculating posterior distributions and modal estimates in Markov mixture models (Chib, 1996), for the draws
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST = 2**20
"""Entries of the table p(symbol | history) beyond which a bridge over histories is refused."""


def one_hot(x: Tensor, known: Tensor, states: int) -> Tensor:
    """What is known of codes [N, T] as likelihoods, [N, T, states]: ones where nothing is."""
    told = F.one_hot(torch.where(known, x, torch.zeros_like(x)).long(), states).double()
    return torch.where(known.unsqueeze(-1), told, torch.ones_like(told))


def draw(weights: Tensor) -> Tensor:
    """A state by weights [..., K] that need not sum to one; [...]."""
    return torch.multinomial(weights.reshape(-1, weights.shape[-1]), 1).reshape(weights.shape[:-1])


@dataclass(frozen=True)
class Chain:
    """p(z) of T steps over K states: `start` [K], `moves` [T - 1, K, K], a matrix from each step to the next."""

    start: Tensor
    moves: Tensor

    def ahead(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """p(z_t | likelihoods 1..t), [N, T, K], and the log of what all T come to, [N]."""
        state, found, total = self.start.expand(len(told), -1), [], told.new_zeros(len(told))
        for t in range(told.shape[1]):
            state = (state if t == 0 else state @ self.moves[t - 1]) * told[:, t]
            norm = state.sum(-1, keepdim=True)
            _refuse_impossible(norm[:, 0])
            state, total = state / norm, total + norm[:, 0].log()
            found.append(state)
        return torch.stack(found, 1), total

    def marginals(self, told: Tensor) -> Tensor:
        """p(z_t | all likelihoods), [N, T, K]."""
        ahead, _ = self.ahead(told)
        behind = torch.ones_like(ahead[:, 0])
        found = [ahead[:, -1]]
        for t in range(told.shape[1] - 1, 0, -1):
            behind = (behind * told[:, t]) @ self.moves[t - 1].mT
            behind = behind / behind.sum(-1, keepdim=True)
            both = ahead[:, t - 1] * behind
            found.append(both / both.sum(-1, keepdim=True))
        return torch.stack(found[::-1], 1)

    def draws(self, ahead: Tensor, count: int) -> Tensor:
        """Whole paths given the likelihoods behind `ahead`, [count, N, T]."""
        path = [draw(ahead[:, -1].expand(count, -1, -1))]
        for t in range(ahead.shape[1] - 2, -1, -1):
            path.append(draw(ahead[:, t] * self.moves[t].mT[path[-1]]))
        return torch.stack(path[::-1], -1)


@dataclass(frozen=True)
class Histories:
    """A chain of order n over `symbols`, by p(symbol | history) [(symbols + 1) ** n, symbols].

    A history is a number whose digits are its symbols, the first the highest; the digit `symbols` is what comes
    before a row.
    """

    table: Tensor
    order: int
    symbols: int

    def ahead(self, told: Tensor) -> list[Tensor]:
        """p(the last n symbols at t | likelihoods 1..t), [N, histories] for t = 0..T; at 0 nothing has come."""
        base = self.symbols + 1
        state = told.new_zeros(len(told), base**self.order)
        state[:, -1] = 1.0
        found = [state]
        for t in range(told.shape[1]):
            joint = state.unsqueeze(-1) * self.table * told[:, t].unsqueeze(1)
            state = self._after(joint)
            norm = state.sum(-1, keepdim=True)
            _refuse_impossible(norm[:, 0])
            found.append(state / norm)
            state = found[-1]
        return found

    def _after(self, joint: Tensor) -> Tensor:
        """p(history, symbol), [N, histories, symbols], as what the history then is, [N, histories]."""
        if self.order == 0:
            return joint.sum(-1)
        first = joint.reshape(len(joint), self.symbols + 1, -1, self.symbols).sum(1)
        return F.pad(first, (0, 1)).flatten(1)

    def _before(self, behind: Tensor) -> Tensor:
        """A number for each history after a symbol, [N, histories], for each history and symbol before it."""
        if self.order == 0:
            return behind.unsqueeze(-1).expand(-1, -1, self.symbols)
        last = behind.reshape(len(behind), 1, -1, self.symbols + 1)[..., : self.symbols]
        return last.expand(-1, self.symbols + 1, -1, -1).reshape(len(behind), -1, self.symbols)

    def marginals(self, told: Tensor) -> Tensor:
        """p(x_t | all likelihoods), [N, T, symbols]."""
        ahead = self.ahead(told)
        behind = torch.ones_like(ahead[0])
        found = []
        for t in range(told.shape[1] - 1, -1, -1):
            onward = self.table * told[:, t].unsqueeze(1) * self._before(behind)
            both = torch.einsum("nh,nhs->ns", ahead[t], onward)
            found.append(both / both.sum(-1, keepdim=True))
            behind = onward.sum(-1)
            behind = behind / behind.amax(-1, keepdim=True)
        return torch.stack(found[::-1], 1)

    def draws(self, ahead: list[Tensor], count: int) -> Tensor:
        """Whole rows given the likelihoods behind `ahead`, [count, N, T], from the last symbol to the first."""
        base, steps = self.symbols + 1, len(ahead) - 1
        if self.order == 0:
            raise ValueError("symbols of a chain of order 0 are independent: draw them from its table")
        history = draw(ahead[-1].repeat(count, 1))
        rows = torch.arange(len(ahead[-1]), device=history.device).repeat(count)
        found = []
        for t in range(steps, 0, -1):
            symbol, head = history % base, history // base
            found.append(symbol)
            # what is left to find is the one symbol that the history at t has dropped
            before = ahead[t - 1].reshape(len(ahead[-1]), base, -1)[rows, :, head]
            chosen = draw(before * self.table.reshape(base, -1, self.symbols)[:, head, symbol].mT)
            history = chosen * base ** (self.order - 1) + head
        return torch.stack(found[::-1], -1).reshape(count, -1, steps)


def _refuse_impossible(norm: Tensor) -> None:
    if not (norm > 0).all():
        row = int((~(norm > 0)).nonzero()[0])
        raise ValueError(f"what is known of row {row} can't come about: it has probability zero under the chain")
