"""FullGaussian against torch's MultivariateNormal."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.conditionals import StandardGaussian
from zoo.full_gaussian import FullGaussian


def torchs(model: FullGaussian, context: torch.Tensor | None) -> MultivariateNormal:
    d = model.features
    values = model.parameters_of(context)
    root = torch.zeros(*values.shape[:-1], d, d, dtype=values.dtype)
    root[..., range(d), range(d)] = values[..., d : 2 * d].exp()
    place = 2 * d
    for i in range(d):
        for j in range(i):
            root[..., i, j] = values[..., place]
            place += 1
    assert place == values.shape[-1]
    return MultivariateNormal(values[..., :d], scale_tril=root)


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)])
@pytest.mark.parametrize("context_shape", [None, (2,)])
def test_the_density_is_torchs(shape, context_shape):
    model = shaken(FullGaussian(shape, context_shape=context_shape, hidden=(5,)))
    context = None if context_shape is None else normal(7, 2)
    x = normal(3, 7, *shape, seed=4)
    ours, reference = model.distribution(context), torchs(model, context)
    torch.testing.assert_close(ours.log_prob(x), reference.log_prob(x.flatten(2)))
    torch.testing.assert_close(ours.mean.flatten(-len(shape)), reference.mean)
    torch.testing.assert_close(ours.stddev.flatten(-len(shape)), reference.stddev)
    prior = StandardGaussian(shape, context_shape=context_shape).double().distribution(context)
    standard = MultivariateNormal(torch.zeros(model.features).double(), torch.eye(model.features).double())
    torch.testing.assert_close(kl_divergence(ours, prior), kl_divergence(reference, standard))


def test_draws_have_the_covariance_and_carry_gradients():
    model = shaken(FullGaussian(3, context_shape=2, hidden=(5,)))
    context = normal(2, 2)
    torch.manual_seed(0)
    draws = model.distribution(context).rsample((50_000,))
    reference = torchs(model, context)
    for i in range(2):
        found = torch.cov(draws[:, i].detach().T)
        torch.testing.assert_close(found, reference.covariance_matrix[i], atol=0.05, rtol=0.05)
    draws.square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_fit_finds_the_covariance_of_the_rows():
    x = normal(500, 3) @ torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 0.7]]).double().T
    model = FullGaussian(3).double()
    fit(model, x, steps=600, batch_size=None, lr=0.02, progress=False)
    root = model.distribution().root.detach()
    torch.testing.assert_close(root @ root.T, torch.cov(x.T, correction=0), atol=1e-3, rtol=1e-2)
