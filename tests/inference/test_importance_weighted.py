"""The importance-weighted objective: its value, its bound, and that its gradients agree with the plain one."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from inference.fit import fit
from inference.importance import log_weights
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.objectives import (
    Elbo,
    ImportanceWeightedElbo,
    doubly_reparameterised,
    pathwise,
    sampled,
    sticking_the_landing,
)
from inference.schedules import linear
from zoo.autoencoder import Autoencoder
from zoo.conditionals import Gaussian, HomoscedasticGaussian
from zoo.iaf import IAF
from zoo.ppca import ProbabilisticPCA
from zoo.realnvp import RealNVP
from zoo.vae import VAE

ENCODERS = {
    "normal": partial(Gaussian, hidden=(4,)),
    "iaf": partial(IAF, layers=1, hidden=4, base=partial(Gaussian, hidden=(4,))),
    "realnvp": partial(RealNVP, layers=2, hidden=4),
}
GRADIENTS = {"pathwise": pathwise, "doubly reparameterised": doubly_reparameterised}


def linear_vae(encoder=None, latent: int = 2) -> VAE:
    """A linear Gaussian decoder, and an encoder that is not the posterior."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        vae = VAE(
            3,
            latent=latent,
            decoder=partial(HomoscedasticGaussian, hidden=()),
            encoder=encoder or partial(Gaussian, hidden=()),
        ).double()
        for parameter in vae.parameters():
            nn.init.normal_(parameter, std=0.5)
    return vae


def rows(n: int) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def same_model(vae: VAE) -> ProbabilisticPCA:
    """p(x) of a linear VAE, z integrated out."""
    ppca = ProbabilisticPCA(3, latent=vae.latent[0]).double()
    linear = vae.decoder_model.parameters_of.network[0]
    with torch.no_grad():
        ppca.loc.copy_(linear.bias)
        ppca.loadings.copy_(linear.weight)
        ppca.log_scale.copy_(vae.decoder_model.log_scale)
    return ppca


def gradient(objective, model: nn.Module, x: Tensor, context: Tensor | None = None) -> Tensor:
    model.zero_grad()
    objective(model, x, context).value.backward()
    return nn.utils.parameters_to_vector([p.grad for p in model.parameters() if p.requires_grad])


def seeded(seed: int) -> None:
    torch.default_generator.manual_seed(seed)


@pytest.mark.parametrize("way", GRADIENTS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("draws", [1, 7])
def test_the_value_is_the_bound_of_log_likelihood_on_the_same_draws(way: str, encoder: str, draws: int) -> None:
    vae, x = linear_vae(ENCODERS[encoder]), rows(6)
    ours = ImportanceWeightedElbo(draws, GRADIENTS[way])
    seeded(4)
    loss = ours(vae, x)
    seeded(4)
    weights = log_weights(vae, x, draws=draws).log_weights
    torch.testing.assert_close(-loss.value, (weights.exp().mean(0)).log().mean(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss.terms["reconstruction"] + loss.terms["kl"], -weights.mean().detach())
    shares = weights.detach().exp() / weights.detach().exp().sum(0)
    torch.testing.assert_close(loss.terms["effective_draws"], (1 / shares.square().sum(0)).mean())
    bound = log_likelihood(vae, x, method=ImportanceWeighted(draws), seed=3).mean
    seeded(3)
    torch.testing.assert_close(float(-ours.held_out(vae, x)), bound)


def test_the_plain_gradient_is_autograds_of_the_bound() -> None:
    vae, x = linear_vae(), rows(6)
    seeded(4)
    ours = gradient(ImportanceWeightedElbo(5, pathwise), vae, x)
    vae.zero_grad()
    seeded(4)
    (-log_weights(vae, x, draws=5).log_weights.exp().mean(0).log().mean()).backward()
    torch.testing.assert_close(ours, nn.utils.parameters_to_vector([p.grad for p in vae.parameters()]))


def gradients(vae: VAE, x: Tensor, draws: int, times: int) -> tuple[Tensor, Tensor]:
    """Estimates of the plain and of the doubly reparameterised gradient, [times, parameters] each."""
    estimates = []
    for way in (pathwise, doubly_reparameterised):
        seeded(0)
        objective = ImportanceWeightedElbo(draws, way)
        estimates.append(torch.stack([gradient(objective, vae, x) for _ in range(times)]))
    return estimates[0], estimates[1]


def of_encoder(vae: VAE) -> Tensor:
    """Which numbers of a gradient are the encoder's."""
    return torch.cat([torch.full((p.numel(),), "encoder" in name) for name, p in vae.named_parameters()])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_both_gradients_have_one_expectation(encoder: str) -> None:
    vae, times = linear_vae(ENCODERS[encoder]), 60
    plain, double = gradients(vae, rows(2).repeat(50, 1), draws=4, times=times)
    encoders = of_encoder(vae)
    torch.testing.assert_close(plain[:, ~encoders], double[:, ~encoders])
    gap = (plain - double)[:, encoders].mean(0)
    error = ((plain.var(0) + double.var(0)) / times).sqrt()[encoders]
    moves = error > 1e-12  # some are masked
    assert (gap[moves] / error[moves]).abs().max() < 4
    assert moves.sum() > 8 and error.max() < 0.2 * plain[:, encoders].mean(0).abs().max()


def near_posterior(latent: int = 2, off: float = 0.01) -> VAE:
    """A linear encoder moved a little from the posterior's means and variances, as in the paper's own check."""
    vae = linear_vae(latent=latent)
    ppca = same_model(vae)
    of_z = ppca.posterior(torch.zeros(1, 3, dtype=torch.float64))
    slopes = ppca.posterior(torch.eye(3, dtype=torch.float64)).mean - of_z.mean
    linear = vae.encoder_model.parameters_of.network[0]
    with torch.no_grad():
        linear.weight.copy_(torch.cat([slopes.mT, torch.zeros(latent, 3)]))
        linear.bias.copy_(torch.cat([of_z.mean[0], 0.5 * of_z.variance[0].log()]))
        linear.weight += off * torch.randn(2 * latent, 3, generator=torch.Generator().manual_seed(2))
    return vae


def test_more_draws_drown_the_plain_gradient_and_sharpen_the_double_one() -> None:
    vae, x, noise = near_posterior(), rows(20), {}
    for draws in (4, 64):
        for name, estimates in zip(("plain", "double"), gradients(vae, x, draws, 40), strict=True):
            of_it = estimates[:, of_encoder(vae)]
            noise[name, draws] = float(of_it.std(0).norm() / of_it.mean(0).norm())
    assert noise["double", 4] < 0.3 * noise["plain", 4]
    assert noise["double", 64] < 0.5 * noise["double", 4]
    assert noise["double", 64] < 0.1 * noise["plain", 64]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("way", "kl"), [(pathwise, sampled), (doubly_reparameterised, sticking_the_landing)], ids=["plain", "double"]
)
def test_one_draw_is_the_elbo(encoder: str, way, kl) -> None:
    vae, x = linear_vae(ENCODERS[encoder]), rows(6)
    seeded(4)
    ours = gradient(ImportanceWeightedElbo(1, way), vae, x)
    seeded(4)
    torch.testing.assert_close(ours, gradient(Elbo(kl=kl), vae, x))


def test_the_bound_rises_with_the_draws_to_the_likelihood() -> None:
    vae, x, ks = near_posterior(off=0.5), rows(4), (1, 4, 16, 64, 256)
    truth, many = same_model(vae).log_prob(x).mean(), x.repeat(500, 1)
    with torch.no_grad():
        seeded(0)
        weights = log_weights(vae, many, draws=256).log_weights
        means = [(weights.unflatten(0, (-1, k)).logsumexp(1) - math.log(k)).mean() for k in ks]
        objectives = torch.stack([-ImportanceWeightedElbo(16)(vae, many).value for _ in range(8)])
        far = -ImportanceWeightedElbo(20_000)(vae, x).value
    for lower, higher in pairwise([*means, truth]):
        assert lower + 0.01 < higher
    assert abs(objectives.mean() - means[2]) < 0.01
    torch.testing.assert_close(far, truth, atol=0.02, rtol=0)


OBJECTIVES = {
    "one draw": ImportanceWeightedElbo(1),
    "nine draws": ImportanceWeightedElbo(9),
    "landing": Elbo(kl=sticking_the_landing),
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_an_encoder_that_is_the_posterior_tells_the_likelihood_and_gets_no_noise(objective) -> None:
    vae, x = near_posterior(latent=1, off=0.0), rows(5)
    ppca = same_model(vae)
    torch.testing.assert_close(objective(vae, x).value, -ppca.log_prob(x).mean())
    of_it = gradient(objective, vae, x)[of_encoder(vae)]
    torch.testing.assert_close(of_it, torch.zeros_like(of_it), atol=1e-9, rtol=0)
    plain = gradient(ImportanceWeightedElbo(9, pathwise), vae, x)[of_encoder(vae)]
    assert plain.abs().max() > 0.01


def test_a_posterior_of_full_covariance_is_as_exact() -> None:
    torch.manual_seed(0)
    ppca, x = ProbabilisticPCA(3, latent=2).double(), rows(5)
    loss = ImportanceWeightedElbo(4)(ppca, x)
    torch.testing.assert_close(loss.value, -ppca.log_prob(x).mean())
    torch.testing.assert_close(loss.terms["effective_draws"], torch.tensor(4.0, dtype=torch.float64))


def test_a_fit_reaches_the_likeliest_linear_model() -> None:
    factors = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    seeded(0)
    x = 0.5 * rows(100) + torch.randn(100, 1, dtype=torch.float64) @ factors
    vae = linear_vae(latent=1)
    best = ProbabilisticPCA(3, latent=1).double().maximum_likelihood(x).log_prob(x).mean()
    result = fit(
        vae, x, ImportanceWeightedElbo(8), steps=500, batch_size=None, lr=0.05, schedule=linear(500), progress=False
    )
    torch.testing.assert_close(same_model(vae).log_prob(x).mean(), best, atol=5e-3, rtol=0)
    assert {"loss", "reconstruction", "kl", "effective_draws"} <= set(result.history.columns)


@pytest.mark.parametrize("way", GRADIENTS.values(), ids=GRADIENTS)
def test_a_context_is_read_by_every_part(way) -> None:
    torch.manual_seed(0)
    vae = VAE((2, 3), latent=4, hidden=(8,), prior=Gaussian, context_shape=3).double()
    x, context = torch.rand(7, 2, 3).round().double(), torch.randn(7, 3).double()
    seeded(1)
    value = ImportanceWeightedElbo(5, way)(vae, x, context).value
    seeded(1)
    weights = log_weights(vae, x, context, draws=5).log_weights
    torch.testing.assert_close(-value, weights.exp().mean(0).log().mean())
    gradient(ImportanceWeightedElbo(5, way), vae, x, context)
    assert all(parameter.grad.any() for parameter in vae.parameters())


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        ImportanceWeightedElbo(0)
    vae = linear_vae()
    vae.encoder = lambda x, context=None: torch.distributions.Poisson(x.exp())
    with pytest.raises(TypeError, match="VAE proposes z by Poisson, which no gradient goes through"):
        ImportanceWeightedElbo(3)(vae, rows(2))
    point = Autoencoder(3, latent=2, hidden=(4,))
    with pytest.raises(TypeError, match="proposes 'z' as a point, whose density is infinite"):
        fit(point, rows(4).gt(0).float(), ImportanceWeightedElbo(3), steps=1, progress=False)
