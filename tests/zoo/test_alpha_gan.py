"""alpha-GAN: what it adds to a GAN, and that it leaves out no mode of what it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inference import fit, log_likelihood
from inference.objectives import AutoEncodingGAN
from zoo.alpha_gan import AlphaGAN
from zoo.base import Refusal


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_rows_are_rebuilt_of_their_codes_within_the_bounds() -> None:
    model, x = AlphaGAN((2, 2), latent=3, hidden=(6,), bounds=(-1.0, 3.0)), torch.randn(5, 2, 2)
    z = model.encode(x)
    assert z.shape == (5, 3) and not z.requires_grad
    assert torch.equal(z, model.encoder_model(x))
    expected = -1 + 4 * model.generator(z).sigmoid()
    torch.testing.assert_close(model.reconstruct(x), expected)
    with pytest.raises(ValueError, match=r"AlphaGAN models x of shape \[N, 2, 2\]"):
        model.encode(x.flatten(1))


def test_the_context_reaches_all_four_networks() -> None:
    model, x, c = AlphaGAN(2, latent=3, hidden=(6,), context_shape=2), torch.randn(5, 2), torch.randn(5, 2)
    z = torch.randn(5, 3)
    for one, other in (
        (model.encode(x, context=c), model.encode(x, context=c + 1)),
        (model.generate(z, c), model.generate(z, c + 1)),
        (model.critic(x, c), model.critic(x, c + 1)),
        (model.code_critic(z, c), model.code_critic(z, c + 1)),
    ):
        assert not torch.allclose(one, other)
    torch.testing.assert_close(model.reconstruct(x, context=c), model.generate(model.encode(x, context=c), c))


def test_the_code_critic_is_no_steeper_than_code_gain() -> None:
    model, z, y = AlphaGAN(2, latent=3, hidden=(8,), code_gain=5.0), torch.randn(50, 3), torch.randn(50, 3)
    for _ in range(50):
        model.code_critic(z)
    model.eval()
    steepness = (model.code_critic(z) - model.code_critic(y)).abs() / (z - y).norm(dim=1)
    assert (steepness <= 5.0 * 1.01).all() and steepness.max() > 0.5


def test_it_has_no_likelihood_and_takes_networks_of_ones_own() -> None:
    with pytest.raises(TypeError, match=r"implicit model has no density|no likelihood"):
        log_likelihood(AlphaGAN(2, latent=2, hidden=(4,)), torch.randn(3, 2))
    with pytest.raises(Refusal, match="AlphaGAN has no encoder"):
        _ = AlphaGAN(2).encoder
    own = nn.Linear(2, 4)
    assert AlphaGAN(2, latent=4, encoder=own).encoder_model is own
    with pytest.raises(TypeError, match="code_critic must be a torch module"):
        AlphaGAN(2, code_critic=lambda *_, **__: 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="code_gain must be above 0"):
        AlphaGAN(2, code_gain=0.0)


def test_it_draws_both_of_two_clusters_and_codes_them_as_its_noise() -> None:
    centres = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    x = centres[torch.randint(2, (512,))] + 0.1 * torch.randn(512, 2)
    model = AlphaGAN(2, latent=2, hidden=(32, 32))
    rates = {"encoder": 3e-3, "generator": 3e-3, "critic": 6e-3, "code_critic": 6e-3}
    adam = lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9))  # noqa: E731
    told = {"steps": 300, "lr": rates, "optimizer": adam, "every": 100, "progress": False}
    history = fit(model, x, AutoEncodingGAN(2.0), **told).history
    assert {"encoder.reconstruction", "encoder.ratio", "critic.rebuilt", "code_critic.fake"} <= set(history.columns)
    distance, nearest = torch.cdist(model.sample(2000), centres).min(1)
    near = distance < 0.4
    shares = torch.bincount(nearest[near], minlength=2) / 2000
    assert near.float().mean() > 0.6
    assert shares.min() > 0.2
    assert (model.reconstruct(x) - x).norm(dim=1).mean() < 0.2
    z = model.encode(x)
    assert z.mean(0).abs().max() < 0.4 and (z.std(0) - 1).abs().max() < 0.5
