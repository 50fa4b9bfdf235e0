"""Questions to a posterior, against closed forms and ArviZ's own statistics."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from inference.diagnostics.arviz_io import arviz
from inference.posterior import Posterior
from inference.program import Program
from inference.query import query
from tests.inference.test_posterior import NOISE, Y, exact_draws, guided, mean_and_sd, mixture, of_schools, schools


def test_moments_errors_and_reliability_are_arvizs():
    theta = exact_draws(4, 250)
    found = query(of_schools(theta, method="exact draws"), ["theta", "twice"], given={"y": Y})
    assert found.kind == "estimate" and found.method == "1000 draws by exact draws"
    assert found["theta"].dims == ("school", "statistic") and list(found["theta"]["statistic"]) == [
        "mean",
        "sd",
        "error",
    ]
    az = arviz()
    table = az.summary(az.from_dict({"theta": theta.numpy()}), round_to="none")
    np.testing.assert_allclose(found["theta"].sel(statistic="mean"), table["mean"], rtol=1e-10)
    np.testing.assert_allclose(found["theta"].sel(statistic="sd"), table["sd"], rtol=1e-10)
    np.testing.assert_allclose(found["theta"].sel(statistic="error"), table["mcse_mean"], rtol=1e-10)
    np.testing.assert_allclose(found.reliability["ess_theta"], table["ess_bulk"], rtol=1e-10)
    np.testing.assert_allclose(found.reliability["r_hat_theta"], table["r_hat"], rtol=1e-10)
    assert found.reliability["ess_min"] == pytest.approx(table["ess_bulk"].min())
    assert found.reliability["r_hat_max"] == pytest.approx(table["r_hat"].max())
    np.testing.assert_allclose(found["twice"], 2 * found["theta"], rtol=1e-10)
    assert found.warnings == ()


def test_the_mean_is_within_its_error_of_the_truth():
    mean, sd = mean_and_sd()
    found = query(of_schools(exact_draws(4, 1000)), "theta")["theta"]
    gap = (found.sel(statistic="mean") - mean.numpy()) / found.sel(statistic="error")
    assert float(abs(gap).max()) < 4
    np.testing.assert_allclose(found.sel(statistic="error"), sd / math.sqrt(4000), rtol=0.15)
    np.testing.assert_allclose(found.sel(statistic="sd"), sd, rtol=0.06)


def test_data_drawn_anew_have_the_predictive_moments():
    mean, sd = mean_and_sd()
    found = query(of_schools(exact_draws(4, 1000)), ["y"], draws=4000, seed=2)
    spread = (sd**2 + NOISE**2).sqrt()
    assert found["y"].dims == ("school", "statistic")
    gap = (found["y"].sel(statistic="mean") - mean.numpy()) / found["y"].sel(statistic="error")
    assert float(abs(gap).max()) < 4
    np.testing.assert_allclose(found["y"].sel(statistic="sd"), spread, rtol=0.06)
    np.testing.assert_allclose(found["y"].sel(statistic="error"), spread / math.sqrt(4000), rtol=0.2)


def test_weighted_draws_are_weighed_and_their_error_is_larger():
    mean, sd = mean_and_sd()
    theta, log_w = guided()
    posterior = of_schools(theta, log_weights=log_w, method="a wide guide", extra={"log_evidence": -3.25})
    found = query(posterior, "theta")
    assert found.method == "4000 draws by a wide guide, weighted by importance" and found.log_evidence == -3.25
    gap = (found["theta"].sel(statistic="mean") - mean.numpy()) / found["theta"].sel(statistic="error")
    assert float(abs(gap).max()) < 4
    np.testing.assert_allclose(found["theta"].sel(statistic="sd"), sd, rtol=0.08)
    effective = 1 / float(log_w.flatten().softmax(0).square().sum())
    assert found.reliability["ess_min"] == pytest.approx(effective)
    assert found.reliability["pareto_k"] < 0.7 and "r_hat_max" not in found.reliability
    drawn = query(posterior, "y", draws=4000)["y"]
    gap = (drawn.sel(statistic="mean") - mean.numpy()) / drawn.sel(statistic="error")
    assert float(abs(gap).max()) < 4


def test_a_guide_that_misses_the_posterior_is_warned_of():
    theta, _ = guided(1000)
    log_w = torch.as_tensor(stats.cauchy(0, 30).rvs((2, 500), random_state=0)).abs()
    found = query(of_schools(theta, log_weights=log_w), "theta")
    assert found.reliability["pareto_k"] > 0.7
    assert any("Pareto k is" in text for text in found.warnings)
    told = query(of_schools(theta, log_weights=log_w, extra={"pareto_k": 0.93}), "theta")
    assert told.reliability["pareto_k"] == 0.93


def test_chains_that_disagree_are_warned_of():
    theta = exact_draws(2, 100)
    theta[1] += 3
    diverging = torch.zeros(2, 100, dtype=torch.bool)
    diverging[0, 3] = diverging[1, 4] = True
    stats_ = {"diverging": diverging}
    alarms = {"step": "The step size is tiny."}
    found = query(of_schools(theta, stats=stats_, alarms=alarms), "theta")
    assert found.reliability["r_hat_max"] > 1.5 and found.reliability["divergences"] == 2
    words = " ".join(found.warnings)
    assert (
        "chains do not agree" in words
        and "draws diverged: a part" in words
        and "2 of " in words
        and "The step size is tiny." in words
    )
    alarms = {"chains": "r-hat is high.", "diverging": "2 paths diverged, near the funnel."}
    assert query(of_schools(theta, stats=stats_, alarms=alarms), "theta").warnings[:2] == tuple(alarms.values())
    assert "do not agree" not in " ".join(query(of_schools(theta, stats=stats_, alarms=alarms), "theta").warnings)
    nested = query(of_schools(exact_draws(8, 5), super_chains=2), "theta").reliability
    assert "nested_r_hat_max" in nested and nested["nested_r_hat_theta"].dims == ("school",)


def test_numbers_of_one_and_of_no_dimension_are_printed():
    posterior = Posterior("scalar", None, {"mu": torch.randn(2, 50), "fixed": torch.full((2, 50, 2), 3.0)})
    found = query(posterior, ["mu", "fixed"])
    assert found["mu"].dims == ("statistic",) and "±" in repr(found) and "P(mu; fixed)" in repr(found)
    np.testing.assert_array_equal(found["fixed"].sel(statistic=["mean", "sd", "error"]), [[3, 0, 0], [3, 0, 0]])
    assert set(found.to_frame()["target"]) == {"mu", "fixed"}


def test_what_a_posterior_can_not_answer_is_refused():
    posterior = of_schools(exact_draws(2, 20))
    with pytest.raises(ValueError, match="'y' as given here is not; run the inference"):
        query(posterior, "theta", given={"y": Y + 1})
    with pytest.raises(ValueError, match="'theta' as given here is not"):
        query(posterior, "twice", given={"theta": 1.0})
    with pytest.raises(ValueError, match="has no 'thetta'; near: theta"):
        query(posterior, "thetta")
    with pytest.raises(ValueError, match="each name by itself"):
        query(posterior, ("theta", "twice"))
    with pytest.raises(ValueError, match="do\\(\\) needs a pgmpy graph"):
        query(posterior, "theta", do={"y": 1.0})
    summed = Program.of(mixture, {"x": Y})
    draws = {"share": torch.full((1, 4), 0.5).double(), "means": torch.zeros(1, 4, 2).double()}
    with pytest.raises(ValueError, match="'z' is summed out"):
        query(Posterior("mixture", summed, draws), "z")
    assert query(posterior, "theta", given={"y": Y, "noise": NOISE}).kind == "estimate"
    assert Program.of(schools, {"noise": NOISE, "y": Y}).name == "schools"
