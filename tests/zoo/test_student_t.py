"""Student's t against scipy, torch, integration, and the quantiles of its draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Independent
from torch.distributions import StudentT as Reference

from inference.fit import fit
from tests.zoo.shaking import normal
from zoo.student_t import StandardStudentTs, StudentT, StudentTs
from zoo.vae import VAE


def numbers(df: float) -> torch.Tensor:
    return torch.tensor(df, dtype=torch.float64)


@pytest.mark.parametrize("df", [0.7, 1.0, 3.0, 5.0, 80.0])
def test_densities_are_scipys_and_torchs(df):
    x, loc, log_scale = (normal(6, 2, 3, seed=i) * 3 for i in range(3))
    ours = StudentTs(loc, log_scale / 3, numbers(df), event_dim=2)
    scale = (log_scale / 3).exp()
    expected = scipy.stats.t.logpdf(x.numpy(), df, loc.numpy(), scale.numpy()).sum((1, 2))
    assert np.allclose(ours.log_prob(x).numpy(), expected)
    assert torch.allclose(ours.log_prob(x), Independent(Reference(numbers(df), loc, scale), 2).log_prob(x))
    standard = StandardStudentTs(torch.Size([2, 3]), numbers(df))
    assert np.allclose(standard.log_prob(x).numpy(), scipy.stats.t.logpdf(x.numpy(), df).sum((1, 2)))
    assert ours.batch_shape == (6,)
    assert standard.batch_shape == ()


def test_the_density_integrates_to_one():
    model = StudentT(1, df=3.0).double()
    with torch.no_grad():
        model.parameters_of.free.copy_(torch.tensor([0.7, -0.4]))
        ticks = torch.linspace(-400, 400, 400_001, dtype=torch.float64)
        total = torch.trapezoid(model.log_prob(ticks[:, None]).exp(), ticks)
    assert abs(float(total) - 1) < 1e-6


@pytest.mark.parametrize("df", [1.0, 4.0])
def test_draws_have_the_quantiles_of_the_distribution(df):
    made = StudentTs(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1.0]), torch.tensor(df))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = made.sample((40_000,)).numpy()
    for column, (loc, scale) in enumerate([(1.0, 1.0), (-2.0, np.e)]):
        assert scipy.stats.kstest(draws[:, column], "t", args=(df, loc, scale)).pvalue > 1e-3


def test_draws_carry_gradients_and_a_mean_is_refused_where_there_is_none():
    loc = torch.zeros(2, requires_grad=True)
    made = StudentTs(loc, torch.zeros(2), torch.tensor(3.0))
    made.rsample((5,)).sum().backward()
    assert torch.equal(loc.grad, torch.tensor([5.0, 5.0]))
    assert torch.equal(made.mean, torch.zeros(2))
    assert StudentTs(torch.zeros(2), torch.zeros(2), torch.tensor(1.0)).mean.isnan().all()


def test_a_fit_finds_what_scipy_finds():
    x = torch.tensor(scipy.stats.t.rvs(4, 2.0, 0.5, size=4000, random_state=0))[:, None]
    model = StudentT(1, df=4.0).double()
    fit(model, x, steps=400, batch_size=None, lr=0.02, progress=False)
    _, loc, scale = scipy.stats.t.fit(x.numpy(), fdf=4.0)
    found = model.parameters_of.free.detach()
    assert abs(float(found[0]) - loc) < 1e-3
    assert abs(float(found[1].exp()) - scale) < 1e-3


def test_it_serves_as_a_decoder():
    model = VAE(6, latent=2, hidden=(8,), decoder=StudentT(6, context_shape=[2], hidden=(8,)))
    x = normal(64, 6).float()
    result = fit(model, x, steps=60, batch_size=32, every=20, lr=3e-3, progress=False)
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert model.reconstruct(x).shape == (64, 6)


@pytest.mark.parametrize("df", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_degrees_of_freedom_are_refused(df):
    with pytest.raises(ValueError, match="degrees of freedom, must be above 0"):
        StudentT(2, df=df)
