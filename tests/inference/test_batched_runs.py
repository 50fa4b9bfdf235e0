"""Programs run on many draws at once: the same distributions as one run after the other."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch.distributions import dirichlet

from inference.batched_runs import of_each
from inference.predictive_draws import derive, pointwise, predict, prior_draws, simulate
from inference.program import Program

TWO = torch.tensor(2.0)

DRAWN = {
    "normal": (dist.Normal(1.0, 2.0), stats.norm(1, 2).cdf),
    "uniform": (dist.Uniform(-1.0, 2.0), stats.uniform(-1, 3).cdf),
    "exponential": (dist.Exponential(TWO), stats.expon(scale=0.5).cdf),
    "cauchy": (dist.Cauchy(1.0, 2.0), stats.cauchy(1, 2).cdf),
    "half cauchy": (dist.HalfCauchy(2.0), stats.halfcauchy(scale=2).cdf),
    "gamma": (dist.Gamma(2.0, 3.0), stats.gamma(2, scale=1 / 3).cdf),
    "beta": (dist.Beta(2.0, 3.0), stats.beta(2, 3).cdf),
    "student": (dist.StudentT(3.0), stats.t(3).cdf),
    "weibull": (dist.Weibull(1.0, 2.0), stats.weibull_min(2).cdf),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_in_a_batch_has_its_distribution(name):
    fn, cdf = DRAWN[name]

    def program(y):
        x = pyro.sample("x", fn)
        pyro.sample("y", dist.Normal(x, 1.0), obs=y)

    asked = Program.of(program, {"y": torch.tensor(0.0)})
    latents, observed = simulate(asked, 3000, seed=1)
    assert stats.kstest(latents["x"].numpy(), cdf).pvalue > 1e-3
    assert stats.kstest((observed["y"] - latents["x"]).numpy(), stats.norm.cdf).pvalue > 1e-3
    assert len(latents["x"].unique()) > 2990  # of single precision


def test_counts_and_shares_in_a_batch():
    def program(y):
        share = pyro.sample("share", dist.Dirichlet(torch.tensor([1.0, 2.0, 5.0])))
        with pyro.plate("row", 4):
            pyro.sample("y", dist.Categorical(share), obs=y)

    asked = Program.of(program, {"y": torch.zeros(4, dtype=torch.long)})
    latents, observed = simulate(asked, 4000, seed=0)
    np.testing.assert_allclose(latents["share"].mean(0), [1 / 8, 2 / 8, 5 / 8], atol=0.012)
    np.testing.assert_allclose(latents["share"].var(0), np.array([1 * 7, 2 * 6, 5 * 3]) / (64 * 9), rtol=0.12)
    assert observed["y"].shape == (4000, 4)
    given = latents["share"].gather(1, observed["y"])
    np.testing.assert_allclose(given.mean(), latents["share"].square().sum(1).mean(), atol=0.012)


def turning(y):
    """Its course depends on a number, so that it runs one after the other."""
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    mean = x + 10 if x > 0 else x - 10
    pyro.deterministic("mean", mean)
    pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_a_program_that_turns_on_a_number_is_run_one_after_the_other():
    asked = Program.of(turning, {"y": torch.tensor(9.0)})
    latents, observed = simulate(asked, 60, seed=0)
    assert (latents["x"].sign() == observed["y"].sign()).all() and len(latents["x"].unique()) == 60
    x = torch.tensor([-1.0, 0.5], dtype=torch.float64)
    np.testing.assert_allclose(derive(asked, {"x": x})["mean"], [-11.0, 10.5])
    np.testing.assert_allclose(pointwise(asked, {"x": x})["y"], stats.norm([-11.0, 10.5]).logpdf(9.0), rtol=1e-12)
    assert (predict(asked, {"x": x}, seed=0)["y"].sign() == x.sign()).all()


def test_batches_do_not_depend_on_how_many_rows_they_have():
    rows = {"a": torch.arange(10.0)}
    found = [of_each(lambda row, i: {"b": row["a"] * 2 + i}, rows, 10, at_once)["b"] for at_once in (1, 3, 100)]
    assert all(torch.equal(each, 3 * torch.arange(10.0)) for each in found)


def test_noise_is_every_rows_own_also_where_no_row_is_given():
    found = of_each(lambda row, i: {"z": torch.empty(2).normal_(), "u": torch.empty(()).uniform_(2, 3)}, {}, 50, 20)
    assert len(found["z"].unique()) == 100 and (found["u"] >= 2).all() and (found["u"] < 3).all()


@pytest.mark.parametrize(
    ("fill", "cdf"),
    [
        (lambda x: x.normal_(1, 3), stats.norm(1, 3).cdf),
        (lambda x: x.uniform_(-1, 3), stats.uniform(-1, 4).cdf),
        (lambda x: x.exponential_(4), stats.expon(scale=1 / 4).cdf),
        (lambda x: x.cauchy_(2, 3), stats.cauchy(2, 3).cdf),
    ],
)
def test_what_fills_a_tensor_in_place_means_what_it_says(fill, cdf):
    torch.manual_seed(0)
    found = of_each(lambda row, i: {"x": fill(torch.empty(()))}, {}, 2000, 2000)["x"]
    assert stats.kstest(found.numpy(), cdf).pvalue > 1e-3


def test_torch_is_left_as_it_was():
    before = dirichlet._Dirichlet
    asked = Program.of(turning, {"y": torch.tensor(9.0)})
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    simulate(asked, 5, seed=1)
    assert dirichlet._Dirichlet is before and torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    assert prior_draws(asked, 4)["x"].shape == (4,)


def test_binomials_whose_counts_are_the_same_in_every_row():
    def tosses(k):
        p = pyro.sample("p", dist.Beta(2.0, 3.0))
        with pyro.plate("n", 3):
            pyro.sample("k", dist.Binomial(torch.tensor([1.0, 5.0, 20.0]), p), obs=k)

    _, observed = simulate(Program.of(tosses, torch.ones(3)), 4000, seed=0)
    assert torch.allclose(observed["k"].mean(0), 0.4 * torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64), rtol=0.06)
