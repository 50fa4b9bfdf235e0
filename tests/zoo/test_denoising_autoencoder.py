"""Corruptions against their closed forms; the denoising pair against Pyro; what it denoises."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import zoo
from inference import fit
from inference.objectives import Denoising, PyroElbo, default_objective
from zoo.conditionals import Categorical, HomoscedasticGaussian
from zoo.corruption import Corruption, GaussianNoise, Masking, SaltAndPepper, as_corruption
from zoo.denoising_autoencoder import DenoisingAutoencoder
from zoo.vae import VAE

DRAWS = 60_000


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("corruption", "masses"),
    [
        (Masking(0.3, value=-2.0), {0.25: {0.25: 0.7, -2.0: 0.3}, -2.0: {-2.0: 1.0}}),
        (SaltAndPepper(0.4), {0.25: {0.25: 0.6, 0.0: 0.2, 1.0: 0.2}, 1.0: {0.0: 0.2, 1.0: 0.8}}),
        (SaltAndPepper(0.5, low=-1.0, high=3.0), {3.0: {-1.0: 0.25, 3.0: 0.75}}),
    ],
)
def test_replaced_numbers_have_their_masses(corruption: Corruption, masses: dict) -> None:
    for value, found in masses.items():
        x = torch.full((1, 2), value, dtype=torch.float64)
        distribution = corruption.distribution(x)
        drawn = distribution.sample((DRAWS,))[:, 0]
        for point, mass in found.items():
            other = torch.tensor([[point, value]], dtype=torch.float64)
            expected = math.log(mass) + math.log(found[value])
            assert distribution.log_prob(other).item() == pytest.approx(expected, rel=1e-12)
            assert (drawn == point).double().mean(0).sub(mass).abs().max() < 0.01
        joint = (drawn[:, 0] == value) & (drawn[:, 1] == value)
        assert abs(joint.double().mean() - found[value] ** 2) < 0.01  # each number by itself
        assert distribution.log_prob(torch.tensor([[0.123, value]])) == -math.inf
        assert sum(found.values()) == pytest.approx(1.0)


def test_gaussian_noise_is_the_normal_distribution() -> None:
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    distribution = GaussianNoise(0.7).distribution(x)
    y = torch.randn(5, 3, dtype=torch.float64)
    torchs = torch.distributions.Normal(x, 0.7)
    torch.testing.assert_close(distribution.log_prob(y), torchs.log_prob(y).sum(-1))
    drawn = distribution.sample((DRAWS,))[:, 0]
    assert (drawn.mean(0) - x[0]).abs().max() < 0.012
    assert (drawn.T.cov() - 0.49 * torch.eye(3)).abs().max() < 0.012


@pytest.mark.parametrize("corruption", [Masking(0.3), SaltAndPepper(0.4), GaussianNoise(0.5)], ids=repr)
@pytest.mark.parametrize("context", [None, 3])
def test_the_objective_is_pyros_elbo_and_the_reconstruction_of_the_clean_row(corruption, context) -> None:
    model = DenoisingAutoencoder(6, corruption=corruption, latent=2, hidden=(8,), context_shape=context).double()
    x = torch.rand(9, 6).round().double()
    c = None if context is None else torch.randn(9, context).double()
    found = []
    for objective in (Denoising(), PyroElbo()):
        model.zero_grad()
        torch.manual_seed(3)
        loss = objective(model, x, c).value
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    torch.manual_seed(3)
    noisy = corruption.distribution(x).sample()
    joined = noisy if c is None else torch.cat([noisy, c], -1)
    z = model.encoder_model.network(joined).sin()
    logits = model.decoder_model.parameters_of(z if c is None else torch.cat([z, c], -1))
    clean = (x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()).sum(-1)
    torch.testing.assert_close(found[0][0], -clean.mean() + 2 * math.log(2))
    assert isinstance(default_objective(model), Denoising)
    assert not torch.equal(noisy, x)


def test_the_expected_reconstruction_by_enumeration() -> None:
    """The mean of the loss over draws is the sum over all 2^3 masks, each with its probability."""
    model = DenoisingAutoencoder(3, corruption=Masking(0.3), latent=2, hidden=(8,)).double()
    x = torch.ones(1, 3).double()
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3)
    probability = (0.3 ** (masks == 0).sum(-1)) * (0.7 ** (masks == 1).sum(-1))
    exact = (probability * -model.decoder(model.code(masks)).log_prob(x)).sum() + 2 * math.log(2)
    losses = torch.stack([Denoising()(model, x.expand(100, 3)).value.detach() for _ in range(300)])
    assert abs(losses.mean() - exact) < 4 * losses.std() / 300**0.5


def test_a_vae_can_be_told_to_denoise_too() -> None:
    """The denoising variational criterion asks nothing but an encoder, a decoder, a prior and a corruption."""
    vae, x = VAE(6, latent=2, hidden=(8,)).double(), torch.rand(5, 6).round().double()
    vae.corrupted = Masking(0.3).distribution
    torch.manual_seed(1)
    loss = Denoising()(vae, x).value
    torch.manual_seed(1)
    q = vae.encoder(Masking(0.3).distribution(x).sample())
    z = q.rsample()
    kl = 0.5 * (q.loc**2 + (2 * q.log_scale).exp() - 1 - 2 * q.log_scale).sum(-1)
    torch.testing.assert_close(loss, (kl - vae.decoder(z).log_prob(x)).mean())


def test_the_walk_keeps_the_datas_distribution_where_the_decoder_is_the_posterior() -> None:
    levels, rate = 4, 0.5
    p = torch.tensor([0.4, 0.1, 0.3, 0.2])
    spread = torch.zeros(levels, levels)  # C(x' | x), rows x
    spread.fill_diagonal_(1 - rate)
    spread[:, [0, 3]] += rate / 2
    posterior = ((p[:, None] * spread) / (p @ spread)).clamp_min(1e-12).log()  # log p(x | x'), [x, x']
    categorical = partial(Categorical, levels=levels, hidden=())

    class OneHot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (nn.functional.one_hot(x.long()[:, 0], levels).float() * 2 - 1) * torch.pi / 2

    model = DenoisingAutoencoder(
        1, corruption=SaltAndPepper(rate, 0, levels - 1), latent=levels, encoder=OneHot(), decoder=categorical
    )
    with torch.no_grad():
        linear = model.decoder_model.parameters_of.network[0]
        linear.weight.copy_(posterior / 2)
        linear.bias.copy_(posterior.sum(1) / 2)
    start = torch.multinomial(p, DRAWS, replacement=True)[:, None]
    for begun, steps in ((start, 1), (torch.ones_like(start), 40)):
        share = model.walk(begun, steps)[:, 0].bincount(minlength=levels) / DRAWS
        assert (share - p).abs().max() < 0.01


@pytest.fixture(scope="module")
def digits():
    return zoo.datasets.load("digits").binarised().flat()


def test_it_denoises_digits_it_has_not_seen(digits) -> None:
    """Flipped pixels, held out: nearer in squared error than left as they are, and likelier than what any rule of
    single pixels can say that knows how often a pixel flips."""
    model = DenoisingAutoencoder(64, corruption=SaltAndPepper(0.2), latent=48, hidden=(128,))
    fit(model, digits.train.x, steps=500, lr=3e-3, seed=1, progress=False)
    x = digits.test.x
    noisy = model.corrupted(x).sample()
    error = (model.denoise(noisy) - x).square().mean()
    assert error < 0.75 * (noisy - x).square().mean()
    likelihood = model.decoder(model.code(noisy)).log_prob(x).mean().detach()
    ones = x.mean(0)  # the pixel's own share of ones, and what it shows: Bayes' rule for each pixel alone
    shown = torch.where(noisy == 1, torch.tensor(0.9), torch.tensor(0.1)) * ones
    rule = shown / (shown + torch.where(noisy == 1, torch.tensor(0.1), torch.tensor(0.9)) * (1 - ones))
    by_pixel = -nn.functional.binary_cross_entropy(rule, x, reduction="none").sum(-1).mean()
    assert likelihood > by_pixel + 1.0


def test_greys_are_denoised_and_codes_corrupted() -> None:
    grey = DenoisingAutoencoder((2, 3), corruption=GaussianNoise(0.3), latent=4, decoder=HomoscedasticGaussian)
    x = torch.randn(7, 2, 3)
    assert grey.denoise(grey.corrupted(x).sample()).shape == x.shape
    codes = DenoisingAutoencoder(4, corruption=Masking(0.5), latent=2, decoder=partial(Categorical, levels=5))
    x = torch.randint(5, (8, 4))
    assert codes.walk(x, 2).shape == x.shape
    fit(codes, x, steps=2, batch_size=4, progress=False)
    with pytest.raises(ValueError, match="models x of shape"):
        grey.denoise(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"kind": "maskin"}, "no kind 'maskin'; did you mean masking"),
        ({"kind": "masking", "rat": 0.2}, "rat is not a parameter of masking; did you mean rate"),
        ({"kind": "gaussian", "scale": "wide"}, "scale is 'wide', but a number was expected"),
        ({"kind": "salt_and_pepper", "rate": 1.5}, "rate must be between 0 and 1, not 1.5"),
        ({"kind": "gaussian", "scale": 0.0}, "scale must be above 0"),
    ],
)
def test_wrong_corruptions_are_refused(declared, message) -> None:
    with pytest.raises(ValueError, match=message):
        as_corruption(declared)


def test_tables_declare_corruptions() -> None:
    assert as_corruption({"kind": "masking", "rate": 0.2, "value": 3}) == Masking(0.2, 3)
    assert as_corruption({"kind": "gaussian"}) == GaussianNoise()
    assert as_corruption(SaltAndPepper(0.1)) == SaltAndPepper(0.1)
