"""Pareto smoothing against ArviZ's own."""

import math

import arviz
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.variational import smoothed
from inference.variational.smoothing import unreliable


@settings(max_examples=20, deadline=None)
@given(st.integers(25, 700), st.floats(0.05, 3.0), st.integers(0, 10**6))
def test_weights_and_k_are_arviz_s(draws, spread, seed):
    raw = torch.from_numpy(spread * np.random.default_rng(seed).standard_t(4, size=draws)) - 300.0
    weights, k = arviz.psislw(raw.numpy().copy())
    ours = smoothed(raw)
    np.testing.assert_allclose(ours.log_weights.numpy(), weights, atol=1e-9)
    assert ours.k == pytest.approx(float(k), abs=1e-9)


def test_weights_of_chains_are_smoothed_as_one_set():
    raw = torch.randn(4, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.5
    weights, k = arviz.psislw(raw.flatten().numpy().copy())
    np.testing.assert_allclose(smoothed(raw).log_weights.numpy(), weights.reshape(4, 100), atol=1e-9)
    assert smoothed(raw).k == pytest.approx(float(k), abs=1e-9)


def test_even_weights_stay_even_and_their_mean_is_theirs():
    even = smoothed(torch.full((200,), -812.5, dtype=torch.float64))
    assert even.k == 0.0
    torch.testing.assert_close(even.log_weights, torch.full((200,), -math.log(200.0), dtype=torch.float64))
    assert even.log_mean == pytest.approx(-812.5, abs=1e-9)
    assert even.effective == pytest.approx(200)
    assert even.error == pytest.approx(0.0, abs=1e-6)


def test_the_log_mean_and_its_error_are_those_of_a_known_integral():
    """Weights N(0, 1) e^5 / N(0, 1.5^2) under draws of the latter have the mean e^5, and errors as said."""
    generator = torch.Generator().manual_seed(1)
    means, errors = [], []
    for _ in range(200):
        z = 1.5 * torch.randn(500, generator=generator, dtype=torch.float64)
        found = smoothed(5.0 - 0.5 * z**2 + 0.5 * (z / 1.5) ** 2 + math.log(1.5))
        means.append(found.log_mean)
        errors.append(found.error)
    means = np.array(means)
    assert means.mean() == pytest.approx(5.0, abs=4 * means.std() / math.sqrt(200))
    assert np.mean(errors) == pytest.approx(means.std(), rel=0.15)


def test_minus_infinity_is_a_weight_of_zero_and_nothing_finite_is_refused():
    raw = torch.randn(300, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    raw[:5] = -math.inf
    found = smoothed(raw)
    assert (found.log_weights[:5] == -math.inf).all()
    assert float(found.log_weights.exp().sum()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no draw has a finite log density"):
        smoothed(torch.full((30,), -math.inf))


def test_the_alarm_is_above_k_of_0_7_only():
    assert unreliable(0.69, "m") == {} and unreliable(math.nan, "m") == {}
    assert "Pareto k of m is 0.71" in unreliable(0.71, "m")["unreliable guide"]
    assert "infinite" in unreliable(math.inf, "m")["unreliable guide"]
