"""Linear regressions: two simple ones, and one whose prior lets few coefficients be large."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor


def kidscore_momiq(mom_iq: Tensor, kid_score: Tensor) -> None:
    """A child's test score by its mother's IQ, both [N] (Gelman and Hill, 2007, section 3.1).

    beta flat, sigma ~ half-Cauchy(2.5), kid_score ~ N(beta_1 + beta_2 mom_iq, sigma).
    """
    # masked, the prior is flat; its scale is only where chains may start
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1).mask(False))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("row", len(kid_score)):
        pyro.sample("kid_score", dist.Normal(beta[0] + beta[1] * mom_iq, sigma), obs=kid_score)


def linear_regression(X: Tensor, y: Tensor) -> None:
    """X: [N, D], y: [N]. beta_d ~ N(0, 10), sigma ~ half-N(0, 10), y ~ N(X beta, sigma)."""
    with pyro.plate("column", X.shape[1]):
        beta = pyro.sample("beta", dist.Normal(0.0, 10.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(10.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(X @ beta, sigma), obs=y)


def horseshoe_regression(X: Tensor, y: Tensor, relevant: float = 3.0) -> None:
    """Regression by the regularised horseshoe, non-centred; X: [N, D] and y: [N], both standardised.

    beta_d = z_d tau l_d, l_d^2 = c^2 lambda_d^2 / (c^2 + tau^2 lambda_d^2): coefficients are shrunk to nothing but for
    a few, and these by a Student-t of 4 degrees of freedom and scale 2, as c^2 ~ inverse Gamma(2, 8).
    z_d ~ N(0, 1), lambda_d ~ half-Cauchy(1), tau ~ half-Cauchy(s), s = relevant / (D - relevant) sigma / sqrt(N).

    Parameters:
        relevant: how many coefficients are expected to be far from zero.

    References:
        Sparsity information and regularization in the horseshoe and other shrinkage priors (Piironen and Vehtari,
        2017), https://arxiv.org/abs/1707.01694
    """
    rows, columns = X.shape
    alpha = pyro.sample("alpha", dist.Normal(0.0, 2.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    tau = pyro.sample("tau", dist.HalfCauchy(relevant / (columns - relevant) / rows**0.5)) * sigma
    slab = pyro.sample("slab", dist.InverseGamma(2.0, 8.0))
    with pyro.plate("column", columns):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        local = pyro.sample("lambda", dist.HalfCauchy(1.0))
        scale = tau * local * (slab / (slab + (tau * local) ** 2)).sqrt()
        beta = pyro.deterministic("beta", z * scale)
    with pyro.plate("row", rows):
        pyro.sample("y", dist.Normal(alpha + X @ beta, sigma), obs=y)
