"""Four of the posteriors in PyMC, for nutpie: the same sites, priors and data as `zoo.programs`, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm


def eight_schools(y: np.ndarray, sigma: np.ndarray) -> None:
    mu = pm.Normal("mu", 0, 5)
    tau = pm.HalfCauchy("tau", 5)
    eta = pm.Normal("eta", 0, 1, shape=len(y))
    pm.Normal("y", mu + tau * eta, sigma, observed=y)


def kidscore_momiq(mom_iq: np.ndarray, kid_score: np.ndarray) -> None:
    beta = pm.Flat("beta", shape=2)
    sigma = pm.HalfCauchy("sigma", 2.5)
    pm.Normal("kid_score", beta[0] + beta[1] * mom_iq, sigma, observed=kid_score)


def linear_regression(X: np.ndarray, y: np.ndarray) -> None:
    beta = pm.Normal("beta", 0, 10, shape=X.shape[1])
    sigma = pm.HalfNormal("sigma", 10)
    pm.Normal("y", pm.math.dot(X, beta), sigma, observed=y)


def autoregression(y: np.ndarray, before: np.ndarray) -> None:
    alpha = pm.Normal("alpha", 0, 10)
    beta = pm.Normal("beta", 0, 10, shape=before.shape[1])
    sigma = pm.HalfCauchy("sigma", 2.5)
    pm.Normal("y", alpha + pm.math.dot(before, beta), sigma, observed=y)


MODELS: dict[str, Callable[..., Any]] = {
    "eight_schools": eight_schools,
    "kidscore_momiq": kidscore_momiq,
    "autoregression": autoregression,
    "linear_regression": linear_regression,
}
