"""Hamiltonian Monte Carlo for a cloud of chains that covers its target: they give one another the metric.

References:
    MCMC using Hamiltonian dynamics (Neal, 2011), https://arxiv.org/abs/1206.1901
    Adaptive Tuning of Hamiltonian Monte Carlo within Sequential Monte Carlo (Buchholz, Chopin and Jacob, 2021),
    https://arxiv.org/abs/1808.07730
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inference.sampling.adaptation import Dense
from inference.sampling.kernel import Chains, Density, Kernel
from inference.sampling.random_walk import metropolis

PATH = math.pi / 2
"""Of a Gaussian in its own units, a quarter of the way round: where nothing is left of the start."""
WANTED = 0.8
"""The mean share of proposals accepted that the step size is set for."""
LONGEST = 64
"""Leapfrog steps of a path, at most."""


class Hmc(Kernel):
    """Paths of a quarter turn of a Gaussian, in units of a metric that is learnt from where all chains begin.

    These should be many and stand where the target has its mass, as particles do. Each chain's steps are of a length
    drawn from 0.8 to 1.2 times the step size, which is adapted to the share accepted. It is kept when the kernel begins
    anew, on a density that is near the last.
    """

    name = "preconditioned HMC"

    def __init__(self) -> None:
        self.metric = Dense()
        self.log_step: float | None = None

    def begin(self, density: Density, q: Tensor) -> Chains:
        self.density, self.steps = density, 0
        found = Chains.of(density, q)
        assert found.slope is not None
        known = found.slope.isfinite().all(1)
        q, slope = q[known], found.slope[known]
        self.metric.begin(q)
        self.metric.learn(q - q.mean(0), slope - slope.mean(0), memory=0)
        self.metric.refresh()
        if self.log_step is None:
            self.log_step = -0.25 * math.log(found.q.shape[1])
        return found

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        assert self.log_step is not None and chains.slope is not None
        size = math.exp(self.log_step)
        sizes = size * (0.8 + 0.4 * torch.rand_like(chains.q[:, :1]))
        leapfrogs = max(1, min(LONGEST, round(PATH / size)))
        r = torch.randn_like(chains.q)
        proposed, end = self._path(chains, r, sizes, leapfrogs)
        kinetic = 0.5 * (r.square().sum(1) - end.square().sum(1))
        chains, accepted = metropolis(chains, proposed, kinetic)
        if warmup is not None:
            self.steps += 1
            self.log_step += (float(accepted.mean()) - WANTED) / math.sqrt(self.steps)
        fixed = {"step_size": size, "n_steps": leapfrogs}
        stats = {name: torch.full_like(accepted, value) for name, value in fixed.items()}
        return chains, {"lp": chains.log_density, "acceptance_rate": accepted, **stats}

    def _path(self, chains: Chains, r: Tensor, sizes: Tensor, leapfrogs: int) -> tuple[Chains, Tensor]:
        """Where the paths end, and with what momenta, by leapfrog steps of `sizes` [C, 1]."""
        at = chains
        rest = torch.zeros_like(r)
        for _ in range(leapfrogs):
            assert at.slope is not None
            r = r + 0.5 * sizes * self.metric.kick(rest, at.slope, 1.0)
            at = Chains.of(self.density, self.metric.drift(at.q, sizes * r, 1.0))
            assert at.slope is not None
            r = r + 0.5 * sizes * self.metric.kick(rest, at.slope, 1.0)
        return at, r

    def state_dict(self) -> dict[str, Any]:
        return {"log_step": self.log_step, "steps": self.steps, "metric": self.metric.state_dict()}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density, self.log_step, self.steps = density, state["log_step"], state["steps"]
        self.metric.load_state_dict(state["metric"])
