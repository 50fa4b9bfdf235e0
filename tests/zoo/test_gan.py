"""The GAN's networks, bounds, spectral norms and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inference.fit import fit
from inference.protocols import Generator, offers
from zoo.base import Refusal
from zoo.gan import GAN


@pytest.mark.parametrize("context_size", [None, 3])
def test_every_layer_of_the_critic_has_spectral_norm_one(context_size):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GAN((1, 4, 4), context_shape=context_size, hidden=(24, 12), gain=5.0)
        layers = [layer for layer in model.critic.modules() if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer in layers:
                layer.parametrizations.weight.original.mul_(7.0)
        context = None if context_size is None else torch.randn(8, context_size)
        x, y = torch.randn(8, 1, 4, 4), torch.randn(8, 1, 4, 4)
        model.train()
        for _ in range(100):
            model.critic(x, context)
    model.eval()
    assert len(layers) == 3
    for layer in layers:
        assert 0.95 < float(torch.linalg.svdvals(layer.weight.detach())[0]) < 1 + 1e-3
    steepness = (model.critic(x, context) - model.critic(y, context)).abs() / (x - y).flatten(1).norm(dim=1)
    assert (steepness <= 5.0 * 1.01).all()


def test_rows_lie_within_the_bounds_and_the_support_says_so():
    model = GAN(5, bounds=(-1.0, 3.0))
    noise = model.noise(200) * 100
    x = model.generate(noise)
    raw = model.generator(noise)
    assert torch.allclose(x, -1 + 4 / (1 + (-raw.double()).exp()).float(), atol=1e-5)
    assert x.min() >= -1 and x.max() <= 3
    assert model.support.check(x).all()
    free = GAN(5)
    assert torch.equal(free.generate(free.noise(3) * 0), free.generator(torch.zeros(3, 16)))


def test_data_outside_the_bounds_is_refused():
    with pytest.raises(ValueError, match="row 1"):
        fit(GAN(2, bounds=(0.0, 1.0)), torch.tensor([[0.5, 0.5], [0.5, 1.5]]), steps=1, progress=False)


def test_the_context_reaches_both_networks():
    model = GAN((2, 2), context_shape=3, latent=4)
    noise, context = model.noise(6), torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    x = model.generate(noise, context)
    assert x.shape == (6, 2, 2)
    assert not torch.allclose(x, model.generate(noise, context.flip(0)))
    model.eval()
    logits = model.critic(x, context)
    assert logits.shape == (6,)
    assert not torch.allclose(logits, model.critic(x, context.flip(0)))
    assert model.sample(6, context=context).shape == (6, 2, 2)
    with pytest.raises(ValueError, match="is conditional"):
        model.sample(6)


def test_noise_is_standard_normal_and_follows_the_model():
    model = GAN(2, latent=3).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = model.noise(100_000)
    assert noise.dtype == torch.float64
    assert noise.shape == (100_000, 3)
    assert noise.mean(0).abs().max() < 0.02
    assert (noise.T.cov() - torch.eye(3, dtype=torch.float64)).abs().max() < 0.02
    assert model.sample(4).dtype == torch.float64


def test_parts_of_ones_own_are_used_built_or_to_be_built():
    def build(event_shape, *, context_shape, latent):
        return nn.Linear(latent, event_shape.numel())

    critic = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    model = GAN(3, latent=2, generator=build, critic=critic)
    assert isinstance(model.generator, nn.Linear)
    assert model.critic is critic
    assert model.sample(4).shape == (4, 3)
    fit(model, torch.zeros(8, 3), steps=2, batch_size=4, progress=False)


def test_it_is_a_generator_to_the_layer_and_refuses_a_likelihood():
    model = GAN(2)
    assert offers(model, Generator)
    assert "critic" in model.capabilities
    with pytest.raises(Refusal, match="has no log_prob: an implicit model has no density"):
        model.log_prob(torch.zeros(1, 2))
    with pytest.raises(Refusal, match="cannot score x"):
        model.model(torch.zeros(1, 2))
    with pytest.raises(Refusal, match="no guide"):
        model.guide(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"latent": 0}, ValueError, "latent must be at least 1, not 0"),
        ({"gain": 0.0}, ValueError, "gain must be above 0"),
        ({"bounds": (1.0, 0.0)}, ValueError, "low below high"),
        ({"critic": lambda shape, **_: "critic"}, TypeError, "critic must be a torch module"),
    ],
)
def test_wrong_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        GAN(2, **arguments)
