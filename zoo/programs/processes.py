"""Regression by a Gaussian process."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor


def gaussian_process(x: Tensor, y: Tensor) -> None:
    """y: [N] at the places x: [N]; the function is summed out, sigma is the noise's variance.

    rho ~ Gamma(25, 4), alpha ~ half-N(0, 2), sigma ~ half-N(0, 1), y ~ N(0, K),
    K_ij = alpha^2 exp(-(x_i - x_j)^2 / (2 rho^2)) + sigma [i = j].
    """
    rho = pyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = pyro.sample("alpha", dist.HalfNormal(2.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    apart = (x[:, None] - x).square()
    covariance = alpha.square() * (-apart / (2 * rho.square())).exp() + sigma * x.new_ones(len(x)).diag()
    pyro.sample("y", dist.MultivariateNormal(x.new_zeros(len(x)), covariance), obs=y)
