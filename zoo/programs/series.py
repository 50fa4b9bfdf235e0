"""Time series: an autoregression and changing volatility.

What a step depends on is an argument of its own, `before`: drawn anew, each y is a prediction one step ahead.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F


def autoregression(y: Tensor, before: Tensor) -> None:
    """y: [T]; before: [T, K], the K values before each, the latest first.

    alpha, beta_k ~ N(0, 10), sigma ~ half-Cauchy(2.5), y_t ~ N(alpha + sum_k beta_k y_(t-k), sigma).
    """
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    with pyro.plate("lag", before.shape[1]):
        beta = pyro.sample("beta", dist.Normal(0.0, 10.0))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(alpha + before @ beta, sigma), obs=y)


def garch11(y: Tensor, before: Tensor, first: Tensor) -> None:
    """Returns y: [T] whose volatility follows their size; before: [T - 1], all but the last; first: [], sigma_1.

    sigma_t^2 = alpha0 + alpha1 (y_(t-1) - mu)^2 + beta1 sigma_(t-1)^2, y_t ~ N(mu, sigma_t); flat over mu, alpha0 > 0
    and alpha1, beta1 > 0 with alpha1 + beta1 < 1.

    References:
        Generalized autoregressive conditional heteroskedasticity (Bollerslev, 1986)
    """
    # masked, the priors are flat; their scales are only where chains may start
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0).mask(False))
    alpha0 = pyro.sample("alpha0", dist.HalfNormal(1.0).mask(False))
    shares = pyro.sample("shares", dist.Dirichlet(y.new_ones(3)))  # of the last return, of its volatility, of neither
    alpha1 = pyro.deterministic("alpha1", shares[0])
    beta1 = pyro.deterministic("beta1", shares[1])
    news = alpha0 + alpha1 * (before - mu).square()
    variance = decayed(torch.cat([first.square()[None], news]), beta1)
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(mu, variance.sqrt()), obs=y)


def decayed(x: Tensor, rate: Tensor) -> Tensor:
    """v_t = x_t + rate v_(t-1), v_1 = x_1, of x: [T], in log2 T passes: each doubles how far back its sums reach."""
    reach = 1
    while reach < len(x):
        x = x + rate * F.pad(x[:-reach], (reach, 0))
        rate, reach = rate.square(), 2 * reach
    return x
