"""Laplace: exact where the posterior is normal, the closed forms where it is not, refusals by name."""

import math

import pytest
import torch

from inference.variational import laplace
from tests.inference.variational.densities import Known, covariance, gaussian, two_modes


def test_a_normal_posterior_and_its_evidence_are_exact():
    mean, spread = torch.tensor([1.0, -30.0, 0.01, 4.0]).double(), covariance(4, spread=2.0)
    found = laplace(gaussian(mean, spread, log_evidence=-123.25), draws=3000)
    torch.testing.assert_close(found.extra["mode"]["q"], mean, rtol=1e-9, atol=1e-9)
    assert found.extra["log_evidence_laplace"] == pytest.approx(-123.25, abs=1e-9)
    assert found.extra["log_evidence"] == pytest.approx(-123.25, abs=1e-9)
    assert found.extra["pareto_k"] == 0.0 and found.alarms == {}
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), (found.draws["q"][0] - mean).T, upper=False).T
    assert white.mean(0).abs().max() < 4 / math.sqrt(3000)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4).double(), atol=0.1, rtol=0)


def test_a_gamma_in_logs_has_stirling_s_evidence_and_the_weights_mend_it():
    """Of exp(a q - e^q) the mode is log a, the curvature a, the integral Gamma(a)."""
    a = 5.0
    found = laplace(Known(1, lambda q: a * q[:, 0] - q[:, 0].exp()), draws=8000)
    assert float(found.extra["mode"]["q"]) == pytest.approx(math.log(a))
    stirling = a * math.log(a) - a + 0.5 * math.log(2 * math.pi / a)
    assert found.extra["log_evidence_laplace"] == pytest.approx(stirling, abs=1e-9)
    assert found.extra["log_evidence"] == pytest.approx(math.lgamma(a), abs=4 * found.extra["log_evidence_error"])
    assert abs(stirling - math.lgamma(a)) > 2 * found.extra["log_evidence_error"]
    mean = float((found.weights * found.draws["q"][..., 0].exp()).sum())
    assert mean == pytest.approx(a, rel=0.05)


def test_what_does_not_curve_downwards_is_refused_by_name():
    def level(q):
        return -0.5 * (q[:, 0] + q[:, 1]) ** 2 - 0.5 * q[:, 2] ** 2

    with pytest.raises(ValueError, match=r"in 1 of 3 directions \(0\.71 q\[\d\] - 0\.71 q\[\d\]\)"):
        laplace(Known(3, level))
    with pytest.raises(ValueError, match=r"1 q\[1\]"):
        laplace(Known(2, lambda q: -0.5 * q[:, 0] ** 2))


def test_starts_that_end_at_other_tops_are_an_alarm_and_the_highest_answers():
    found = laplace(two_modes(8.0, share=0.2), starts=8, draws=500)
    assert float(found.extra["mode"]["q"]) == pytest.approx(8.0, abs=1e-3)
    assert "1.39 nats below" in found.alarms["local optima"]  # log(0.8 / 0.2)
    even = laplace(two_modes(8.0, share=0.5), starts=8, draws=500)
    assert "several modes" in even.alarms["local optima"]
