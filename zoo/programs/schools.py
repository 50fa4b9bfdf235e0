"""Eight schools: the effects of coaching in eight parallel experiments (Rubin, 1981)."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor


def eight_schools(y: Tensor, sigma: Tensor) -> None:
    """Effects theta_j = mu + tau eta_j, non-centred; y, sigma: [J], each school's estimate and its standard error.

    mu ~ N(0, 5), tau ~ half-Cauchy(5), eta_j ~ N(0, 1), y_j ~ N(theta_j, sigma_j).
    """
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * eta)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_centred(y: Tensor, sigma: Tensor) -> None:
    """The same posterior with theta_j ~ N(mu, tau) drawn itself: a funnel, which no one step size suits."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)
