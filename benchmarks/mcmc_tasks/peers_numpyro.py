"""The eight posteriors in NumPyro, in float64: the same sites, priors and data as `zoo.programs`, by name."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.distributions import constraints

jax.config.update("jax_enable_x64", True)


def eight_schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", len(y)):
        eta = numpyro.sample("eta", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * eta)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def kidscore_momiq(mom_iq, kid_score):
    beta = numpyro.sample("beta", dist.ImproperUniform(constraints.real_vector, (), (2,)))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("row", len(kid_score)):
        numpyro.sample("kid_score", dist.Normal(beta[0] + beta[1] * mom_iq, sigma), obs=kid_score)


def linear_regression(X, y):
    with numpyro.plate("column", X.shape[1]):
        beta = numpyro.sample("beta", dist.Normal(0, 10))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(X @ beta, sigma), obs=y)


def autoregression(y, before):
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    with numpyro.plate("lag", before.shape[1]):
        beta = numpyro.sample("beta", dist.Normal(0, 10))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("time", len(y)):
        numpyro.sample("y", dist.Normal(alpha + before @ beta, sigma), obs=y)


def garch11(y, before, first):
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    alpha0 = numpyro.sample("alpha0", dist.ImproperUniform(constraints.positive, (), ()))
    shares = numpyro.sample("shares", dist.Dirichlet(jnp.ones(3)))
    alpha1 = numpyro.deterministic("alpha1", shares[0])
    beta1 = numpyro.deterministic("beta1", shares[1])

    def day(variance, yesterday):
        variance = alpha0 + alpha1 * (yesterday - mu) ** 2 + beta1 * variance
        return variance, variance

    _, later = jax.lax.scan(day, first**2, before)
    with numpyro.plate("time", len(y)):
        numpyro.sample("y", dist.Normal(mu, jnp.sqrt(jnp.append(first**2, later))), obs=y)


def gaussian_mixture(y):
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    numpyro.factor("prior of mu", dist.Normal(0, 2).log_prob(mu).sum())
    with numpyro.plate("component", 2):
        sigma = numpyro.sample("sigma", dist.HalfNormal(2))
    theta = numpyro.sample("theta", dist.Beta(5, 5))
    which = dist.Categorical(jnp.stack([theta, 1 - theta]))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.MixtureSameFamily(which, dist.Normal(mu, sigma)), obs=y)


def hidden_markov(y):
    theta1 = numpyro.sample("theta1", dist.Dirichlet(jnp.ones(2)))
    theta2 = numpyro.sample("theta2", dist.Dirichlet(jnp.ones(2)))
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.positive_ordered_vector, (), (2,)))
    numpyro.factor("prior of mu", dist.Normal(jnp.array([3.0, 10.0]), 1).log_prob(mu).sum())
    moves = jnp.log(jnp.stack([theta1, theta2]))
    seen = dist.Normal(mu, 1).log_prob(y[:, None])

    def step(log_alpha, now):
        return logsumexp(log_alpha[:, None] + moves, 0) + now, None

    last, _ = jax.lax.scan(step, seen[0], seen[1:])
    numpyro.factor("y", logsumexp(last))


def gaussian_process(x, y):
    rho = numpyro.sample("rho", dist.Gamma(25, 4))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    covariance = alpha**2 * jnp.exp(-((x[:, None] - x) ** 2) / (2 * rho**2)) + sigma * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)


MODELS = {
    "eight_schools": eight_schools,
    "kidscore_momiq": kidscore_momiq,
    "autoregression": autoregression,
    "garch11": garch11,
    "gaussian_mixture": gaussian_mixture,
    "hidden_markov": hidden_markov,
    "linear_regression": linear_regression,
    "gaussian_process": gaussian_process,
}
CONSTANTS = {
    "gaussian_mixture": math.log(2),
    "hidden_markov": -math.log(2) - math.log(0.99865),
}
"""What the log density of `zoo.programs` has beside: the shares of the orders, and the first state's."""
