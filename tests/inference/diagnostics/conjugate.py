"""Programs whose posteriors are known, with exact draws of them."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.program import Program


def normal(y: Tensor, prior: Tensor, sd: Tensor) -> None:
    """y_i ~ Normal(mu, sd), mu ~ Normal(0, prior)."""
    mu = pyro.sample("mu", dist.Normal(torch.zeros(()), prior))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mu, sd), obs=y)


def data_of(n: int = 20, mean: float = 1.0, sd: float = 1.0, seed: int = 0) -> Tensor:
    noise = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean + sd * noise


def exact(
    y: Tensor, prior: float, sd: float, prior_power: float = 1.0, likelihood_power: float = 1.0
) -> tuple[float, float]:
    """Mean and sd of mu given y, the prior and the likelihood each to a power."""
    precision = prior_power / prior**2 + likelihood_power * len(y) / sd**2
    return float(likelihood_power * y.sum() / sd**2 / precision), precision**-0.5


def posterior_of(
    y: Tensor, prior: float = 3.0, sd: float = 1.0, chains: int = 4, draws: int = 1000, seed: int = 0
) -> Posterior:
    """Exact draws of the normal program's posterior."""
    program = Program.of(normal, {"y": y, "prior": prior, "sd": sd})
    mean, width = exact(y, prior, sd)
    noise = torch.randn(chains, draws, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Posterior("normal", program, {"mu": mean + width * noise}, method="exact draws")


def left_out(y: Tensor, prior: float, sd: float) -> Tensor:
    """log p(y_i | all others) of the normal program, exactly: [N]."""
    values = []
    for i in range(len(y)):
        mean, width = exact(torch.cat([y[:i], y[i + 1 :]]), prior, sd)
        values.append(torch.distributions.Normal(mean, math.hypot(width, sd)).log_prob(y[i]))
    return torch.stack(values)
