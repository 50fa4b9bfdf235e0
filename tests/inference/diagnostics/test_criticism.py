"""Leave-one-out, comparison and predictive checks: exact answers of conjugate programs, and ArviZ's own."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from inference.diagnostics.arviz_io import arviz, to_idata
from inference.diagnostics.comparing import compare, stacked
from inference.diagnostics.criticism import checks, on_checks, on_pit, on_prior
from inference.diagnostics.leave_one_out import loo, pit
from inference.likelihood import LogLikelihood
from inference.posterior import Posterior
from tests.inference.diagnostics.conjugate import data_of, exact, left_out, posterior_of

# ---- leave-one-out


def test_leave_one_out_is_exact_where_it_is_known() -> None:
    y = data_of(20)
    found, truth = loo(posterior_of(y, prior=3.0, sd=1.0)), left_out(y, 3.0, 1.0)
    np.testing.assert_allclose(found.pointwise, truth, atol=0.02)
    assert found.elpd == pytest.approx(float(truth.sum()), abs=0.05)
    assert found.error == pytest.approx(math.sqrt(20 * found.pointwise.var()))
    assert 0.7 < found.effective < 1.3 and found.alarm is None
    assert found.names[:2] == ["y[0]", "y[1]"] and "each predicted from the others" in repr(found)


def test_leave_one_out_is_arvizs() -> None:
    posterior = posterior_of(data_of(15))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = arviz().loo(posterior.idata, pointwise=True)
    ours = loo(posterior)
    assert ours.elpd == pytest.approx(float(theirs.iloc[0])) and ours.error == pytest.approx(float(theirs.se))
    np.testing.assert_allclose(ours.k, theirs.pareto_k)


def test_an_observation_that_sways_all_is_called_out() -> None:
    y = data_of(8)
    y[3] = 30.0
    found = loo(posterior_of(y, prior=20.0))
    assert found.unreliable[0] == "y[3]" and found.alarm is not None
    assert "y[3] (" in found.alarm and "heavier tails" in found.alarm and found.alarm in repr(found)


def test_leave_one_out_needs_draws_and_their_likelihood() -> None:
    with pytest.raises(ValueError, match="no log-likelihood"):
        loo(Posterior("bare", None, {"mu": torch.randn(2, 50)}))
    with pytest.raises(ValueError, match="20 draws"):
        loo(posterior_of(data_of(5), chains=2, draws=10))
    with pytest.raises(ValueError, match="observes no 'z'"):
        loo(posterior_of(data_of(5)), site="z")


# ---- comparison


def test_models_are_ranked_with_the_error_of_their_difference() -> None:
    y = data_of(150, mean=2.0)
    models = {
        "tight": posterior_of(y, prior=0.05),
        "right": posterior_of(y, prior=3.0),
        "wide": posterior_of(y, sd=2.0),
    }
    found = compare(models)
    gap = left_out(y, 3.0, 1.0) - left_out(y, 0.05, 1.0)
    assert list(found.table.index) == ["right", "wide", "tight"] and found.alarms == {}
    assert found.table.loc["tight", "difference"] == pytest.approx(float(gap.sum()), abs=0.3)
    error = math.sqrt(150 * gap.numpy().var())
    assert found.table.loc["tight", "difference_error"] == pytest.approx(error, rel=0.05)
    assert found.verdict[0].startswith("right predicts best: wide, the next, is behind by ")


def test_comparison_is_arvizs() -> None:
    y = data_of(40, sd=1.3)
    models = {f"sd {sd}": posterior_of(y, sd=sd) for sd in (0.7, 1.0, 2.0)}
    ours = compare(models).table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = arviz().compare({name: each.idata for name, each in models.items()}, method="stacking")
    for mine, its in (("elpd", "elpd_loo"), ("error", "se"), ("difference", "elpd_diff"), ("difference_error", "dse")):
        np.testing.assert_allclose(ours[mine], theirs.loc[ours.index, its].astype(float), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours["weight"], theirs.loc[ours.index, "weight"].astype(float), atol=0.01)


def test_stacking_gives_the_best_mixture() -> None:
    generator = np.random.default_rng(0)
    x = np.where(generator.random(400) < 0.3, generator.normal(-3, 1, 400), generator.normal(2, 1, 400))
    values = np.stack([norm.logpdf(x, at) - 800 for at in (-3, 2, 9)])  # no exponent holds e^-800
    weights = stacked(values)
    np.testing.assert_allclose(weights, [(x < -0.5).mean(), (x > -0.5).mean(), 0.0], atol=0.02)
    best = np.log(weights @ np.exp(values + 800)).sum()
    for other in np.random.default_rng(1).dirichlet([1, 1, 1], 200):
        assert np.log(other @ np.exp(values + 800)).sum() <= best + 1e-9


def test_what_compare_warns_of() -> None:
    y = data_of(8)
    y[3] = 30.0
    found = compare({"narrow": posterior_of(y, prior=20.0), "wide": posterior_of(y, prior=20.0, sd=12.0)})
    assert "narrow" in found.alarms["unreliable LOO"] and found.table.loc["narrow", "high_k"] >= 1
    assert "With 8 observations" in repr(found)
    same = compare({"a": posterior_of(y, sd=12.0), "b": posterior_of(y, sd=12.0, seed=1)})
    assert "predict about equally well" in same.verdict[0]


def test_fitted_models_are_compared_by_rows_held_out() -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)) - 3

    def said(gap: float, kind: str) -> LogLikelihood:
        return LogLikelihood(values - gap, None, kind, "density", "")

    found = compare({"vae": said(0.5, "lower bound"), "flow": said(0.0, "exact")})
    assert found.table.loc["vae", "difference"] == pytest.approx(100, rel=1e-5)
    assert found.table.loc["flow", "elpd"] == pytest.approx(float(values.sum()), rel=1e-5)
    assert "lower bound" in found.alarms["different kinds"]
    assert compare({"a": said(0.5, "exact"), "b": said(0.0, "exact")}).alarms == {}
    row = (("chain", "draw", "row"), (values - 0.2).numpy()[None, None])
    diagnosis = SimpleNamespace(idata=to_idata({"log_likelihood": {"x": row}}, {"likelihood_kind": "exact"}))
    found = compare({"diagnosed": diagnosis, "flow": said(0.0, "exact")})
    assert found.table.loc["diagnosed", "difference"] == pytest.approx(40, rel=1e-4) and found.alarms == {}
    with pytest.raises(ValueError, match="two models or more"):
        compare({"one": said(0.0, "exact")})
    with pytest.raises(ValueError, match="same observations, and these have a 200, b 20"):
        compare({"a": said(0.0, "exact"), "b": posterior_of(data_of(20))})


# ---- the probability integral transform


def test_pit_is_that_of_the_exact_leave_one_out() -> None:
    y = data_of(6)
    posterior = posterior_of(y, prior=3.0, draws=8000)
    drawn = posterior["mu"].reshape(-1, 1) + torch.randn(32000, 6, generator=torch.Generator().manual_seed(1))
    log_likelihood = posterior.log_likelihood()["y"].flatten(0, 1)
    found = pit(y.numpy(), drawn.numpy(), log_likelihood.numpy())
    left_out = [exact(torch.cat([y[:i], y[i + 1 :]]), 3.0, 1.0) for i in range(6)]
    truth = [norm.cdf(float(each), mean, math.hypot(sd, 1.0)) for each, (mean, sd) in zip(y, left_out, strict=True)]
    np.testing.assert_allclose(found, truth, atol=0.015)
    assert np.abs((drawn < y).double().mean(0).numpy() - truth).max() > 0.04  # what those not left out would say


def test_pit_of_counts_is_uniform_and_events_share_their_weight() -> None:
    generator = np.random.default_rng(0)
    y, drawn = generator.poisson(2.0, 500), generator.poisson(2.0, (400, 500))
    found = pit(y, drawn, np.zeros((400, 500)))
    assert on_pit(found)[1] is None and len(np.unique(found)) > 490
    y, drawn = generator.normal(size=(5, 3)), generator.normal(size=(100, 5, 3))
    np.testing.assert_allclose(pit(y, drawn, np.zeros((100, 5))), (drawn < y).mean(0))


def test_predictions_that_are_off_are_said_in_words() -> None:
    u = np.random.default_rng(0).random(400)
    assert on_pit(u)[1] is None
    z = norm.ppf(u)
    for wrong, words in (
        (norm.cdf(z + 0.5), "lie above"),
        (norm.cdf(z - 0.5), "lie below"),
        (norm.cdf(1.5 * z), "too sure"),
        (norm.cdf(0.6 * z), "not sure enough"),
        (np.where(u < 0.5, u / 2, (1 + u) / 2), "too sure"),
    ):
        sentence, illness = on_pit(wrong)
        assert illness == "miscalibrated predictions" and words in sentence
    rarely = sum(on_pit(np.random.default_rng(seed).random(50))[1] is not None for seed in range(300))
    assert rarely <= 3


# ---- predictive checks


def test_checks_have_the_p_values_of_the_predictive() -> None:
    y = np.array([0.0, 1.0, 2.0])
    drawn = np.random.default_rng(0).normal(1.0, 1.0, (20000, 3))
    table = checks({"y": y}, {"y": drawn}, {"mean": np.mean, "first": lambda x: x[0]})
    assert table.loc[("y", "mean"), "p"] == pytest.approx(0.5, abs=0.02)
    assert table.loc[("y", "first"), "p"] == pytest.approx(norm.sf(-1.0), abs=0.02)
    assert table.loc[("y", "mean"), "sd"] == pytest.approx(3**-0.5, rel=0.03)
    assert table.loc[("y", "first"), "observed"] == 0.0
    tied = checks({"y": np.zeros(3)}, {"y": np.zeros((50, 3))})
    assert (tied["p"] == 0.5).all()
    with pytest.raises(ValueError, match="'self' of 'y' has 3 numbers"):
        checks({"y": y}, {"y": drawn}, {"self": lambda x: x})


def test_a_misfit_is_said_and_a_fit_too() -> None:
    drawn = np.random.default_rng(0).normal(size=(500, 50))
    y = np.random.default_rng(1).normal(size=50)
    assert on_checks(checks({"y": y}, {"y": drawn}), 500)[1] is None
    y[0] = 9.0
    sentence, illness = on_checks(checks({"y": y}, {"y": drawn}), 500)
    assert (
        illness == "misfit"
        and "the max of y is 9, and replicated data have 2." in sentence
        and "(p < 0.002)" in sentence
    )


def test_a_prior_that_rules_out_the_data() -> None:
    drawn = np.random.default_rng(0).normal(size=(300, 50))
    assert on_prior(checks({"y": drawn[0]}, {"y": drawn}))[1] is None
    sentence, illness = on_prior(checks({"y": drawn[0] + 100}, {"y": drawn}))
    assert illness == "prior rules out the data" and "the mean of y is 100" in sentence
