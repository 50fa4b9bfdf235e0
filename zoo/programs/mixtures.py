"""A mixture of two Gaussians, told apart by their order."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.programs.restricted import Restricted


def gaussian_mixture(y: Tensor) -> None:
    """y: [N] from two Gaussians; which one a row came from is summed out.

    mu_k ~ N(0, 2) with mu_1 < mu_2, sigma_k ~ half-N(0, 2), theta ~ Beta(5, 5),
    y ~ theta N(mu_1, sigma_1) + (1 - theta) N(mu_2, sigma_2).
    """
    means = dist.Normal(0.0, 2.0).expand([2]).to_event(1)
    mu = pyro.sample("mu", Restricted(means, dist.constraints.ordered_vector, share=0.5))
    with pyro.plate("component", 2):
        sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    theta = pyro.sample("theta", dist.Beta(5.0, 5.0))
    which = dist.Categorical(torch.stack([theta, 1 - theta]))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.MixtureSameFamily(which, dist.Normal(mu, sigma)), obs=y)
