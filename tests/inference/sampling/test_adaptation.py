"""What warming up learns, against closed forms."""

import math

import pytest
import torch

from inference.sampling.adaptation import Ascent, Dense, Diagonal, DualAveraging, geometric_mean, halton
from tests.inference.sampling.gaussians import skewed


def test_dual_averaging_comes_to_the_step_of_the_target():
    adapt = DualAveraging(0.7, start=5.0)
    for _ in range(400):
        adapt.update(math.exp(-adapt.step))
    assert adapt.mean == pytest.approx(-math.log(0.7), rel=0.02)


def test_dual_averaging_s_first_steps_are_those_of_the_paper():
    adapt = DualAveraging(0.8, start=0.5)
    error, mean = 0.0, 0.0
    for t, found in enumerate((0.1, 0.9, 1.0), 1):
        adapt.update(found)
        error = (1 - 1 / (t + 10)) * error + (0.8 - found) / (t + 10)
        log_step = math.log(0.5) - math.sqrt(t) / 0.05 * error
        mean = t**-0.75 * log_step + (1 - t**-0.75) * mean
        assert adapt.step == pytest.approx(math.exp(log_step), rel=1e-12)
        assert adapt.mean == pytest.approx(math.exp(mean), rel=1e-12)


def test_ascent_climbs_to_the_top():
    climb = Ascent(1.0)
    for _ in range(300):
        climb.update(math.log(4.0) - climb.log_value)
    assert climb.mean == pytest.approx(4.0, rel=0.02)
    before = climb.log_value
    climb.update(math.nan)
    assert climb.log_value == before


def test_halton():
    assert [halton(i) for i in range(7)] == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]


def test_geometric_mean_solves_its_equation():
    torch.manual_seed(0)
    a, b = (x @ x.mT + torch.eye(5, dtype=torch.float64) for x in torch.randn(2, 5, 5, dtype=torch.float64))
    s = geometric_mean(a, b)
    torch.testing.assert_close(s @ b @ s, a)


def rows(target, q):
    slope = target.value_and_grad(q)[1]
    return q - q.mean(0), slope - slope.mean(0)


@pytest.mark.parametrize("scatter", [0.1, 1.0, 7.0])
def test_dense_metric_of_a_gaussian_is_its_covariance_from_any_chains(scatter):
    target = skewed(12, 1e4)
    metric = Dense()
    q = scatter * torch.randn(64, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    metric.begin(q)
    metric.learn(*rows(target, q), memory=0)
    metric.refresh()
    torch.testing.assert_close(metric.factor @ metric.factor.mT, target.covariance, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(metric.inverse @ metric.factor, torch.eye(12, dtype=torch.float64))


def test_diagonal_metric_of_independent_numbers_is_their_variance():
    target = skewed(6, 1.0)
    target.precision = torch.diag(torch.logspace(-3, 3, 6, dtype=torch.float64))
    metric, q = Diagonal(), torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metric.begin(q)
    metric.learn(*rows(target, q), memory=0)
    metric.refresh()
    torch.testing.assert_close(metric.factor.square(), 1 / target.precision.diagonal())


@pytest.mark.parametrize("metric", [Dense(), Diagonal()])
def test_drift_kick_and_white_are_one_scale(metric):
    target = skewed(6, 100.0)
    q, u = torch.randn(2, 40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metric.begin(q)
    metric.learn(*rows(target, q), memory=0)
    metric.refresh()
    factor = metric.factor if metric.factor.dim() == 2 else metric.factor.diag()
    torch.testing.assert_close(metric.drift(q, u, 0.3), q + 0.3 * u @ factor.mT)
    torch.testing.assert_close(metric.kick(u, q, 0.3), u + 0.3 * q @ factor)
    torch.testing.assert_close(metric.white(u @ factor.mT), u)


def test_metric_forgets_at_the_pace_of_its_memory():
    metric = Diagonal()
    ones = torch.ones(10, 1, dtype=torch.float64)
    metric.begin(ones)
    for size in (1.0, 3.0):
        metric.learn(size * ones, ones, memory=5)
    assert metric.spread.item() == pytest.approx((5 * 1 + 10 * 9) / 15)
    assert metric.count == 15


def test_too_few_rows_make_a_dense_metric_diagonal():
    target = skewed(8, 10.0)
    metric, q = Dense(), torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metric.begin(q)
    metric.learn(*rows(target, q), memory=0)
    metric.refresh()
    torch.testing.assert_close(metric.factor, metric.factor.diagonal().diag())
