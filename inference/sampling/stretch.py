"""Ensembles: chains that take the scale and the direction of their steps from one another, without gradients.

Half of the chains move at a time, by what the other half knows: given the others, each move keeps the target. The moves
are the same in any coordinates that a linear map makes, so nothing is tuned. The chains of an ensemble depend on each
other a little, though each visits the target.

References:
    Ensemble Samplers with Affine Invariance (Goodman and Weare, 2010), https://doi.org/10.2140/camcos.2010.5.65
    emcee: The MCMC Hammer (Foreman-Mackey et al., 2013), https://arxiv.org/abs/1202.3665
    A Markov Chain Monte Carlo Version of the Genetic Algorithm Differential Evolution (ter Braak, 2006),
    https://doi.org/10.1007/s11222-006-8769-1
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel
from inference.sampling.random_walk import metropolis


class Ensemble(Kernel):
    """Chains in two halves, drawn anew at each step: each half moves by where the other stands."""

    def chains_for(self, dim: int) -> int:
        return max(64, 4 * dim)

    def fewest_for(self, dim: int) -> int:
        return 4 * dim

    def warmup_for(self, dim: int) -> int:
        return 1000

    def begin(self, density: Density, q: Tensor) -> Chains:
        chains, dim = q.shape
        if chains % 2 or chains < 2 * (dim + 1):
            raise ValueError(
                f"{self.name} moves one half of its chains by the other, which has to span the space: in {dim} "
                f"dimensions chains= must be even and at least {2 * (dim + 1)}, not {chains}"
            )
        self.density = density
        return Chains.without_slope(density, q)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        order = torch.randperm(len(chains.q), device=chains.q.device)
        one, other = order.chunk(2)
        accepted = torch.empty_like(chains.log_density)
        for moving, standing in ((one, other), (other, one)):
            part = Chains(chains.q[moving], chains.log_density[moving])
            q, log_ratio = self.propose(part.q, chains.q[standing])
            part, accepted[moving] = metropolis(part, Chains.without_slope(self.density, q), log_ratio)
            chains = Chains(
                chains.q.index_copy(0, moving, part.q), chains.log_density.index_copy(0, moving, part.log_density)
            )
        return chains, {"lp": chains.log_density, "acceptance_rate": accepted}

    @abstractmethod
    def propose(self, moving: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
        """Where each of `moving` [H, dim] might go, seen from `standing` [H, dim], and `metropolis`'s log_ratio [H]."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density = density


class Stretch(Ensemble):
    """q' = x + z (q - x) for another chain x and z with density proportional to 1 / sqrt(z) on [1 / width, width].

    Accepted with min(1, z^(dim - 1) p(q') / p(q)). Good in few dimensions (under about 20), whatever their scales.
    """

    name = "stretch ensemble"

    def __init__(self, *, width: float = 2.0) -> None:
        if not width > 1:
            raise ValueError(f"width, the longest stretch, must be over 1, not {width}")
        self.width = width

    def propose(self, moving: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
        half, dim = moving.shape
        root = math.sqrt(self.width)
        z = (1 / root + (root - 1 / root) * torch.rand_like(moving[:, 0])).square()
        x = standing[torch.randint(half, (half,), device=moving.device)]
        return x + z[:, None] * (moving - x), (dim - 1) * z.log()


class DifferentialEvolution(Ensemble):
    """q' = q + g (x - y) + noise for two other chains x and y: g is 2.38 / sqrt(2 dim), and 1 in one step of ten.

    Steps of g = 1 lead from mode to mode, where x and y lie in different ones.
    """

    name = "differential evolution"

    def propose(self, moving: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
        half, dim = moving.shape
        x = torch.randint(half, (half,), device=moving.device)
        y = (x + torch.randint(1, half, (half,), device=moving.device)) % half
        away = standing[x] - standing[y]
        jumps = torch.rand_like(moving[:, :1]) < 0.1
        size = torch.where(jumps, 1.0, 2.38 / math.sqrt(2 * dim))
        noise = 1e-5 * standing.std(0) * torch.randn_like(moving)
        return moving + size * away + noise, torch.zeros_like(moving[:, 0])
