"""Elliptical slice sampling: the prior it reads from a program, stationarity, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from inference.program import Program
from inference.sampling.density import LogDensity
from inference.sampling.elliptical import EllipticalSlice, GaussianPrior
from inference.sampling.prior import prior_of
from tests.inference.sampling.targets import Gaussian, moment_scores

COVARIANCE = torch.tensor([[2.0, 0.9], [0.9, 1.0]], dtype=torch.float64)


def regression(x: Tensor, y: Tensor, noise: float) -> None:
    """Two correlated coefficients and three shifts, all with means that are not zero."""
    w = pyro.sample("w", dist.MultivariateNormal(torch.tensor([1.0, -1.0]), covariance_matrix=COVARIANCE))
    with pyro.plate("groups", 3):
        shift = pyro.sample("shift", dist.Normal(torch.arange(3.0), 0.7))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x @ w + shift[torch.arange(len(y)) % 3], noise), obs=y)


def exact(noise: float = 0.8) -> tuple[LogDensity, torch.distributions.MultivariateNormal]:
    """The program's density, and its posterior in closed form."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 2, dtype=torch.float64, generator=generator)
    y = 2 * torch.randn(7, dtype=torch.float64, generator=generator)
    design = torch.cat([x, torch.nn.functional.one_hot(torch.arange(7) % 3).double()], 1)
    prior = torch.block_diag(COVARIANCE, 0.49 * torch.eye(3)).double()
    mean = torch.tensor([1.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    precision = prior.inverse() + design.T @ design / noise**2
    centre = torch.linalg.solve(precision, prior.inverse() @ mean + design.T @ y / noise**2)
    density = LogDensity.of(Program.of(regression, {"x": x, "y": y, "noise": noise}))
    return density, torch.distributions.MultivariateNormal(centre, precision_matrix=precision)


def test_exact_draws_of_the_posterior_stay_exact_draws() -> None:
    torch.manual_seed(1)
    density, posterior = exact()
    kernel = EllipticalSlice()
    chains = kernel.begin(density, posterior.sample((20_000,)))
    before = chains.q
    for _ in range(3):
        chains, stats = kernel.step(chains, None)
    assert (chains.q != before).all() and (stats["n_steps"] >= 1).all() and stats["n_steps"].max() > 1
    torch.testing.assert_close(stats["lp"], density(chains.q))
    white = torch.linalg.solve_triangular(posterior.scale_tril, (chains.q - posterior.mean).T, upper=False).T
    assert moment_scores(white).abs().max() < 4


def test_chains_from_the_prior_reach_the_posterior() -> None:
    torch.manual_seed(2)
    density, posterior = exact(noise=3.0)
    kernel = EllipticalSlice()
    chains = kernel.begin(density, GaussianPrior.of(density).draw(4_000))
    for _ in range(40):
        chains, _ = kernel.step(chains, None)
    white = torch.linalg.solve_triangular(posterior.scale_tril, (chains.q - posterior.mean).T, upper=False).T
    assert moment_scores(white).abs().max() < 4


def test_the_prior_is_that_of_the_program() -> None:
    torch.manual_seed(3)
    density, _ = exact()
    prior = GaussianPrior.of(density)
    q = 2 * torch.randn(50, 5, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(q), prior_of(density)(q))
    drawn = prior.draw(40_000)
    scale = torch.linalg.cholesky(torch.block_diag(COVARIANCE, 0.49 * torch.eye(3)).double())
    white = torch.linalg.solve_triangular(scale, (drawn - prior.mean).T, upper=False).T
    assert moment_scores(white).abs().max() < 4
    torch.testing.assert_close(prior.mean, torch.tensor([1.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64))


def test_reading_the_prior_takes_none_of_the_callers_noise() -> None:
    density, _ = exact()
    before = torch.get_rng_state()
    EllipticalSlice().begin(density, torch.zeros(2, 5, dtype=torch.float64))
    assert torch.equal(before, torch.get_rng_state())


def half() -> None:
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    pyro.sample("y", dist.Normal(0.0, scale), obs=torch.tensor(1.0))


def nested() -> None:
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    with pyro.plate("groups", 2):
        low = pyro.sample("low", dist.Normal(top, 1.0))
        pyro.sample("y", dist.Normal(low, 1.0), obs=torch.zeros(2))


def widened() -> None:
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    low = pyro.sample("low", dist.Normal(0.0, top.exp()))
    pyro.sample("y", dist.Normal(low, 1.0), obs=torch.tensor(1.0))


def scaled() -> None:
    with poutine.scale(scale=0.5):
        top = pyro.sample("top", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(top, 1.0), obs=torch.tensor(1.0))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (half, "that of 'scale' is a HalfNormal"),
        (nested, "that of 'low' depends on another latent"),
        (widened, "that of 'low' depends on another latent"),
        (scaled, "that of 'top' is a scaled or masked one"),
    ],
)
def test_other_priors_are_refused_by_name(model: Callable[..., Any], why: str) -> None:
    density = LogDensity.of(Program.of(model))
    with pytest.raises(ValueError, match=f"needs a Gaussian prior of fixed parameters for every latent, and {why}"):
        EllipticalSlice().begin(density, torch.zeros(2, density.dim, dtype=torch.float64))


def test_a_density_without_a_program_is_refused() -> None:
    with pytest.raises(TypeError, match="reads from a Pyro program; a Gaussian has none"):
        EllipticalSlice().begin(Gaussian.correlated(2), torch.zeros(2, 2, dtype=torch.float64))
