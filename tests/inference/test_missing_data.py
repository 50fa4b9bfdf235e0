"""Observations that are masked were not seen: nothing is said of them as if they had been."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import compare, diagnose, from_idata, laplace, loo, query
from zoo.spread import Outbreak, PositiveNormal, in_bed, sir


def school(days: int) -> Outbreak:
    priors = {"beta": PositiveNormal(2, 1), "gamma": PositiveNormal(0.4, 0.5)}
    return Outbreak(sir(), {"S": 762, "I": 1}, priors, observes="I", times=range(1, days + 1))


@pytest.fixture(scope="module")
def week():
    """The school as of the seventh day, the other days missing; and a school of seven days."""
    cases = in_bed()
    cases[7:] = math.nan
    return laplace(school(14), {"cases": cases}), laplace(school(7), {"cases": cases[:7]})


def test_missing_data_are_nan_in_arviz(week) -> None:
    seen = week[0].idata.observed_data["cases"].values
    assert np.isnan(seen[7:]).all() and seen[:7].tolist() == in_bed()[:7].tolist()


def test_a_diagnosis_is_that_of_the_data_that_were_seen(week) -> None:
    gaps, short = (diagnose(each, seed=1) for each in week)

    assert set(gaps.alarms) == set(short.alarms)
    exact = ["leave-one-out, nats", "effective parameters", "observations with Pareto k above 0.70"]
    np.testing.assert_allclose(gaps.table.loc[exact, "value"], short.table.loc[exact, "value"], rtol=1e-6)
    assert gaps.table.loc["leave-one-out, nats", "error"] == pytest.approx(short.table.loc[exact[0], "error"], rel=1e-6)
    drawn = [f"p-value of the {what} of cases" for what in ("mean", "sd", "min", "max")]
    np.testing.assert_allclose(gaps.table.loc[drawn, "value"], short.table.loc[drawn, "value"], atol=0.08)
    assert set(gaps.plots()) == set(short.plots())


def test_leave_one_out_counts_what_was_seen(week) -> None:
    gaps, short = (loo(each) for each in week)
    assert len(gaps.pointwise) == len(gaps.k) == 7
    np.testing.assert_allclose(gaps.pointwise, short.pointwise, rtol=1e-6)
    assert "over 7 observations" in " ".join(compare({"gaps": week[0], "again": week[0]}).verdict)


def test_masks_of_every_make() -> None:
    kept = torch.tensor([True, False, True])

    def by_handler(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 3), pyro.poutine.mask(mask=kept):
            pyro.sample("y", dist.Normal(mu, 1.0).expand([2]).to_event(1), obs=y)

    def inside(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu, 1.0).expand([3]).mask(kept).to_event(1), obs=y[:, 0])

    def whole_numbers(y):
        rate = pyro.sample("rate", dist.Gamma(1.0, 1.0))
        with pyro.plate("rows", 3):
            pyro.sample("y", dist.Poisson(rate).mask(kept), obs=y[:, 0].long())

    for program in (by_handler, inside, whole_numbers):
        seen = laplace(program, {"y": torch.ones(3, 2)}, draws=50).idata.observed_data["y"].values
        assert np.isnan(seen).reshape(3, -1).all(1).tolist() == [False, True, False]


def test_one_chain_from_a_file_is_not_said_to_disagree(week, tmp_path) -> None:
    week[0].to_netcdf(tmp_path / "posterior.nc")
    answer = query(from_idata(tmp_path / "posterior.nc"), "beta")
    assert "r_hat_max" not in answer.reliability
    assert not any("agree" in sentence for sentence in answer.warnings)
