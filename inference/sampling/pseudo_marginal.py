"""Metropolis on a density that is known by an unbiased estimate alone: exact, as chains keep the estimate they have.

The estimate is a part of where a chain stands: drawn with a proposal, and kept until another is accepted. The law of q
and estimate together is in proportion to the estimate times its own law, which sums to p(q): it is unbiased.

References:
    The Pseudo-Marginal Approach for Efficient Monte Carlo Computations (Andrieu and Roberts, 2009),
    https://doi.org/10.1214/07-AOS574
    Particle Markov Chain Monte Carlo Methods (Andrieu, Doucet and Holenstein, 2010),
    https://doi.org/10.1111/j.1467-9868.2009.00736.x
    On the Efficiency of Pseudo-Marginal Random Walk Metropolis Algorithms (Sherlock, Thiery, Roberts and Rosenthal,
    2015), https://doi.org/10.1214/14-AOS1278
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from inference.predictive_draws import prior_draws
from inference.program import Program
from inference.sampling.density import LogDensity
from inference.sampling.kernel import Chains, Density
from inference.sampling.prior import prior_of
from inference.sampling.random_walk import FADING, RandomWalk, wanted
from inference.sampling.starting import why
from inference.sampling.tempering import next_temperature

EVERY = 10
"""Steps of the warm-up from one look at the noise to the next."""
TRIED = 16
"""Draws of the prior for each chain, to begin from."""


class Estimated(LogDensity):
    """The density of a program whose likelihood is another estimate at each call: [C, dim] -> [C] nats."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.prior = prior_of(self)

    def __call__(self, q: Tensor) -> Tensor:
        with torch.no_grad():
            return self.of_all(q)  # and nothing is recorded: what particles do differs from call to call

    def start(self, chains: int, radius: float = 2.0) -> Tensor:
        """q [chains, dim]: draws of the prior by a power of their likelihood, so small that the draws stay spread."""
        with torch.no_grad():
            q = self.unconstrain(prior_draws(self.program, TRIED * chains), check=False)
        found = (self(q) - self.prior(q)).nan_to_num(nan=-math.inf, neginf=-math.inf, posinf=-math.inf)
        if not found.isfinite().any():
            raise ValueError(f"{self.program.name}: {why(self, q[0])}")
        power = next_temperature(found[None], 0.0, 1 / TRIED)
        return q[(power * found).softmax(0).multinomial(chains, replacement=True)]


class PseudoMarginal(RandomWalk):
    """`RandomWalk` on an estimated density; its step allows for the noise, which keeps chains where they are.

    With noise of variance v (nats squared) and a step that would be accepted with wanted(dim) without it, the share is
    2 Phi(-sqrt(2 v + z^2) / 2), z = -2 Phi^-1(wanted(dim) / 2), times that of estimates that are not zero: to this the
    step is adapted, v being measured on the way by pairs of estimates. They also take the place of those that chains
    have: in the warm-up none stays for a lucky one.
    """

    name = "particle marginal Metropolis-Hastings"

    def begin(self, density: Density, q: Tensor) -> Chains:
        self.noise, self.possible = 1.0, 1.0
        return super().begin(density, q)

    def warmup_for(self, dim: int) -> int:
        return 150 + 50 * dim

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        if warmup is not None and self.steps % EVERY == 0:
            one, other = (self.density(chains.q) for _ in range(2))
            rate = (self.steps // EVERY + 1) ** -FADING
            noise, possible = noise_of(torch.stack([one, other]))
            self.noise += rate * (noise - self.noise)
            self.possible += rate * (possible - self.possible)
            chains = Chains(chains.q, torch.where(one.isfinite(), one, chains.log_density))
        return super().step(chains, warmup)

    def wanted(self, dim: int) -> float:
        normal = NormalDist()
        z = 2 * normal.inv_cdf(wanted(dim) / 2)
        return self.possible * 2 * normal.cdf(-math.sqrt(2 * self.noise + z * z) / 2)

    def state_dict(self) -> dict[str, object]:
        return {**super().state_dict(), "noise": self.noise, "possible": self.possible}


def noise_of(estimates: Tensor) -> tuple[float, float]:
    """Of estimates [R, C], R at each of C places: their variance where they are finite, and the share that are."""
    finite = estimates.isfinite()
    count = finite.sum(0)
    mean = torch.where(finite, estimates, 0.0).sum(0) / count.clamp(min=1)
    squares = torch.where(finite, estimates - mean, 0.0).square().sum(0)
    return float(squares.sum() / (count - 1).clamp(min=0).sum().clamp(min=1)), float(finite.double().mean())
