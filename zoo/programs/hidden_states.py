"""A hidden Markov chain with Gaussian steps, its states summed out."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.distributions import RowDistribution
from zoo.programs.restricted import Restricted

NEVER = -1e30


def hidden_markov(y: Tensor) -> None:
    """Two states with the means mu, 0 < mu_1 < mu_2, in y: [N]; the states are summed out.

    theta1, theta2 ~ Dirichlet(1, 1), the probabilities of the states after the first and after the second;
    mu_1 ~ N(3, 1), mu_2 ~ N(10, 1), y_t ~ N(mu_state, 1); the first state is either with the same probability.
    """
    theta1 = pyro.sample("theta1", dist.Dirichlet(y.new_ones(2)))
    theta2 = pyro.sample("theta2", dist.Dirichlet(y.new_ones(2)))
    means = dist.Normal(y.new_tensor([3.0, 10.0]), 1.0).to_event(1)
    mu = pyro.sample("mu", Restricted(means, dist.constraints.positive_ordered_vector, share=0.99865))
    pyro.sample("y", HiddenStates(torch.stack([theta1, theta2], -2), mu, len(y)), obs=y)


class HiddenStates(RowDistribution):
    """Series of T numbers, y_t ~ N(loc[s_t], 1), of a chain s of K states that begins in any alike.

    transition: [*batch_shape, K, K], the next state's probabilities a row; loc: [*batch_shape, K].

    The density is a product of matrices, taken in pairs: log2 T passes over all steps at once. `dist.DiscreteHMM` does
    the same, but has the states on the last axes, which takes three times as long for a batch of chains.
    """

    def __init__(self, transition: Tensor, loc: Tensor, length: int) -> None:
        self.transition, self.loc = transition, loc
        super().__init__(torch.broadcast_shapes(transition.shape[:-1], loc.shape)[:-1], torch.Size([length]))

    def log_prob(self, value: Tensor) -> Tensor:
        seen = dist.Normal(self.loc[..., None], 1.0).log_prob(value[..., None, :])  # [..., K, T]
        moves = self.transition.log()[..., None] + seen[..., None, :, 1:]
        while moves.shape[-1] > 1:
            moves = _pairs(moves if moves.shape[-1] % 2 == 0 else _lengthened(moves))
        paths = seen[..., :, None, 0] + moves[..., 0]
        return paths.logsumexp((-1, -2)) - math.log(self.loc.shape[-1])

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        batch = self._extended_shape(sample_shape)[:-1]
        states = self.loc.shape[-1]
        transition, loc = self.transition.expand(*batch, states, states), self.loc.expand(*batch, states)
        path = [dist.Categorical(torch.ones_like(loc)).sample()]
        for _ in range(self.event_shape[0] - 1):
            row = transition.gather(-2, path[-1][..., None, None].expand(*batch, 1, states))[..., 0, :]
            path.append(dist.Categorical(row).sample())
        return torch.normal(loc.gather(-1, torch.stack(path, -1)), 1.0)


def _pairs(moves: Tensor) -> Tensor:
    """Each step's [K, K] times the next one's, in logarithms: [..., K, K, T] to [..., K, K, T / 2]."""
    first, second = moves.unflatten(-1, (-1, 2)).unbind(-1)
    through = range(moves.shape[-2])
    return reduce(torch.logaddexp, (first[..., :, k, None, :] + second[..., None, k, :, :] for k in through))


def _lengthened(moves: Tensor) -> Tensor:
    """A step more, in which no state changes."""
    staying = NEVER * (1 - torch.eye(moves.shape[-2], dtype=moves.dtype, device=moves.device))
    return torch.cat([moves, staying[..., None].expand(*moves.shape[:-1], 1)], -1)
