"""The direct ELBO against Pyro's, on the same draws: the value and every gradient."""

from functools import partial

import pyro
import pytest
import torch
from torch import Tensor

from inference.objectives import Elbo, PyroElbo, closed_form, sampled
from zoo.conditionals import Bernoulli, Categorical, Gaussian, HomoscedasticGaussian
from zoo.realnvp import RealNVP
from zoo.vae import VAE

DECODERS = {
    "bernoulli": (Bernoulli, lambda shape: torch.rand(shape).round()),
    "gaussian": (HomoscedasticGaussian, torch.randn),
    "categorical": (partial(Categorical, levels=5), lambda shape: torch.randint(5, shape)),
}


def loss_and_gradients(objective, model: VAE, x: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    torch.manual_seed(3)
    loss = objective(model, x, context).value
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("context", [None, 3])
@pytest.mark.parametrize("prior", [None, partial(RealNVP, layers=2, hidden=8)])
def test_the_direct_elbo_is_pyros(decoder: str, context: int | None, prior) -> None:
    torch.manual_seed(0)
    family, rows = DECODERS[decoder]
    vae = VAE((2, 3), latent=4, hidden=(8,), decoder=family, prior=prior, context_shape=context).double()
    x = rows((7, 2, 3))
    x = x.double() if x.is_floating_point() else x
    c = None if context is None else torch.randn(7, context).double()
    direct, gradients = loss_and_gradients(Elbo(kl=sampled), vae, x, c)
    through_pyro, pyros = loss_and_gradients(PyroElbo(), vae, x, c)
    torch.testing.assert_close(direct, through_pyro, rtol=1e-12, atol=1e-12)
    assert len(gradients) == len(pyros) == len(list(vae.parameters()))
    for ours, theirs in zip(gradients, pyros, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prior", [None, Gaussian])
def test_the_closed_form_divergence_is_pyros_mean_field_elbo(prior) -> None:
    torch.manual_seed(0)
    vae = VAE(6, latent=3, hidden=(8,), prior=prior).double()
    with torch.no_grad():
        for parameter in vae.prior_model.parameters():
            parameter.normal_()
    x = torch.rand(9, 6).round().double()

    def model(x: Tensor) -> None:  # torch's own distributions, whose divergence torch knows
        with pyro.plate("data", len(x)):
            p = vae.prior()
            scale = torch.ones_like(p.mean) if prior is None else p.stddev
            z = pyro.sample("z", pyro.distributions.Normal(p.mean, scale).to_event(1))
            pyro.sample("x", pyro.distributions.Bernoulli(logits=vae.decoder(z).logits).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            q = vae.encoder(x)
            pyro.sample("z", pyro.distributions.Normal(q.loc, q.log_scale.exp()).to_event(1))

    torch.manual_seed(5)
    theirs = pyro.infer.TraceMeanField_ELBO().differentiable_loss(model, guide, x) / len(x)
    torch.manual_seed(5)
    ours = Elbo(kl=closed_form)(vae, x).value
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_more_particles_estimate_the_same_bound_with_less_noise() -> None:
    torch.manual_seed(0)
    vae, x = VAE(6, latent=2, hidden=(8,)), torch.rand(5, 6).round()
    with torch.no_grad():
        few = torch.stack([Elbo(1, sampled)(vae, x).value for _ in range(2000)])
        many = torch.stack([Elbo(20, sampled)(vae, x).value for _ in range(200)])
    assert abs(few.mean() - many.mean()) < 4 * (few.std() / 2000**0.5 + many.std() / 200**0.5)
    assert many.std() < 0.4 * few.std()


def test_terms_add_up_to_the_loss() -> None:
    loss = Elbo()(VAE(6, latent=2), torch.rand(5, 6).round())
    assert torch.isclose(loss.terms["reconstruction"] + loss.terms["kl"], loss.value)


def test_an_encoder_that_is_a_flow_is_still_pyros_elbo() -> None:
    torch.manual_seed(0)
    vae = VAE(6, latent=4, hidden=(8,), encoder=partial(RealNVP, layers=2, hidden=8)).double()
    x = torch.rand(9, 6).round().double()
    direct, gradients = loss_and_gradients(Elbo(), vae, x, None)
    through_pyro, pyros = loss_and_gradients(PyroElbo(), vae, x, None)
    torch.testing.assert_close(direct, through_pyro, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(gradients, pyros, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
