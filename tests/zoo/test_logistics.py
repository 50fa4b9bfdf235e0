"""The outputs for one number against each other, and the mixture of logistics against its own definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zoo.shaking import normal
from zoo.logistics import BitOutput, LevelOutput, LogisticOutput, output_for


@settings(max_examples=20, deadline=None)
@given(levels=st.integers(2, 300), mixture=st.integers(1, 4), scale=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
def test_the_logarithms_of_a_mixture_of_logistics_sum_to_one(levels, mixture, scale):
    output = LogisticOutput(levels, mixture)
    values = scale * normal(6, output.size)
    logits = output.logits(values)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.logsumexp(-1), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_level_has_the_mass_of_its_interval():
    output = LogisticOutput(5, 2)
    values = normal(3, 6)
    weights, means, log_scales = values.chunk(3, -1)
    edges = torch.tensor([-torch.inf, -0.75, -0.25, 0.25, 0.75, torch.inf], dtype=torch.float64)
    below = ((edges - means.unsqueeze(-1)) / log_scales.exp().unsqueeze(-1)).sigmoid()
    assert log_scales.abs().max() < 7
    expected = (weights.softmax(-1).unsqueeze(-1) * below.diff(dim=-1)).sum(-2)
    torch.testing.assert_close(output.logits(values).exp(), expected)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_gradients_are_finite_far_from_the_mass(scale):
    output = LogisticOutput(256, 3)
    values = (scale * normal(8, 9)).float().requires_grad_()
    codes = torch.tensor([0, 255, 128, 0, 255, 1, 254, 7])
    output.log_prob(values, codes).sum().backward()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("output", [BitOutput(), LevelOutput(4), LogisticOutput(4, 2), LogisticOutput(2, 1)])
def test_the_logits_say_what_the_log_probabilities_say(output):
    values = normal(5, output.size)
    logits = output.logits(values).log_softmax(-1)
    for code in range(logits.shape[-1]):
        torch.testing.assert_close(output.log_prob(values, torch.full((5,), code)), logits[:, code])


def test_what_was_asked_for_is_made():
    assert isinstance(output_for(2, None), BitOutput)
    assert isinstance(output_for(3, None), LevelOutput)
    assert isinstance(output_for(2, 4), LogisticOutput)
    with pytest.raises(ValueError, match="mixture must be at least 1, not 0"):
        output_for(2, 0)
