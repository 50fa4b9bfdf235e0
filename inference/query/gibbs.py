"""Chains over what is not known of a latent-variable model's rows: (z, x_missing) given x_known.

    z' ~ q(z | x), taken with probability min(1, w(z') / w(z)), w(z) = p(z) p(x | z) / q(z | x)
    z' ~ r(z), taken with probability min(1, v(z') / v(z)), v(z) = p(z) p(x_known | z) / r(z)
    x_missing ~ p(x_missing | x_known, z)

r is a mixture of the encoder at some ways to fill the row, found in the warm-up and fixed then, and of the prior: it
reaches one mode from another, and the mean of v is p(x_known). Where a decoder's cells depend on each other there is
no v, and x_missing is moved by a step of Metropolis' too.

References:
    Stochastic Backpropagation and Approximate Inference in Deep Generative Models (Rezende et al., 2014),
    https://arxiv.org/abs/1401.4082, for pseudo-Gibbs
    Leveraging the Exact Likelihood of Deep Latent Variable Models (Mattei and Frellsen, 2018),
    https://arxiv.org/abs/1802.04826, for its Metropolis correction
    MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets (Mattei and Frellsen, 2019),
    https://arxiv.org/abs/1812.02633, for p(x_known) by importance
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.importance import drawn
from inference.query.cells import by_cell
from inference.query.walks import Walk, chosen, rows, walk_of

PRIOR = 0.25
"""How many draws of the prior the pool has for each of an encoder."""
CANDIDATES = 32
"""Draws of the prior among which the first z of a chain is chosen."""


@dataclass(frozen=True)
class Target:
    """p(z, x_missing | x_known) of M rows, up to a constant: `chains` times the same rows, one copy after the other."""

    model: Any
    x: Tensor
    known: Tensor
    context: Tensor | None
    chains: int

    def prior(self, z: Tensor) -> Tensor:
        return self.model.prior(self.context).log_prob(z)

    def draw_prior(self) -> Tensor:
        prior = self.model.prior(self.context)
        return prior.sample() if prior.batch_shape else prior.sample((len(self.x),))

    def decoder(self, z: Tensor) -> Any:
        return self.model.decoder(z, self.context)

    def encoder(self, x: Tensor) -> Any:
        return self.model.encoder(x, self.context)

    def joint(self, z: Tensor, decoder: Any, x: Tensor) -> Tensor:
        """log p(z, x_known), [M], where the cells of x are independent given z, else log p(z, x)."""
        cells = by_cell(decoder, x.shape)
        told = decoder.log_prob(x) if cells is None else torch.where(self.known, cells(x), 0.0).flatten(1).sum(1)
        return self.prior(z) + told


@dataclass(frozen=True)
class State:
    """Where M chains are, and what was seen on the way."""

    z: Tensor
    x: Tensor
    decoder: Any
    walk: Walk
    pool: Pool | None = None
    taken: Tensor | None = None
    """Whether the encoder's proposal was taken, [M]."""
    log_v: Tensor | None = None
    """The log of v at what the pool proposed, [M]."""


class Pool:
    """r(z) of each row: a mixture of the encoder at its chains' x, and of the prior, whose tails it needs."""

    def __init__(self, target: Target, x: Tensor) -> None:
        self.target, self.encoders = target, target.encoder(x)
        self.priors = max(1, math.ceil(PRIOR * target.chains))

    def draw(self) -> Tensor:
        """z for each chain, [M, ...]: the chains of a row have different components, drawn without putting back."""
        chains = self.target.chains
        own, other = (z.unflatten(0, (chains, -1)) for z in (self.encoders.sample(), self.target.draw_prior()))
        z = torch.cat([own, other[: self.priors]])
        which = torch.rand(z.shape[:2], device=z.device).argsort(0)[:chains]
        return z.gather(0, which.view(*which.shape, *[1] * (z.dim() - 2)).expand_as(own)).flatten(0, 1)

    def log_prob(self, z: Tensor) -> Tensor:
        chains = self.target.chains
        each = z.unflatten(0, (chains, -1))
        every = each.repeat(1, chains, *[1] * (each.dim() - 2))
        of_encoders = self.encoders.log_prob(every).view(chains, chains, -1)
        of_prior = self.target.prior(z).view(chains, 1, -1) + math.log(self.priors)
        return (torch.cat([of_encoders, of_prior], 1).logsumexp(1) - math.log(chains + self.priors)).flatten()


class PseudoGibbs:
    """z ~ q(z | x) and x_missing ~ p(x_missing | x_known, z) in turns: right where the encoder is the posterior."""

    label = "pseudo-Gibbs sampling without correction"
    warning: tuple[str, ...] = ("uncorrected chains are only as right as the encoder is: take Metropolis()",)

    def __call__(self, target: Target, state: State) -> State:
        z = target.encoder(state.x).sample()
        return refilled(target, replace(state, z=z, taken=torch.ones(len(z), dtype=torch.bool, device=z.device)))


class Metropolis:
    """The moves above, each taken or left so that p(z, x_missing | x_known) stays what it is."""

    label = "pseudo-Gibbs sampling with a Metropolis correction"
    warning: tuple[str, ...] = ()

    def __call__(self, target: Target, state: State) -> State:
        state = self._by_encoder(target, state)
        return refilled(target, self._by_pool(target, state))

    def _by_encoder(self, target: Target, state: State) -> State:
        encoder = target.encoder(state.x)
        z, log_q = (part[0] for part in drawn(encoder, 1))
        there = target.prior(z) + target.decoder(z).log_prob(state.x) - log_q
        here = target.prior(state.z) + state.decoder.log_prob(state.x) - encoder.log_prob(state.z)
        taken = chosen(there - here)
        z = torch.where(rows(taken, z), z, state.z)
        return replace(state, z=z, decoder=target.decoder(z), taken=taken)

    def _by_pool(self, target: Target, state: State) -> State:
        if state.pool is None:
            return state
        z = state.pool.draw()
        log_v = target.joint(z, target.decoder(z), state.x) - state.pool.log_prob(z)
        here = target.joint(state.z, state.decoder, state.x) - state.pool.log_prob(state.z)
        taken = chosen(log_v - here)
        return replace(state, z=torch.where(rows(taken, z), z, state.z), log_v=log_v)


def refilled(target: Target, state: State) -> State:
    """x_missing moved: drawn anew where the cells are independent given z."""
    decoder = target.decoder(state.z)
    if by_cell(decoder, state.x.shape) is None:
        return replace(state, x=state.walk(decoder, state.x), decoder=decoder)
    x = torch.where(target.known, target.x, decoder.sample().to(target.x.dtype))
    return replace(state, x=x, decoder=decoder)


def start(target: Target) -> State:
    """A draw of the prior for each chain, chosen among some by how well it tells what is known."""
    z = target.draw_prior()
    decoder = target.decoder(z)
    if by_cell(decoder, target.x.shape) is not None:
        z = likely(target, [z, *(target.draw_prior() for _ in range(CANDIDATES - 1))])
        decoder = target.decoder(z)
    x = torch.where(target.known, target.x, decoder.sample().to(target.x.dtype))
    return State(z, x, decoder, walk_of(target.model, target.known, target.chains))


def likely(target: Target, candidates: list[Tensor]) -> Tensor:
    """One of some draws of the prior for each chain, drawn by p(x_known | z): by the Gumbel trick."""
    z, best = candidates[0], torch.full((len(target.x),), -math.inf, device=target.x.device)
    for other in candidates:
        told = target.joint(other, target.decoder(other), target.x) - target.prior(other)
        score = told - (-torch.rand_like(told).log()).log()
        z, best = torch.where(rows(score > best, z), other, z), torch.maximum(score, best)
    return z
