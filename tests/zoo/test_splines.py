"""Splines against autograd, their own definition piece by piece, and float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.zoo.shaking import normal
from zoo.splines import SMALLEST, Spline


def by_definition(x: float, values: torch.Tensor, bins: int, bound: float) -> tuple[float, float]:
    """Equations 4 and 5 of Durkan et al. (2019), one number at a time."""
    if not -bound < x < bound:
        return x, 0.0
    sizes = [F.softmax(part, 0) * (1 - bins * SMALLEST) + SMALLEST for part in values[: 2 * bins].split(bins)]
    widths, heights = (2 * bound * part for part in sizes)
    offset = math.log(math.expm1(1 - SMALLEST))
    slopes = [1.0, *(F.softplus(values[2 * bins :] + offset) + SMALLEST).tolist(), 1.0]
    left, low, k = -bound, -bound, 0
    while x >= left + widths[k]:
        left, low, k = left + widths[k], low + heights[k], k + 1
    s, t = float(heights[k] / widths[k]), float((x - left) / widths[k])
    level = s + (slopes[k + 1] + slopes[k] - 2 * s) * t * (1 - t)
    y = float(low + heights[k] * (s * t * t + slopes[k] * t * (1 - t)) / level)
    top = slopes[k + 1] * t * t + 2 * s * t * (1 - t) + slopes[k] * (1 - t) ** 2
    return y, math.log(s * s * top / level**2)


@settings(max_examples=25, deadline=None)
@given(bins=st.integers(1, 9), bound=st.sampled_from([0.1, 1.0, 5.0]), seed=st.integers(0, 99))
def test_it_is_the_papers_spline_and_autograds_slope(bins, bound, seed):
    spline = Spline(bins, bound).double()
    x = (1.2 * bound * normal(12, seed=seed)).requires_grad_()
    values = 2 * normal(12, spline.outputs, seed=seed + 1)
    y, log_slope = spline.forward_and_log_slope(x, values)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, atol=1e-9)
    for i, number in enumerate(x.tolist()):
        expected, expected_slope = by_definition(number, values[i], bins, bound)
        assert abs(y[i].item() - expected) < 1e-6 * bound  # the box is rounded to float32
        assert abs(log_slope[i].item() - expected_slope) < 1e-3  # and so are knots that may be close


@settings(max_examples=25, deadline=None)
@given(bins=st.integers(1, 9), bound=st.sampled_from([0.1, 1.0, 5.0]), seed=st.integers(0, 99))
def test_the_directions_invert_each_other_with_gradients(bins, bound, seed):
    spline = Spline(bins, bound).double()
    y = (1.2 * bound * normal(3, 4, seed=seed)).requires_grad_()
    values = normal(3, 4, spline.outputs, seed=seed + 1).requires_grad_()
    x, log_slope = spline.inverse_and_log_slope(y, values)
    again, back = spline.forward_and_log_slope(x, values)
    assert torch.allclose(again, y, atol=1e-9)
    assert torch.allclose(back, -log_slope, atol=1e-7)
    (slope,) = torch.autograd.grad(x.sum(), y, retain_graph=True)
    assert torch.allclose(slope.log(), log_slope, atol=1e-7)
    moved = torch.autograd.grad(again.sum(), values)[0]  # y is given: whatever the values, going back returns there
    assert moved.abs().max() < 1e-7


def test_values_of_zero_are_the_identity():
    spline = Spline(8, 3.0)
    x = torch.linspace(-5, 5, 101)
    for go in (spline.forward_and_log_slope, spline.inverse_and_log_slope):
        y, log_slope = go(x, torch.zeros(101, spline.outputs))
        assert torch.allclose(y, x, atol=1e-6)
        assert torch.allclose(log_slope, torch.zeros(101), atol=1e-6)


def test_the_end_of_the_box_is_smooth_and_beyond_it_nothing_moves():
    spline = Spline(5, 2.0).double()
    values = 3 * normal(1, spline.outputs)
    ends = torch.tensor([-2.0, 2.0], dtype=torch.float64)
    step = 1e-9
    for go in (spline.forward_and_log_slope, spline.inverse_and_log_slope):
        for x in (ends, ends * (1 - step), ends * (1 + step)):
            y, log_slope = go(x, values.expand(2, -1))
            assert torch.allclose(y, x, atol=1e-9)
            assert log_slope.abs().max() < 1e-3  # continuous, with one slope from the left and from the right
        far = torch.tensor([1e6, -1e6, 2.5, -2.0001], dtype=torch.float64)
        y, log_slope = go(far, values.expand(4, -1))
        assert torch.allclose(y, far, rtol=1e-15)
        assert log_slope.abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1, 10, 100, 1e6])
def test_in_float32_it_stays_finite_monotone_and_goes_back_to_where_it_came_from(scale):
    spline = Spline(8, 5.0)
    values = (scale * normal(spline.outputs)).float().expand(20_001, -1)
    x = torch.linspace(-5.5, 5.5, 20_001)
    for go, back in (
        (spline.forward_and_log_slope, spline.inverse_and_log_slope),
        (spline.inverse_and_log_slope, spline.forward_and_log_slope),
    ):
        y, log_slope = go(x, values)
        assert torch.isfinite(y).all() and torch.isfinite(log_slope).all()
        assert (y.diff() > -1e-3).all()
        again, _ = back(y, values)
        # a slope e^-s in one direction magnifies the other's rounding by e^s
        assert ((again - x).abs() < 5e-4 + 3e-5 * (-log_slope).exp()).all()


def test_gradients_are_finite_at_knots_ends_and_far_out():
    spline = Spline(4, 1.0)
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 1e6, -1e6]).requires_grad_()
    values = torch.zeros(7, spline.outputs, requires_grad=True)  # knots at -0.5, 0, 0.5
    for go in (spline.forward_and_log_slope, spline.inverse_and_log_slope):
        y, log_slope = go(x, values)
        for gradient in torch.autograd.grad(y.sum() + log_slope.sum(), (x, values)):
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("bins", "bound", "message"), [(0, 1.0, "bins must be"), (501, 1.0, "bins must be"), (8, 0.0, "bound must be")]
)
def test_wrong_parameters_are_refused(bins, bound, message):
    with pytest.raises(ValueError, match=message):
        Spline(bins, bound)
