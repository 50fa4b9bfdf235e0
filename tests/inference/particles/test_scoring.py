"""Scores of forecasts against closed forms and counting."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import norm

from inference import Posterior, forecast_scores
from inference.particles.scoring import crps
from inference.program import Program


def known(y):
    """y ~ N(mu, 1), mu ~ N(0, 1); NaN where missing."""
    mu = pyro.sample("mu", dist.Normal(torch.zeros(()), 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0).mask(~y.isnan()), obs=y.nan_to_num())


def test_the_crps_of_a_normal_is_its_closed_form():
    torch.manual_seed(0)
    y = torch.tensor([0.0, 1.5, -3.0], dtype=torch.float64)
    draws = 1.0 + 2.0 * torch.randn(200_000, 3, dtype=torch.float64)
    z = (y.numpy() - 1) / 2
    wanted = 2 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    assert crps(draws, y).numpy() == pytest.approx(wanted, abs=0.02)


def test_the_crps_of_few_draws_is_by_pairs():
    x, y = torch.tensor([0.0, 1.0, 5.0]), torch.tensor(2.0)
    pairs = np.abs(x.numpy()[:, None] - x.numpy()[None]).sum() / 6
    assert float(crps(x, y)) == pytest.approx(float((x - y).abs().mean()) - pairs / 2)
    with pytest.raises(ValueError, match="two draws or more, not 1"):
        crps(x[:1], y)


def unnamed(rows):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mu, 1.0).expand([len(rows)]).to_event(1), obs=rows)


def posterior_of(y, n=50_000):
    """Its draws in closed form."""
    seen = y[~y.isnan()]
    torch.manual_seed(1)
    spread = 1 / math.sqrt(1 + len(seen))
    mu = seen.sum() * spread**2 + spread * torch.randn(2, n // 2, dtype=torch.float64)
    return Posterior("known", Program.of(known, {"y": y}), {"mu": mu}, {}, "by hand")


def test_what_was_missing_is_scored_by_its_predictive_distribution():
    y = torch.tensor([0.5, 1.0, torch.nan, torch.nan, torch.nan], dtype=torch.float64)
    full = torch.tensor([0.5, 1.0, 0.6, 4.0, torch.nan], dtype=torch.float64)
    found = forecast_scores(posterior_of(y), {"y": full})
    assert list(found.index) == [("y", 2), ("y", 3)]
    predictive = norm(0.5, math.sqrt(1 + 1 / 3))
    assert found["log_score"].to_numpy() == pytest.approx(-predictive.logpdf([0.6, 4.0]), abs=0.1)
    assert found["predicted"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.1)
    assert found["within 50%"].tolist() == [True, False]
    assert found["within 90%"].tolist() == [True, False]
    assert found["crps"].iloc[0] < found["crps"].iloc[1]


def test_where_nothing_was_forecast_it_says_so():
    y = torch.tensor([0.5, 1.0, torch.nan], dtype=torch.float64)
    posterior = posterior_of(y, 100)
    with pytest.raises(ValueError, match="nothing was forecast"):
        forecast_scores(posterior, {"y": y})
    nameless = Posterior("nameless", Program.of(unnamed, y[:2]), posterior.draws, {}, "by hand")
    with pytest.raises(ValueError, match="unnamed has no argument of the name of an observed site"):
        forecast_scores(nameless, y[:2])
    with pytest.raises(ValueError, match=r"was \[3\] when it was forecast, and is \[2\] now"):
        forecast_scores(posterior, {"y": y[:2]})
