"""Sequential Monte Carlo from the prior to the posterior, on tensors: several populations of particles in one batch.

A particle's weight for the way from beta to beta' is its likelihood to the power beta' - beta; beta' is so far on that
the weights of a population are worth a set share of its particles. The particles are then drawn anew by their weights,
and moved by a kernel that keeps p_beta', proportional to prior * likelihood^beta', until they have forgotten where they
were. The product of the mean weights estimates the evidence, of each population by itself.

References:
    Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006), https://doi.org/10.1111/j.1467-9868.2006.00553.x
    Toward Automatic Model Comparison: An Adaptive SMC Approach (Zhou, Johansen and Aston, 2016),
    https://arxiv.org/abs/1303.3123
    Sequential Monte Carlo methods for Bayesian elliptic inverse problems (Beskos et al., 2015),
    https://arxiv.org/abs/1412.4459: how many moves
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.resampling import systematic
from inference.sampling.kernel import Chains, Density, Kernel

FORGOTTEN = 0.1
"""The correlation of each coordinate with where it was before the moves, which suffices."""
PATIENCE = 8
"""Moves over which the correlation has to fall by one part in fifty, or more of them are thought to be of no use."""


class Tempered:
    """log prior + beta log likelihood, of q [C, dim]; the likelihood is the joint over the prior, and 0 where NaN."""

    def __init__(self, prior: Density, joint: Density, beta: float) -> None:
        self.prior, self.joint, self.beta = prior, joint, beta

    @property
    def dim(self) -> int:
        return self.joint.dim

    @property
    def program(self) -> Any:
        """The program of both, for kernels that read its prior."""
        return self.joint.program  # type: ignore[attr-defined]

    def constrain(self, q: Tensor) -> dict[str, Tensor]:
        """The latents' own values at q [..., dim]."""
        return self.joint.constrain(q)  # type: ignore[attr-defined]

    def log_likelihood(self, q: Tensor) -> Tensor:
        """Nats [C]; -inf where it cannot be computed."""
        return (self.joint(q) - self.prior(q)).nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)

    def __call__(self, q: Tensor) -> Tensor:
        return (1 - self.beta) * self.prior(q) + self.beta * self.joint(q)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        prior, prior_slope = self.prior.value_and_grad(q)
        joint, joint_slope = self.joint.value_and_grad(q)
        return torch.lerp(prior, joint, self.beta), torch.lerp(prior_slope, joint_slope, self.beta)


@dataclass(frozen=True)
class Annealed:
    """Where the particles came out: q [P, N, dim] and their log joint density [P, N].

    `log_evidence` [P] is that of each population; `temperatures` are the betas after 0, and for each of them `moves` is
    how often all particles moved, `acceptance` the mean share, and `correlation` the largest left of any coordinate.
    """

    q: Tensor
    log_density: Tensor
    log_evidence: Tensor
    temperatures: list[float]
    moves: list[int]
    acceptance: list[float]
    correlation: list[float]


Report = Callable[[float], None]


def annealed(
    prior: Density, joint: Density, q: Tensor, kernel: Kernel, *, share: float, limit: int, report: Report
) -> Annealed:
    """Particles q [P, N, dim], exact draws of the prior, carried to the joint density.

    Parameters:
        prior, joint: the log densities, both with all their constants.
        share: what the weights of a step must be worth of the particles, between 0 and 1.
        limit: moves at one temperature, at most.
        report: called with every temperature reached.
    """
    log_evidence = q.new_zeros(len(q))
    path = Annealed(q, q[..., 0], log_evidence, [], [], [], [])
    beta, chains = 0.0, None
    while beta < 1:
        log_likelihood = Tempered(prior, joint, beta).log_likelihood(q.flatten(0, 1)).view(q.shape[:2])
        check_reached(log_likelihood, beta)
        after = next_temperature(log_likelihood, beta, share)
        gained = (after - beta) * log_likelihood
        log_evidence = log_evidence + gained.logsumexp(1) - math.log(q.shape[1])
        kept = systematic(gained.softmax(1), torch.rand_like(gained[:, :1]))
        q = q.gather(1, kept[..., None].expand_as(q))
        beta = after
        chains, moves, acceptance, correlation = moved(kernel, Tempered(prior, joint, beta), q, limit)
        q = chains.q.view_as(q)
        path.temperatures.append(beta)
        path.moves.append(moves)
        path.acceptance.append(acceptance)
        path.correlation.append(correlation)
        report(beta)
    assert chains is not None
    return Annealed(q, chains.log_density.view(q.shape[:2]), log_evidence, *_found(path))


def _found(path: Annealed) -> tuple[list[float], list[int], list[float], list[float]]:
    return path.temperatures, path.moves, path.acceptance, path.correlation


def check_reached(log_likelihood: Tensor, beta: float) -> None:
    """Refuse populations without one particle that the data could have come from."""
    lost = int((log_likelihood.amax(1) == -math.inf).sum())
    if lost:
        raise ValueError(
            f"in {lost} of {len(log_likelihood)} populations no particle at temperature {beta:.3g} has a finite "
            f"likelihood: the prior hardly reaches the data, or the likelihood is NaN; more particles= may find some"
        )


def conditional_ess(log_likelihood: Tensor, step: float) -> Tensor:
    """What particles [P, N] are worth after a step, as a share of those possible at all: (sum w)^2 / sum w^2 [P]."""
    possible = (log_likelihood > -math.inf).sum(1)
    w = step * log_likelihood
    return (2 * w.logsumexp(1) - (2 * w).logsumexp(1)).exp() / possible


def next_temperature(log_likelihood: Tensor, beta: float, share: float) -> float:
    """The beta, at most 1, up to which the weights of particles [P, N] are worth `share` of them, by bisection."""
    if float(conditional_ess(log_likelihood, 1 - beta).mean()) >= share:
        return 1.0
    low, high = 0.0, 1 - beta
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(conditional_ess(log_likelihood, middle).mean()) >= share:
            low = middle
        else:
            high = middle
    return min(1.0, max(beta + low, math.nextafter(beta, 1.0)))


def moved(kernel: Kernel, density: Tempered, q: Tensor, limit: int) -> tuple[Chains, int, float, float]:
    """The particles after as many steps as it takes to forget q: (chains, steps, acceptance, largest correlation)."""
    before = q.flatten(0, 1)
    chains = kernel.begin(density, before)
    if chains.q is not before:  # it has climbed to where the mass is, which particles may not: they have their weights
        chains = Chains.of(density, before)
    left: list[float] = [1.0]
    accepted: list[float] = []
    while len(accepted) < limit:
        chains, stats = kernel.step(chains, min(0.9, len(accepted) / limit))
        accepted.append(float(stats["acceptance_rate"].mean()) if "acceptance_rate" in stats else math.nan)
        left.append(float(correlation(before, chains.q).abs().max()))
        stuck = len(left) > PATIENCE and left[-1] > 0.98 * left[-1 - PATIENCE]
        if left[-1] < FORGOTTEN or stuck:
            break
    return chains, len(accepted), sum(accepted) / len(accepted), left[-1]


def correlation(before: Tensor, after: Tensor) -> Tensor:
    """Of each coordinate of rows [C, dim] with itself, [dim]."""
    a, b = before - before.mean(0), after - after.mean(0)
    scale = (a.square().sum(0) * b.square().sum(0)).sqrt()
    return (a * b).sum(0) / scale.clamp(min=1e-300)
