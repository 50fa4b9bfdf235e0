"""VampPrior against the mixture written by hand, and what it begins with."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import zoo.vamp_prior
from inference.fit import fit
from inference.objectives import ImportanceWeightedElbo, PyroElbo
from tests.zoo.shaking import normal, shaken
from zoo.conditionals import Gaussian
from zoo.full_gaussian import FullGaussian
from zoo.iaf import IAF
from zoo.vae import VAE
from zoo.vamp_prior import VampPrior


def by_hand(vae: VAE) -> MixtureSameFamily:
    rows = vae.prior_model.pseudo_inputs
    loc, log_scale = vae.encoder_model.parameters_of.network(rows).chunk(2, -1)
    return MixtureSameFamily(
        Categorical(logits=torch.zeros(len(rows)).double()), Independent(Normal(loc, log_scale.exp()), 1)
    )


def made(components: int = 5, **slots) -> VAE:
    torch.manual_seed(0)
    prior = partial(VampPrior, components=components)
    return shaken(VAE(6, latent=2, hidden=(7,), prior=prior, **slots))


def test_the_density_is_the_mixture_written_by_hand(monkeypatch):
    vae, z = made(), normal(4, 9, 2)
    torch.testing.assert_close(vae.prior().log_prob(z), by_hand(vae).log_prob(z))
    torch.testing.assert_close(vae.prior().mean, by_hand(vae).mean)
    monkeypatch.setattr(zoo.vamp_prior, "NUMBERS", 20)  # two rows at a time
    torch.testing.assert_close(vae.prior().log_prob(z), by_hand(vae).log_prob(z))
    assert vae.prior().expand([9]).log_prob(z).shape == (4, 9)


@pytest.mark.parametrize("encoder", [FullGaussian, IAF])
def test_any_encoder_serves(encoder):
    vae = made(encoder=partial(encoder, hidden=(6,)))
    z = normal(3, 2)
    parts = [vae.encoder_model.distribution(u.expand(3, 6)).log_prob(z) for u in vae.prior_model.pseudo_inputs]
    torch.testing.assert_close(vae.prior().log_prob(z), torch.stack(parts).logsumexp(0) - torch.tensor(5.0).log())


def test_draws_are_of_the_mixture():
    vae = made(3)
    torch.manual_seed(1)
    draws = vae.prior().sample((40_000,))
    expected = by_hand(vae)
    error = expected.variance.sqrt() / 200
    assert ((draws.mean(0) - expected.mean).abs() < 4 * error).all()
    assert ((draws.var(0) / expected.variance - 1).abs() < 0.05).all()


def test_the_encoder_is_shared_and_counted_once():
    vae = made()
    names = [name for name in vae.state_dict() if name.startswith("prior_model")]
    assert names == ["prior_model.pseudo_inputs", "prior_model.started"]
    assert [name for name, _ in vae.prior_model.named_parameters()] == ["pseudo_inputs"]
    vae.prior().log_prob(normal(3, 2)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in vae.encoder_model.parameters())
    with pytest.raises(ValueError, match=r"VampPrior is of \[2\] given a row, but Gaussian is of \[2\] given None"):
        VampPrior(2).share(Gaussian(2))


@pytest.mark.parametrize("objective", [None, PyroElbo(), ImportanceWeightedElbo(2)])
@pytest.mark.parametrize("count", [5, 40])
def test_a_fit_begins_with_rows_of_the_data(objective, count):
    vae = made(count).float()
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (20, 6), generator=generator).float()
    x[10:] += 4  # told apart from the first half
    vae.initialise(x)
    seen = vae.prior_model.pseudo_inputs.detach().clone()
    gaps = torch.cdist(seen, x)
    assert gaps.amin(1).max() < 0.1  # each is a row, a little off it
    assert len(seen.unique(dim=0)) == count
    assert (seen.mean(1) > 3).float().mean().sub(0.5).abs() <= 0.1  # of all the data, not of its first rows
    vae.initialise(x + 1)
    assert torch.equal(vae.prior_model.pseudo_inputs, seen)
    x = x.clamp_max(1)
    other = made(count).float()
    fit(other, x, objective, steps=1, lr=1e-5, batch_size=4, progress=False)
    assert torch.cdist(other.prior_model.pseudo_inputs.detach(), x).amin(1).max() < 0.1


def test_alone_it_is_a_density_with_an_encoder_of_its_own():
    torch.manual_seed(0)
    prior = VampPrior((2, 3), components=4, hidden=(5,))
    x = torch.randn(200, 2, 3) + 3
    before = prior.log_prob(x).mean()
    fit(prior, x, steps=60, lr=0.02, progress=False)
    assert prior.log_prob(x).mean() > before + 1
    assert prior.sample(3).shape == (3, 2, 3)
