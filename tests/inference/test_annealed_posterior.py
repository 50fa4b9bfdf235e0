"""AIS of a latent variable's likelihood against a linear Gaussian's, which is known."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.ais import climb
from inference.annealed_posterior import (
    PosteriorPath,
    Tilted,
    _Base,
    annealed,
    bidirectional,
    from_prior,
    from_proposal,
)
from inference.likelihood import Ais, log_likelihood
from zoo.gan import GAN
from zoo.ppca import ProbabilisticPCA
from zoo.vae import VAE


class Crude(ProbabilisticPCA):
    """The same model with a proposal that is off: what AIS begins at, and has to make up for."""

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        mean = torch.zeros(len(x), *self.latent, dtype=x.dtype)
        return dist.Normal(mean + 0.5, 1.3 * torch.ones_like(mean)).to_event(1)


def linear(seed: int = 0) -> Crude:
    model = Crude(4, latent=2).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("base", [from_proposal, from_prior])
def test_it_is_the_closed_form_within_its_error(base) -> None:
    model = linear()
    torch.manual_seed(0)
    x = model.sample(20)
    exact = model.log_prob(x).detach()
    found = annealed(model, x, chains=20, temperatures=60, base=base)
    assert found.log_weights.shape == (20, 20)
    z = (found.value - exact) / found.standard_error
    assert z.abs().max() < 4.5 and abs(float(z.mean())) < 1
    assert found.standard_error.max() < 0.5
    one_jump = annealed(model, x, chains=20, temperatures=1, base=base)
    assert found.standard_error.mean() < 0.3 * one_jump.standard_error.mean()


def test_simulated_rows_are_bracketed() -> None:
    model = linear(1)
    x, found = bidirectional(model, 200, chains=8, temperatures=25, base=from_prior)
    exact = model.log_prob(x).detach()
    for gap, sign in ((exact - found.lower.log_weights.mean(0), 1), (found.upper.value - exact, 1)):
        error = float(gap.std()) / 200**0.5
        assert 3 * error < sign * float(gap.mean()) + 6 * error
    low, high = found.lower.log_weights.mean(0), found.upper.value
    assert float((high - low).mean()) > 3 * float((high - low).std()) / 200**0.5
    assert found.lower.value.mean() - 0.05 < exact.mean() < found.upper.value.mean() + 0.05


def test_weights_are_unbiased_and_their_mean_log_is_low() -> None:
    """With big steps of beta: the mean of the weights is p(x), which a wrong acceptance would miss."""
    model = linear(2)
    torch.manual_seed(0)
    x = model.sample(3)
    found = annealed(model, x, chains=6000, temperatures=4, base=from_prior)
    exact = model.log_prob(x).detach()
    assert ((found.value - exact).abs() < 4.5 * found.standard_error).all()
    assert (found.log_weights.mean(0) < exact - 4 * found.log_weights.std(0) / 6000**0.5).all()


def test_a_step_keeps_the_distribution_in_between() -> None:
    """Draws of p_beta, a normal here, have its moments after a step of size one, of which many are refused."""
    model = linear(3)
    torch.manual_seed(1)
    x = model.sample(1).expand(20_000, -1)
    prior = _Base(model.prior(), 1, 20_000)
    sizes = torch.full((10, 20_000), 0.9).double()
    path = PosteriorPath(model, x, None, prior, torch.ones(20_000, 2).double(), sizes)
    beta, noise = 0.3, (2 * model.log_scale).exp().detach()
    loadings = model.loadings.detach()
    precision = torch.eye(2).double() + beta * loadings.T @ loadings / noise
    mean = torch.linalg.solve(precision, beta * loadings.T @ (x[0] - model.loc.detach()) / noise)
    z = dist.MultivariateNormal(mean, precision_matrix=precision).sample((20_000,))
    moved = Tilted(path, beta, sizes[0]).gibbs_step(z)
    assert 0.02 < float((moved == z).all(1).double().mean()) < 0.98
    for rows in (z, moved):
        assert ((rows.mean(0) - mean).abs() < 4.5 * rows.std(0) / 20_000**0.5).all()
        torch.testing.assert_close(rows.T.cov(), precision.inverse(), atol=0.03, rtol=0.05)
    assert climb(path, z, 1).shape == (20_000,)


def test_log_likelihood_takes_it_and_says_what_it_is() -> None:
    torch.manual_seed(0)
    model = VAE(4, latent=2, hidden=(8,))
    x = torch.randint(0, 2, (5, 4)).float()
    before = torch.random.get_rng_state()
    found = log_likelihood(model, x, method=Ais(50, 20))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found.kind == "estimate" and "AIS" in found.method
    assert found.standard_error is not None and found.standard_error.shape == (5,)
    line = torch.linspace(-6, 6, 121)
    z = torch.cartesian_prod(line, line)
    each = torch.stack([model.decoder(z).log_prob(row.expand(len(z), -1)) for row in x], 1)
    exact = (each + model.prior().log_prob(z)[:, None]).logsumexp(0) + 2 * torch.log(line[1] - line[0])
    assert ((found.values - exact.detach()).abs() < 4 * found.standard_error + 2e-3).all()


def test_refuses_what_has_neither_energy_nor_latent() -> None:
    with pytest.raises(TypeError, match="no free energy and no latent"):
        log_likelihood(GAN(2), torch.zeros(3, 2), method=Ais())
    with pytest.raises(ValueError, match="at least 2 chains"):
        annealed(linear(), torch.zeros(3, 4).double(), chains=1)
