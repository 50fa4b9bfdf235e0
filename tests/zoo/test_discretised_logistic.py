"""DiscretisedLogistic: a mass over its levels, that of a logistic's intervals, and draws of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zoo.shaking import normal, shaken
from zoo.discretised_logistic import DiscretisedLogistic


@settings(max_examples=15, deadline=None)
@given(levels=st.integers(2, 40), scale=st.sampled_from([0.1, 1.0, 5.0]), seed=st.integers(0, 99))
def test_it_sums_to_one_over_the_levels(levels, scale, seed):
    model = shaken(DiscretisedLogistic(2, levels=levels, context_shape=3, hidden=(4,)), scale, seed)
    context = normal(1, 3, seed=seed)
    pairs = torch.cartesian_prod(torch.arange(levels), torch.arange(levels))
    log_prob = model.log_prob(pairs, context=context.expand(len(pairs), 3))
    torch.testing.assert_close(log_prob.logsumexp(0), torch.tensor(0.0).double(), atol=1e-9, rtol=0)


def test_a_level_has_the_mass_of_its_interval():
    model = DiscretisedLogistic(2, levels=5).double()
    values = torch.tensor([[0.3, -1.0], [-0.9, 0.4]]).double()  # mean and log scale of each number
    with torch.no_grad():
        model.parameters_of.free.copy_(values.flatten())
    edges = torch.tensor([-torch.inf, -0.75, -0.25, 0.25, 0.75, torch.inf]).double()
    mass = ((edges - values[:, :1]) / values[:, 1:].exp()).sigmoid().diff(dim=-1)
    for a in range(5):
        for b in range(5):
            found = model.log_prob(torch.tensor([[a, b]]))
            torch.testing.assert_close(found.exp(), (mass[0, a] * mass[1, b])[None].detach())
    torch.testing.assert_close(model.distribution().mean, mass @ torch.arange(5.0).double())


@pytest.mark.parametrize("values", [None, [1500.0, 9.0, -0.4, -9.0]])
def test_draws_have_the_frequencies_that_it_says(values):
    """Also where scales are beyond what is told apart."""
    model = shaken(DiscretisedLogistic((1, 2), levels=4))
    if values:
        model.parameters_of.free.data.copy_(torch.tensor(values))
    torch.manual_seed(0)
    draws = model.sample(40_000)
    assert draws.shape == (40_000, 1, 2) and draws.dtype == torch.long
    probability = model.level_logits(None)[0].exp().detach()
    found = torch.nn.functional.one_hot(draws[:, 0], 4).double().mean(0)
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((found - probability).abs() < 4 * error + 1e-6).all()


def test_too_few_levels_are_refused():
    with pytest.raises(ValueError, match="levels must be at least 2, not 1"):
        DiscretisedLogistic(2, levels=1)
