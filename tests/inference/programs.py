"""Small Pyro programs whose densities are known: what the tests of chains and densities are held to."""

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import constraints

SCHOOLS = {
    "y": [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
    "sigma": [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
}


def schools(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * raw)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def correlated(y):
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0).expand([3]).to_event(1))
    factor = pyro.sample("factor", dist.LKJCholesky(3, 2.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(3), scale_tril=scale[:, None] * factor), obs=y)


def counts(group, y):
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    with pyro.plate("group", 4):
        rate = pyro.sample("rate", dist.Normal(1.0, scale))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Poisson(rate[group].exp()), obs=y)


def mixture(y):
    weights = pyro.sample("weights", dist.Dirichlet(torch.tensor([2.0, 1.0, 3.0])))
    with pyro.plate("component", 3):
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(y)):
        which = pyro.sample("which", dist.Categorical(weights))
        pyro.sample("y", dist.Normal(mean[which], 1.0), obs=y)


def markov(y):
    rows = pyro.sample("rows", dist.Dirichlet(torch.tensor([[3.0, 1.0], [1.0, 2.0]])).to_event(1))
    mean = pyro.sample("mean", dist.Normal(torch.tensor([0.0, 4.0]), 1.0).to_event(1))
    state = 0
    for t in pyro.markov(range(len(y))):
        state = pyro.sample(f"state_{t}", dist.Categorical(rows[state]))
        pyro.sample(f"y_{t}", dist.Normal(mean[state], 1.0), obs=y[t])


def hidden(y):
    rows = pyro.sample("rows", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
    mean = pyro.sample("mean", dist.Normal(torch.tensor([0.0, 4.0]), 1.0).to_event(1))
    emission = dist.Normal(mean, 1.0)
    pyro.sample("y", dist.DiscreteHMM(torch.zeros(2), rows.log(), emission), obs=y)


def bounded(y):
    """Garch's supports: the second share is bounded by what the first leaves."""
    level = pyro.sample("level", dist.ImproperUniform(constraints.positive, (), ()))
    first = pyro.sample("first", dist.Uniform(0.0, 1.0))
    second = pyro.sample("second", dist.Uniform(0.0, 1.0 - first))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(first - second, level), obs=y)
