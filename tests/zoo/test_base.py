"""What the kinds derive from a family's parts: the pair's checks, reconstruction, and what a slot refuses."""

from functools import partial

import pytest
import torch

from zoo.conditionals import Bernoulli, Categorical, Gaussian
from zoo.distributions import Bits
from zoo.rbm import RBM
from zoo.realnvp import RealNVP
from zoo.vae import VAE


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.float64])
def test_bits_of_any_dtype_have_one_log_prob(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, x = torch.randn(5, 3, generator=generator), torch.randint(2, (5, 3), generator=generator)
    p = logits.sigmoid()
    expected = torch.where(x.bool(), p, 1 - p).log().sum(1)
    torch.testing.assert_close(Bits(logits).log_prob(x.to(dtype)), expected)
    torch.testing.assert_close(Bits(logits[0]).log_prob(x.to(dtype)), Bits(logits[0]).log_prob(x.float()))


@pytest.mark.parametrize("ask", ["model", "guide"])
@pytest.mark.parametrize(
    "model", [Gaussian(3), RBM(3, hidden=2), VAE(3, latent=2, hidden=(4,))], ids=lambda m: type(m).__name__
)
def test_the_pair_refuses_rows_it_would_broadcast(model, ask: str) -> None:
    with pytest.raises(ValueError, match=rf"{type(model).__name__} models x of shape \[N, 3\], but was given \[5, 1\]"):
        getattr(model, ask)(torch.zeros(5, 1))
    with pytest.raises(ValueError, match="takes no context"):
        getattr(model, ask)(torch.zeros(5, 3), context=torch.zeros(5, 2))


def test_the_pair_of_a_conditional_model_wants_its_context() -> None:
    model = Gaussian(3, context_shape=2)
    with pytest.raises(ValueError, match="give context"):
        model.model(n=4)
    with pytest.raises(ValueError, match="x has 5 rows, but context has 4"):
        model.model(torch.zeros(5, 3), context=torch.zeros(4, 2))


def test_a_decoder_without_a_mean_reconstructs_by_a_draw() -> None:
    torch.manual_seed(0)
    vae = VAE(4, latent=2, hidden=(4,), decoder=partial(RealNVP, layers=2, hidden=4))
    x = torch.randn(6, 4)
    torch.manual_seed(1)
    expected = vae.decoder(vae.encoder(x).sample()).sample()
    torch.manual_seed(1)
    assert torch.equal(vae.reconstruct(x), expected)
    bits = VAE(4, latent=2, hidden=(4,))
    torch.manual_seed(1)
    mean = bits.decoder(bits.encoder(x).sample()).mean
    torch.manual_seed(1)
    assert torch.equal(bits.reconstruct(x), mean)


@pytest.mark.parametrize("slot", ["prior", "encoder"])
@pytest.mark.parametrize("family", [Bernoulli, partial(Categorical, levels=3)])
def test_a_discrete_code_is_refused_by_the_slots_name(slot: str, family) -> None:
    with pytest.raises(ValueError, match=f"{slot}: (Bernoulli|Categorical) is discrete, but z is a vector of reals"):
        VAE(4, latent=2, **{slot: family})
