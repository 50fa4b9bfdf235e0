"""Metropolis by proposals that do not look at where the chain is: for few dimensions and a shape that is near a bell's.

References:
    Markov Chains for Exploring Posterior Distributions (Tierney, 1994), https://doi.org/10.1214/aos/1176325750
    Rates of Convergence of the Hastings and Metropolis Algorithms (Mengersen and Tweedie, 1996),
    https://doi.org/10.1214/aos/1033066201
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel
from inference.sampling.random_walk import FADING, metropolis, root_of

FREEDOM = 6.0
"""Of Student's t, whose tails are heavier than a posterior's mostly are: no chain then waits long in one."""
WIDER = 1.1
"""How much wider than the target the proposals are."""


class Independent(Kernel):
    """q' = m + L e, e of a Student's t, accepted with min(1, w(q') / w(q)), w = p / its density.

    m and L L' are learned in the warm-up, over all chains and steps, later ones weighing more. One density a step and
    no gradients; draws are worth nearly independent ones where the target is near a Gaussian in unconstrained space,
    and few where it is not, which r-hat and the acceptance rate tell. Best begun at draws of a `laplace` or a
    `pathfinder`: `mcmc(..., kernel=Independent(), start=laplace(...))`.
    """

    name = "independent Metropolis"

    def chains_for(self, dim: int) -> int:
        return 512

    def fewest_for(self, dim: int) -> int:
        return 4 * dim

    def warmup_for(self, dim: int) -> int:
        return 20

    def begin(self, density: Density, q: Tensor) -> Chains:
        chains, dim = q.shape
        if chains <= 2 * dim:
            raise ValueError(f"{self.name} learns from many chains at once: in {dim} dimensions more than {2 * dim}")
        self.density = density
        self.mean, self.covariance, self.steps = q.mean(0), q.T.cov().reshape(dim, dim), 0
        self.root = root_of(self.covariance)
        return Chains.without_slope(density, q)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        e = torch.randn_like(chains.q) * self._stretch(chains.q)
        proposed = Chains.without_slope(self.density, self.mean + WIDER * e @ self.root.T)
        log_ratio = self._log_density(chains.q) - self._log_density(proposed.q)
        chains, accepted = metropolis(chains, proposed, log_ratio)
        if warmup is not None:
            self._learn(chains.q)
        return chains, {"lp": chains.log_density, "acceptance_rate": accepted}

    def _stretch(self, q: Tensor) -> Tensor:
        """[C, 1], what makes Student's t of a Gaussian."""
        chi = torch._standard_gamma(torch.full_like(q[:, :1], FREEDOM / 2)) * 2
        return (FREEDOM / chi).sqrt()

    def _log_density(self, q: Tensor) -> Tensor:
        """Of the proposal, up to a constant."""
        e = torch.linalg.solve_triangular(self.root, (q - self.mean).T, upper=False) / WIDER
        return -0.5 * (FREEDOM + q.shape[1]) * (e.square().sum(0) / FREEDOM).log1p()

    def _learn(self, q: Tensor) -> None:
        self.steps += 1
        rate = (self.steps + 1) ** -FADING
        off = q - self.mean
        self.mean = self.mean + rate * off.mean(0)
        self.covariance = self.covariance + rate * (off.T @ off / len(q) - self.covariance)
        self.root = root_of(self.covariance)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("mean", "covariance", "root", "steps")}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density = density
        for name, value in state.items():
            setattr(self, name, value)
