"""Approximations of Pyro programs: conjugate posteriors, Pyro's own ELBO, its automatic guides, flows of the zoo."""

import functools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from inference import laplace, pathfinder, variational
from inference.program import Program
from inference.sampling.density import LogDensity
from inference.variational import FullCovariance
from inference.variational.automatic import made
from inference.variational.elbo import Approximation, GlobalElbo
from zoo import RealNVP

NOISE, WIDE = 0.7, 2.0


def regression(x, y):
    w = pyro.sample("w", dist.Normal(0.0, WIDE).expand([x.shape[1]]).to_event(1))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(x @ w, NOISE), obs=y)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=generator, dtype=torch.float64) @ torch.tensor(
        [[1.0, 0.8, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]], dtype=torch.float64
    )
    y = x @ torch.tensor([1.0, -2.0, 0.5]).double() + NOISE * torch.randn(60, generator=generator, dtype=torch.float64)
    return x, y


@pytest.fixture(scope="module")
def truth(data):
    """Mean, covariance and log evidence."""
    x, y = data
    spread = torch.linalg.inv(x.T @ x / NOISE**2 + torch.eye(3).double() / WIDE**2)
    marginal = torch.distributions.MultivariateNormal(
        torch.zeros(60).double(), NOISE**2 * torch.eye(60).double() + WIDE**2 * x @ x.T
    )
    return spread @ (x.T @ y) / NOISE**2, spread, float(marginal.log_prob(y))


def _agree(w, truth, draws):
    mean, spread, _ = truth
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), (w - mean).T, upper=False).T
    assert white.mean(0).abs().max() < 4.5 / math.sqrt(draws)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(3).double(), atol=6 / math.sqrt(draws), rtol=0)


def test_laplace_is_the_conjugate_posterior_and_its_evidence(data, truth):
    found = laplace(regression, data, draws=4000)
    _agree(found.draws["w"][0], truth, 4000)
    torch.testing.assert_close(found.extra["mode"]["w"], truth[0], rtol=1e-8, atol=1e-8)
    assert found.extra["log_evidence"] == pytest.approx(truth[2], abs=1e-8)
    assert found.extra["log_evidence_laplace"] == pytest.approx(truth[2], abs=1e-8)


def test_a_full_covariance_is_the_conjugate_posterior(data, truth):
    found = variational(regression, {"x": data[0], "y": data[1]}, FullCovariance, steps=300, starts=2, progress=False)
    _agree(found.draws["w"][0], truth, 2000)
    assert found.extra["elbo"] == pytest.approx(truth[2], abs=1e-4)
    assert found.method == "FullCovariance guide" and found.alarms == {}


def test_pathfinder_s_weighted_draws_are_the_conjugate_posterior(data, truth):
    found = pathfinder(regression, data, paths=6, draws=500)
    weights, w = found.weights.flatten(), found.flat["w"]
    sd = truth[1].diagonal().sqrt()
    assert (((weights[:, None] * w).sum(0) - truth[0]) / sd).abs().max() < 0.1
    assert found.extra["log_evidence"] == pytest.approx(truth[2], abs=5 * found.extra["log_evidence_error"] + 1e-3)
    assert found.resampled().unconstrained.shape == (1, 3000, 3)


def scale(y):
    """A latent with a bound, and one without."""
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(mu, sigma), obs=y)


Y = torch.tensor([0.5, 2.0, 1.2, 3.1, 2.2, 0.9], dtype=torch.float64)
AUTOMATIC = [
    AutoNormal,
    AutoMultivariateNormal,
    functools.partial(AutoLowRankMultivariateNormal, rank=1),
    functools.partial(AutoIAFNormal, hidden_dim=[8]),
]


@pytest.mark.parametrize("guide", AUTOMATIC)
def test_the_elbo_is_pyro_s_on_the_same_draws(guide):
    """One draw at a time by the same noise; Trace_ELBO runs guide and model with Pyro's own handlers."""
    program = Program.of(scale, Y)
    density = LogDensity.of(program)
    starts = {"sigma": torch.tensor([0.8]).double(), "mu": torch.tensor([1.5]).double()}
    pyro.clear_param_store()
    approximation = Approximation(made(guide, program, starts), lambda q, rows: density.value_and_grad(q))
    auto = approximation.guide.guides[0]
    assert not list(pyro.get_param_store().keys())
    for seed in range(3):
        torch.manual_seed(seed)
        ours = GlobalElbo(1)(approximation, torch.zeros(1)).value
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        try:
            with pyro.get_param_store().scope():
                theirs = Trace_ELBO().differentiable_loss(scale, auto, Y)
        finally:
            torch.set_default_dtype(torch.float32)
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-9)


@pytest.mark.parametrize("guide", [AutoNormal, AutoMultivariateNormal, AUTOMATIC[3]])
def test_automatic_guides_are_fitted_by_the_one_loop(guide):
    found = variational(scale, Y, guide, steps=300, starts=2, draws=1000, progress=False)
    assert not list(pyro.get_param_store().keys())
    exact = _grid()
    assert found.extra["log_evidence"] == pytest.approx(exact, abs=5 * found.extra["log_evidence_error"] + 0.01)
    assert found.extra["elbo"] < exact + 0.01
    assert found.extra["elbos"].shape == (2,) and (found.draws["sigma"] > 0).all()


def _grid():
    """The log evidence by a sum over a fine grid."""
    mu, sigma = torch.linspace(-6, 9, 1500).double(), torch.linspace(0.005, 9, 1500).double()
    prior = dist.Normal(0.0, 3.0).log_prob(mu)[:, None] + dist.HalfNormal(2.0).log_prob(sigma)
    likelihood = sum(dist.Normal(mu[:, None], sigma).log_prob(y) for y in Y)
    return float((prior + likelihood).logsumexp((0, 1))) + math.log(15 / 1499 * 8.995 / 1499)


def test_an_instance_is_one_start_and_a_point_is_no_guide():
    found = variational(scale, Y, AutoNormal(scale), steps=50, draws=200, progress=False)
    assert found.extra["elbos"].shape == (1,)
    with pytest.raises(TypeError, match="AutoDelta has no density over all latents at once"):
        variational(scale, Y, AutoDelta, steps=5, progress=False)


def test_a_flow_of_the_zoo_is_a_guide():
    torch.manual_seed(0)
    flow = RealNVP((2,), layers=2, hidden=8)
    found = variational(scale, Y, flow, steps=300, starts=2, draws=2000, progress=False)
    assert found.method == "RealNVP guide"
    assert found.extra["log_evidence"] == pytest.approx(_grid(), abs=5 * found.extra["log_evidence_error"] + 0.01)
    normal = variational(scale, Y, steps=300, starts=2, draws=2000, progress=False)
    assert found.extra["elbo"] > normal.extra["elbo"]


def centred(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", 8):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def test_laplace_of_a_funnel_is_refused_with_the_directions():
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    with pytest.raises(ValueError, match=r"centred: the log density does not curve downwards .*tau"):
        laplace(centred, {"y": y, "sigma": sigma}, starts=2)
