"""Random-walk Metropolis whose steps have the shape of the target, learned over all chains: for want of gradients.

References:
    An Adaptive Metropolis Algorithm (Haario, Saksman and Tamminen, 2001), https://doi.org/10.2307/3318737
    A Tutorial on Adaptive MCMC (Andrieu and Thoms, 2008), https://doi.org/10.1007/s11222-008-9110-y, algorithm 4
    Optimal Scaling for Various Metropolis-Hastings Algorithms (Roberts and Rosenthal, 2001),
    https://doi.org/10.1214/ss/1015346320
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel

FADING = 0.6
"""Step t of the warm-up has the weight t^-0.6: it outweighs what came before, and yet the sum settles."""


def metropolis(chains: Chains, proposed: Chains, log_ratio: Tensor | float = 0.0) -> tuple[Chains, Tensor]:
    """The chains after accepting or not, and the probability of it [C]; a density that is NaN is never accepted.

    `log_ratio` [C] is the log of the proposal's density backwards over forwards, with any Jacobian.
    """
    gain = proposed.log_density - chains.log_density + log_ratio
    gain = gain.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    moves = torch.rand_like(gain).log() < gain
    return chains.where(moves, proposed), gain.clamp(max=0).exp()


def wanted(dim: int) -> float:
    """The share of proposals accepted where a random walk is fastest: 0.44 in one dimension, 0.234 in many."""
    return 0.234 + 0.206 / dim


def root_of(covariance: Tensor) -> Tensor:
    """A Cholesky factor of a covariance [dim, dim] that may be singular by rounding."""
    spread = covariance.diagonal()
    floor = 1e-9 * spread.clamp(min=1e-9 * spread.max().clamp(min=1e-30))
    root, failed = torch.linalg.cholesky_ex(covariance + floor.diag())
    return spread.clamp(min=1e-30).sqrt().diag() if bool(failed) else root


class RandomWalk(Kernel):
    """q' = q + s L e with e standard normal and L L' the covariance of the target, accepted with min(1, p(q') / p(q)).

    L and the scale s are learned in the warm-up: the covariance over all chains and steps, later ones weighing more,
    and s so that the share of accepted proposals is the best known for the dimension. Asks for no gradients.
    """

    name = "random-walk Metropolis"

    def begin(self, density: Density, q: Tensor) -> Chains:
        chains, dim = q.shape
        self.density = density
        self.mean = q.mean(0)
        known = chains > 2 * dim
        self.covariance = q.T.cov().reshape(dim, dim) if known else torch.eye(dim, dtype=q.dtype, device=q.device)
        self.root = root_of(self.covariance)
        self.log_scale = math.log(2.38 / math.sqrt(dim))
        self.steps = 0
        return Chains.without_slope(density, q)

    def warmup_for(self, dim: int) -> int:
        return 1000

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        scale = math.exp(self.log_scale)
        q = chains.q + scale * torch.randn_like(chains.q) @ self.root.T
        chains, accepted = metropolis(chains, Chains.without_slope(self.density, q))
        stats = {"lp": chains.log_density, "acceptance_rate": accepted, "step_size": torch.full_like(accepted, scale)}
        if warmup is not None:
            self._learn(chains.q, float(accepted.mean()))
        return chains, stats

    def wanted(self, dim: int) -> float:
        """The share of proposals to be accepted."""
        return wanted(dim)

    def _learn(self, q: Tensor, accepted: float) -> None:
        self.steps += 1
        rate = (self.steps + 1) ** -FADING
        self.log_scale += rate * (accepted - self.wanted(q.shape[1]))
        off = q - self.mean
        self.mean = self.mean + rate * off.mean(0)
        self.covariance = self.covariance + rate * (off.T @ off / len(q) - self.covariance)
        self.root = root_of(self.covariance)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("mean", "covariance", "root", "log_scale", "steps")}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density = density
        for name, value in state.items():
            setattr(self, name, value)
