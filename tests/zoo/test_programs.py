"""Bayesian programs: their densities against formulas written out, their draws against their densities, their data."""

from __future__ import annotations

import itertools
import json
import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy import stats
from scipy.linalg import toeplitz

from benchmarks.mcmc_tasks.judging import completed, judged
from inference.diagnostics import diagnose
from inference.mcmc import mcmc
from inference.posterior import Posterior
from inference.program import Program
from inference.sampling.stopping import Ess
from zoo import programs
from zoo.datasets import Missing
from zoo.programs.data import DATA, POSTERIORDB
from zoo.programs.hidden_states import HiddenStates
from zoo.programs.mixtures import NormalMixture
from zoo.programs.restricted import Restricted
from zoo.programs.series import decayed

norm, halfnorm, halfcauchy = stats.norm.logpdf, stats.halfnorm.logpdf, stats.halfcauchy.logpdf
RNG = np.random.default_rng(0)
ENDLESS = ("eight_schools",)
"""Where a path in a thousand may diverge: there is mass at tau = 0, whose logarithm has no end."""
PUBLIC = ("eight_schools", "diabetes", "influenza")


@pytest.fixture(autouse=True)
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def real(name: str) -> None:
    file = f"{POSTERIORDB[name]}.draws.json.zip"
    if not (root := os.environ.get("ZOO_DATA")) or not Path(root, "posteriordb", file).is_file():
        pytest.skip(f"ZOO_DATA has no posteriordb/{file}")


def log_joint(program, data, values) -> float:
    data = {name: torch.as_tensor(value) for name, value in data.items()}
    values = {name: torch.as_tensor(value) for name, value in values.items()}
    return poutine.trace(poutine.condition(program, values)).get_trace(**data).log_prob_sum().item()


def schools(y, sigma, mu, tau, eta):
    prior = norm(mu, 0, 5) + halfcauchy(tau, 0, 5) + norm(eta).sum()
    return prior + norm(y, mu + tau * eta, sigma).sum()


def schools_centred(y, sigma, mu, tau, theta):
    return norm(mu, 0, 5) + halfcauchy(tau, 0, 5) + norm(theta, mu, tau).sum() + norm(y, theta, sigma).sum()


def kidscore(mom_iq, kid_score, beta, sigma):
    return halfcauchy(sigma, 0, 2.5) + norm(kid_score, beta[0] + beta[1] * mom_iq, sigma).sum()


def regression(X, y, beta, sigma):
    return norm(beta, 0, 10).sum() + halfnorm(sigma, 0, 10) + norm(y, X @ beta, sigma).sum()


def autoregression(y, before, alpha, beta, sigma):
    steps = sum(norm(y[t], alpha + sum(beta[k] * before[t, k] for k in range(2)), sigma) for t in range(len(y)))
    return norm(alpha, 0, 10) + norm(beta, 0, 10).sum() + halfcauchy(sigma, 0, 2.5) + steps


def garch(y, before, first, mu, alpha0, shares):
    variance, total = first**2, norm(y[0], mu, first)
    for today, yesterday in zip(y[1:], before, strict=True):
        variance = alpha0 + shares[0] * (yesterday - mu) ** 2 + shares[1] * variance
        total += norm(today, mu, variance**0.5)
    return total


def mixture(y, mu, sigma, theta):
    prior = norm(mu, 0, 2).sum() + halfnorm(sigma, 0, 2).sum() + stats.beta(5, 5).logpdf(theta)
    p = theta * stats.norm.pdf(y, mu[0], sigma[0]) + (1 - theta) * stats.norm.pdf(y, mu[1], sigma[1])
    return prior + np.log(p).sum()


def hidden(y, theta1, theta2, mu):
    theta, total = np.stack([theta1, theta2]), 0.0
    for path in itertools.product((0, 1), repeat=len(y)):
        moves = math.prod(theta[a, b] for a, b in itertools.pairwise(path))
        total += moves * math.prod(stats.norm.pdf(value, mu[state]) for value, state in zip(y, path, strict=True))
    return norm(mu, [3, 10], 1).sum() + math.log(total)


def process(x, y, rho, alpha, sigma):
    covariance = alpha**2 * np.exp(-(toeplitz(x - x[0]) ** 2) / (2 * rho**2)) + sigma * np.eye(len(x))
    prior = stats.gamma(25, scale=1 / 4).logpdf(rho) + halfnorm(alpha, 0, 2) + halfnorm(sigma)
    return prior + stats.multivariate_normal(np.zeros(len(x)), covariance).logpdf(y)


def horseshoe(X, y, alpha, sigma, tau, slab, z, **local):
    widths = local["lambda"]
    prior = norm(alpha, 0, 2) + halfnorm(sigma, 0, 2) + halfcauchy(tau, 0, 3 / 2 / math.sqrt(len(y)))
    prior += stats.invgamma(2, scale=8).logpdf(slab) + norm(z).sum() + halfcauchy(widths).sum()
    width = (tau * sigma * widths) ** 2
    return prior + norm(y, alpha + X @ (z * np.sqrt(slab * width / (slab + width))), sigma).sum()


def positive(*shape):
    return RNG.gamma(2.0, 0.7, shape)


FORMULAS = {
    "eight_schools": (
        schools,
        lambda: {"y": RNG.normal(8, 10, 4), "sigma": positive(4) * 10},
        lambda: {"mu": RNG.normal(), "tau": positive() * 3, "eta": RNG.normal(size=4)},
    ),
    "eight_schools_centred": (
        schools_centred,
        lambda: {"y": RNG.normal(8, 10, 4), "sigma": positive(4) * 10},
        lambda: {"mu": RNG.normal(), "tau": positive() * 3, "theta": RNG.normal(size=4)},
    ),
    "kidscore_momiq": (
        kidscore,
        lambda: {"mom_iq": RNG.normal(size=7), "kid_score": RNG.normal(size=7)},
        lambda: {"beta": RNG.normal(size=2) * 20, "sigma": positive()},
    ),
    "linear_regression": (
        regression,
        lambda: {"X": RNG.normal(size=(7, 3)), "y": RNG.normal(size=7)},
        lambda: {"beta": RNG.normal(size=3), "sigma": positive()},
    ),
    "autoregression": (
        autoregression,
        lambda: {"y": RNG.normal(size=7), "before": RNG.normal(size=(7, 2))},
        lambda: {"alpha": RNG.normal(), "beta": RNG.normal(size=2), "sigma": positive()},
    ),
    "garch11": (
        garch,
        lambda: {"y": (y := RNG.normal(size=9)), "before": y[:-1], "first": 0.5},
        lambda: {"mu": RNG.normal(), "alpha0": positive(), "shares": RNG.dirichlet(np.ones(3))},
    ),
    "gaussian_mixture": (
        mixture,
        lambda: {"y": RNG.normal(0, 3, 9)},
        lambda: {"mu": np.sort(RNG.normal(size=2)), "sigma": positive(2), "theta": RNG.uniform()},
    ),
    "hidden_markov": (
        hidden,
        lambda: {"y": RNG.normal(6, 4, 7)},
        lambda: {
            "theta1": RNG.dirichlet(np.ones(2)),
            "theta2": RNG.dirichlet(np.ones(2)),
            "mu": np.sort(RNG.uniform(0, 12, 2)),
        },
    ),
    "gaussian_process": (
        process,
        lambda: {"x": np.arange(6.0), "y": RNG.normal(size=6)},
        lambda: {"rho": positive() * 3, "alpha": positive(), "sigma": positive()},
    ),
    "horseshoe_regression": (
        horseshoe,
        lambda: {"X": RNG.normal(size=(6, 5)), "y": RNG.normal(size=6)},
        lambda: {
            "alpha": RNG.normal(),
            "sigma": positive(),
            "tau": positive(),
            "slab": positive() * 4,
            "z": RNG.normal(size=5),
            "lambda": positive(5),
        },
    ),
}
FLAT = {"garch11": math.log(2), "hidden_markov": -math.log(0.99865) - math.log(2), "gaussian_mixture": math.log(2)}
"""What the programs' normalised priors add to the formulas: Dirichlet(1, 1, 1), an order's share, the first state's."""


@pytest.mark.parametrize("name", FORMULAS)
def test_the_density_is_the_formula_written_out(name: str) -> None:
    formula, data, values = FORMULAS[name]
    given = data()
    for _ in range(5):
        at = values()
        expected = formula(**given, **at) + FLAT.get(name, 0.0)
        assert log_joint(getattr(programs, name), given, at) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_batch_of_chains_has_each_ones_density_and_gradient(name: str) -> None:
    _, data, values = FORMULAS[name]
    given = {key: torch.as_tensor(value) for key, value in data().items()}
    points = [values() for _ in range(3)]
    batch = {key: torch.stack([torch.as_tensor(each[key]) for each in points]) for key in points[0]}

    def density(at):
        return poutine.trace(poutine.condition(getattr(programs, name), at)).get_trace(**given).log_prob_sum()

    with pyro.validation_enabled(False):  # which asks for single values, and so is none of a batch's
        slopes, found = torch.func.vmap(torch.func.grad_and_value(density))(batch)
    for row in range(3):
        at = {key: value[row].clone().requires_grad_() for key, value in batch.items()}
        alone = density(at)
        alone.backward()
        assert found[row].item() == pytest.approx(alone.item(), rel=1e-12)
        assert all(torch.allclose(slopes[key][row], at[key].grad, rtol=1e-9, atol=1e-9) for key in at)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 13])
def test_decayed_sums_are_the_recursion(length: int) -> None:
    x, rate = torch.randn(length), torch.tensor(0.7)
    expected = [x[0]]
    for value in x[1:]:
        expected.append(value + rate * expected[-1])
    assert torch.allclose(decayed(x, rate), torch.stack(expected), rtol=1e-12)


def test_a_long_chain_of_states_neither_under_nor_overflows() -> None:
    y = torch.randn(1_500) * 30
    transition = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    alpha = torch.full((2,), 0.5).log() + dist.Normal(torch.tensor([0.0, 5.0]), 1.0).log_prob(y[0])
    for value in y[1:]:
        step = dist.Normal(torch.tensor([0.0, 5.0]), 1.0).log_prob(value)
        alpha = (alpha[:, None] + transition.log()).logsumexp(0) + step
    found = HiddenStates(transition, torch.tensor([0.0, 5.0]), len(y)).log_prob(y)
    assert found.item() == pytest.approx(alpha.logsumexp(0).item(), rel=1e-10)


def test_states_are_drawn_by_their_probabilities() -> None:
    transition = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    n = 20_000
    y = HiddenStates(transition, torch.tensor([-50.0, 50.0]), 3).sample((n,))
    assert y.shape == (n, 3)
    counts = torch.bincount(((y > 0).long() * torch.tensor([4, 2, 1])).sum(-1), minlength=8).numpy()
    paths = itertools.product((0, 1), repeat=3)
    expected = [0.5 * (transition[a, b] * transition[b, c]).item() for a, b, c in paths]
    assert stats.chisquare(counts, n * np.array(expected)).pvalue > 1e-3
    assert (y.abs() - 50).std().item() == pytest.approx(1, abs=0.02)


def test_a_batch_of_series_is_drawn_each_by_its_own() -> None:
    loc = torch.tensor([[-50.0, -50.0], [50.0, 50.0]])
    y = HiddenStates(torch.full((2, 2), 0.5), loc, 4).expand([2]).sample((3,))
    assert y.shape == (3, 2, 4)
    assert (y[:, 0] < 0).all()
    assert (y[:, 1] > 0).all()


def test_a_mixtures_draws_follow_its_distribution() -> None:
    weights, loc, scale = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 1.0]), torch.tensor([0.5, 1.5])
    y = NormalMixture(weights, loc, scale).sample((5_000,)).numpy()

    def cdf(x):
        return 0.3 * stats.norm.cdf(x, -2, 0.5) + 0.7 * stats.norm.cdf(x, 1, 1.5)

    assert stats.kstest(y, cdf).pvalue > 1e-3


def test_a_restricted_distribution_is_normalised_and_drawn_on_its_support() -> None:
    base = dist.Normal(torch.zeros(2), 2.0)
    ordered = Restricted(base.to_event(1), dist.constraints.ordered_vector, share=0.5)
    draws = ordered.sample((20_000,))
    assert (draws[:, 0] < draws[:, 1]).all()
    mean = 2 / math.sqrt(math.pi)  # of the larger of two normals of sd 2
    assert torch.allclose(draws.mean(0), torch.tensor([-mean, mean]), atol=5 * 2 / math.sqrt(20_000))
    grid = torch.linspace(-16, 16, 401)
    points = torch.cartesian_prod(grid, grid)
    points = points[points[:, 0] < points[:, 1]]
    total = ordered.log_prob(points).exp().sum() * (grid[1] - grid[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.02)


def test_the_share_of_the_hidden_states_order() -> None:
    draws = stats.norm.rvs([3, 10], 1, (1_000_000, 2), random_state=0)
    assert ((draws[:, 0] > 0) & (draws[:, 1] > draws[:, 0])).mean() == pytest.approx(0.99865, abs=2e-4)


@pytest.mark.parametrize("name", POSTERIORDB)
def test_reference_draws_have_the_programs_sites_and_shapes(name: str) -> None:
    real(name)
    given, draws = programs.data(name), programs.reference(name)
    assert all(value.dtype == torch.float64 for value in (*given.values(), *draws.values()))
    trace = poutine.trace(programs.POSTERIORS[name]).get_trace(**given)
    assert {site: value.shape[2:] for site, value in draws.items()} == {
        site: trace.nodes[site]["value"].shape for site in draws
    }
    known = {"y", "kid_score", "eta", "shares", *draws}
    assert {site for site in trace.stochastic_nodes + trace.observation_nodes if "plate" not in site} <= known | {
        *("school", "row", "time", "column", "lag", "component")
    }


def test_embedded_schools_are_posteriordbs() -> None:
    real("eight_schools")
    path = Path(os.environ["ZOO_DATA"], "posteriordb", f"{POSTERIORDB['eight_schools']}.data.json.zip")
    with zipfile.ZipFile(path) as archive:
        raw = json.loads(archive.read(archive.namelist()[0]))
    assert {name: value.tolist() for name, value in programs.data("eight_schools").items()} == {
        "y": raw["y"],
        "sigma": raw["sigma"],
    }


def test_what_comes_before_each_step_of_the_series(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    (tmp_path / "posteriordb").mkdir()
    raw = {"K": 2, "T": 5, "y": [1.0, 2.0, 3.0, 4.0, 5.0]}
    with zipfile.ZipFile(tmp_path / "posteriordb" / "arK-arK.data.json.zip", "w") as archive:
        archive.writestr("arK.json", json.dumps(raw))
    given = programs.data("autoregression")
    assert given["y"].tolist() == [3, 4, 5]
    assert given["before"].tolist() == [[2, 1], [3, 2], [4, 3]]


def test_diabetes_is_standardised() -> None:
    given = programs.data("diabetes")
    assert given["X"].shape == (442, 10)
    for value in given.values():
        assert torch.allclose(value.mean(0), torch.tensor(0.0), atol=1e-12)
        assert torch.allclose(value.std(0), torch.tensor(1.0))


def test_the_last_thousand_days_that_are_trained_on() -> None:
    if not (root := os.environ.get("ZOO_DATA")) or not Path(root, "sp500", "sp500.csv.gz").is_file():
        pytest.skip("ZOO_DATA has no sp500/sp500.csv.gz")
    given = programs.data("garch11_sp500")
    assert given["y"].shape == (1_000,)
    assert torch.equal(given["before"], given["y"][:-1])
    assert 0.5 < given["first"] < 2


@pytest.mark.parametrize("name", [name for name in DATA if name not in PUBLIC])
def test_a_missing_file_is_named_and_so_is_a_damaged_one(tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with pytest.raises(Missing, match="set ZOO_DATA to a folder that holds"):
        programs.data(name)
    if name in POSTERIORDB:
        (tmp_path / "posteriordb").mkdir()
        (tmp_path / "posteriordb" / f"{POSTERIORDB[name]}.data.json.zip").write_bytes(b"PK\x03\x04 no zip")
        with pytest.raises(ValueError, match=r"is not a file of posteriordb, a zip of one JSON file"):
            programs.data(name)


def test_unknown_names_are_told_the_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no data named 'eight_school': there are eight_schools"):
        programs.data("eight_school")
    with pytest.raises(ValueError, match=r"posteriordb has no draws of 'diabetes': it has those of eight_schools"):
        programs.reference("diabetes")


@pytest.mark.slow
def test_numpyros_versions_that_ours_are_timed_beside_have_the_same_density() -> None:
    pytest.importorskip("numpyro")
    from numpyro.infer.util import log_density

    from benchmarks.mcmc_tasks.peers_numpyro import CONSTANTS, MODELS

    for name, model in MODELS.items():
        _, data, values = FORMULAS[name]
        given, at = data(), values()
        theirs, _ = log_density(model, (), given, at)
        ours = log_joint(programs.POSTERIORS[name], given, at)
        assert ours == pytest.approx(float(theirs) + CONSTANTS.get(name, 0.0), rel=1e-9, abs=1e-9), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* paths diverged")
@pytest.mark.parametrize("name", POSTERIORDB)
def test_chains_find_the_reference_posterior(name: str) -> None:
    real(name)
    posterior = mcmc(programs.POSTERIORS[name], programs.data(name), until=Ess(10_000), seed=1, progress=False)
    draws, truth = completed(name, posterior.draws), programs.reference(name)
    found = judged(name, posterior.draws)
    assert found["ess"] > 1_000
    assert found["rhat"] < 1.01
    diverging = posterior.stats["diverging"].double()
    assert diverging.sum() == 0 or (name in ENDLESS and diverging.mean() < 1e-3)
    assert diagnose(posterior).table.loc["divergences", "value"] == diverging.sum()  # reported, however few
    for site, value in draws.items():
        reference = truth[site].numpy()
        sd = reference.std((0, 1))
        assert (abs(value.mean((0, 1)) - reference.mean((0, 1))) < 0.1 * sd).all(), site
        assert (abs(value.std((0, 1)) / sd - 1) < 0.1).all(), site


def test_what_a_program_derives_is_found_beside_its_draws() -> None:
    program = Program.of(programs.eight_schools, programs.data("eight_schools"))
    draws = {"mu": torch.randn(2, 3), "tau": torch.rand(2, 3), "eta": torch.randn(2, 3, 8)}
    posterior = Posterior("eight_schools", program, draws)
    expected = draws["mu"][..., None] + draws["tau"][..., None] * draws["eta"]
    assert torch.allclose(posterior["theta"], expected)
    assert posterior.idata.posterior["theta"].dims == ("chain", "draw", "school")
