"""Logistic regression of 100,000 rows and 100 coefficients, by chains on all rows and by a guide on minibatches.

The data are drawn from the prior, so that intervals must hold the coefficients they were made with as often as they
claim to. With so many rows the posterior is nearly a normal about its mode, which Newton's method finds; its mean lies
0.09 sd beside the mode, as the third derivatives say. Together they are the reference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from benchmarks.common import Row
from inference.mcmc import mcmc
from inference.posterior import Posterior
from inference.sampling.stopping import Ess
from inference.variational import variational

ROWS, COLUMNS = 100_000, 100
DRAWS = Ess(2000)
"""Of 100 means known by 1,000 effective draws the worst is expected 0.09 sd off: too near to the goal of 0.1."""
BATCH, STEPS = 1_000, 4_000
LEVEL = 0.9


def logistic_regression(X: Tensor, y: Tensor) -> None:
    with pyro.plate("column", X.shape[1]):
        beta = pyro.sample("beta", dist.Normal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=X @ beta), obs=y)


def drawn(rows: int, columns: int, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """The data, and the coefficients [columns] they were made with; logits have a standard deviation of about 2."""
    torch.manual_seed(seed)
    beta = torch.randn(columns, dtype=torch.float64)
    X = torch.randn(rows, columns, dtype=torch.float64) * 2 / math.sqrt(columns)
    return {"X": X, "y": torch.bernoulli((X @ beta).sigmoid())}, beta


def moments(X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The means and standard deviations of the posterior, [columns] each, up to some (columns / rows) of an sd."""
    beta, prior = torch.zeros(X.shape[1], dtype=X.dtype), torch.eye(X.shape[1], dtype=X.dtype)
    for _ in range(20):
        p = (X @ beta).sigmoid()
        curvature = (X * (p * (1 - p))[:, None]).T @ X + prior
        beta = beta + torch.linalg.solve(curvature, X.T @ (y - p) - beta)
    p, covariance = (X @ beta).sigmoid(), torch.linalg.inv(curvature)
    third = p * (1 - p) * (1 - 2 * p) * ((X @ covariance) * X).sum(1)
    return beta - covariance @ (X.T @ third) / 2, covariance.diagonal().sqrt()


def by_chains(given: dict[str, Tensor]) -> Posterior:
    return mcmc(logistic_regression, given, until=DRAWS, progress=False)


def by_guide(given: dict[str, Tensor]) -> Posterior:
    return variational(logistic_regression, given, batch_size=BATCH, steps=STEPS, starts=1, progress=False)


def rows(rounds: int) -> list[Row]:
    given, truth = drawn(ROWS, COLUMNS)
    mean, sd = moments(**given)
    ways: dict[str, Callable[[dict[str, Tensor]], Posterior]] = {"mcmc": by_chains, "guide": by_guide}
    return [row for name, way in ways.items() for row in calibrated(name, way, given, truth, mean, sd)]


def calibrated(
    name: str,
    way: Callable[[dict[str, Tensor]], Posterior],
    given: dict[str, Tensor],
    truth: Tensor,
    mean: Tensor,
    sd: Tensor,
) -> list[Row]:
    begun = time.process_time()
    draws = way(given)["beta"].flatten(0, 1)
    told = f"{time.process_time() - begun:.0f} CPU s"
    low, high = draws.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=draws.dtype), 0)
    held = ((low < truth) & (truth < high)).double().mean()
    off = ((draws.mean(0) - mean) / sd).abs().max()
    wide = (draws.std(0) / sd - 1).abs().max()
    chance = 2 * math.sqrt(LEVEL * (1 - LEVEL) / len(truth))
    return [
        Row(f"logistic_{name}_worst_mean_in_sds", float(off), 0.1, "lower", told),
        Row(f"logistic_{name}_worst_sd", float(wide), 0.1, "lower", told),
        Row(f"logistic_{name}_coverage_off_{LEVEL}", float((held - LEVEL).abs()), chance, "lower", told),
    ]
