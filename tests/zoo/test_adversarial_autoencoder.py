"""The adversarial autoencoder: its codes' distribution against its prior's, and its pair against Pyro."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import zoo
from inference import fit, log_likelihood
from inference.objectives import AdversarialAutoencoding, Elbo, PyroElbo, default_objective
from inference.quality.distances import kernel_mmd
from zoo.adversarial_autoencoder import AdversarialAutoencoder
from zoo.base import Refusal
from zoo.conditionals import Bernoulli
from zoo.gaussian_mixture import GaussianMixture
from zoo.realnvp import RealNVP


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("context", [None, 3])
@pytest.mark.parametrize("prior", [None, partial(RealNVP, layers=2, hidden=8)])
def test_its_pair_is_true(context, prior) -> None:
    """The pair's own ELBO, the joint density at the code, is the direct one; what fits it is another objective."""
    model = AdversarialAutoencoder(6, latent=2, hidden=(8,), context_shape=context, prior=prior).double()
    x = torch.rand(9, 6).round().double()
    c = None if context is None else torch.randn(9, context).double()
    torch.testing.assert_close(Elbo()(model, x, c).value, PyroElbo()(model, x, c).value, rtol=1e-10, atol=1e-10)
    z = model.code(x, c)
    joint = model.decoder(z, c).log_prob(x) + model.prior(c).log_prob(z)
    torch.testing.assert_close(Elbo()(model, x, c).value, -joint.mean())
    assert isinstance(default_objective(model), AdversarialAutoencoding)


@pytest.fixture(scope="module")
def digits():
    return zoo.datasets.load("digits").binarised().flat()


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.99))


def test_its_codes_are_nearer_the_prior_than_those_of_reconstruction_alone(digits) -> None:
    distances, scores = [], []
    for lr in (2e-3, 0.0):  # of the player that brings codes to the prior
        torch.manual_seed(0)
        model = AdversarialAutoencoder(64, latent=8, hidden=(64,))
        lrs = {"autoencoder": 3e-3, "critic": 5e-3, "encoder": lr}
        fit(model, digits.train.x, steps=300, lr=lrs, optimizer=adam, progress=False)
        codes = model.encode(digits.test.x)
        distances.append(kernel_mmd(codes, model.prior().sample((len(codes),))).value)
        scores.append(model.anomaly_score(digits.test.x).mean())
    assert distances[0] < 0.2 * distances[1]
    assert scores[0] < scores[1] + 3.0  # and what a row is can still be read from its code


def test_a_prior_with_parameters_is_fitted_to_the_codes(digits) -> None:
    x = digits.train.x[:256]
    model = AdversarialAutoencoder(64, latent=2, hidden=(32,), prior=partial(GaussianMixture, components=3))
    before = [p.detach().clone() for p in model.prior_model.parameters()]
    result = fit(model, x, steps=30, every=10, progress=False)
    assert {"autoencoder.loss", "critic.real", "encoder.loss", "prior.loss"} <= set(result.history.columns)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.prior_model.parameters(), strict=True))


def test_it_has_no_likelihood_and_says_what_to_ask() -> None:
    model, x = AdversarialAutoencoder(6, latent=2, hidden=(8,)), torch.rand(5, 6).round()
    with pytest.raises(TypeError, match="offers no likelihood: ask anomaly_score"):
        log_likelihood(model, x)
    with pytest.raises(Refusal, match="judges codes, not rows; ask code_critic"):
        model.critic(x)
    assert model.code_critic(model.encode(x)).shape == (5,)


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="prior: Bernoulli is discrete"):
        AdversarialAutoencoder(6, prior=Bernoulli)
    with pytest.raises(ValueError, match="gain must be above 0"):
        AdversarialAutoencoder(6, gain=0.0)
    with pytest.raises(TypeError, match="critic must be a torch module"):
        AdversarialAutoencoder(6, critic=lambda shape, **_: None)
