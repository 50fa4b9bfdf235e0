"""The autoencoder: a true pair whose ELBO is the reconstruction's, and which has no likelihood to offer."""

from __future__ import annotations

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import zoo
from inference import diagnose, evaluate, fit, log_likelihood, query
from inference.importance import log_weights
from inference.likelihood import ImportanceWeighted
from inference.objectives import Elbo, PyroElbo, default_objective
from inference.schedules import cosine
from zoo.autoencoder import Autoencoder
from zoo.base import Refusal
from zoo.coding import Box
from zoo.conditionals import Categorical, HomoscedasticGaussian
from zoo.vae import VAE


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def by_hand(model: Autoencoder, x: Tensor) -> Tensor:
    """-log p(x | f(x)) of bits, a number a row."""
    logits = model.decoder_model.parameters_of(model.encoder_model(x).sin())
    return -(x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()).sum(-1)


@pytest.mark.parametrize("context", [None, 3])
def test_its_elbo_is_pyros_and_the_reconstruction_but_for_a_constant(context) -> None:
    model = Autoencoder(6, latent=2, hidden=(8,), context_shape=context).double()
    x = torch.rand(9, 6).round().double()
    c = None if context is None else torch.randn(9, context).double()
    gradients = []
    for objective in (Elbo(), PyroElbo()):
        model.zero_grad()
        loss = objective(model, x, c).value
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    if c is None:
        torch.testing.assert_close(gradients[0][0], by_hand(model, x).mean() + 2 * math.log(2))
    torch.testing.assert_close(gradients[0][0], model.anomaly_score(x, context=c).mean() + 2 * math.log(2))
    assert isinstance(default_objective(model), Elbo)


def test_the_score_is_minus_the_reconstructions_likelihood_and_draws_nothing() -> None:
    model = Autoencoder(6, latent=2, hidden=(8,)).double()
    x = torch.rand(9, 6).round().double()
    torch.testing.assert_close(model.anomaly_score(x), by_hand(model, x))
    assert torch.equal(model.anomaly_score(x), model.anomaly_score(x))
    torch.testing.assert_close(model.encode(x), model.encoder_model(x).sin())
    torch.testing.assert_close(model.reconstruct(x), model.decoder_model.parameters_of(model.encode(x)).sigmoid())


def test_codes_and_scores_are_questions_to_the_kind() -> None:
    vae, x = VAE(6, latent=2, hidden=(8,)).double(), torch.rand(4, 6).round().double()
    torch.manual_seed(5)
    score = vae.anomaly_score(x)
    torch.manual_seed(5)
    torch.testing.assert_close(score, -vae.decoder(vae.encoder(x).sample()).log_prob(x).detach())


def test_there_is_no_likelihood_and_it_says_what_to_ask() -> None:
    model, x = Autoencoder(6, latent=2, hidden=(8,)), torch.rand(20, 6).round()
    assert model.likelihood is None
    with pytest.raises(Refusal, match="bounds no likelihood; ask anomaly_score"):
        model.log_prob(x)
    with pytest.raises(TypeError, match="offers no likelihood: ask anomaly_score"):
        log_likelihood(model, x)
    with pytest.raises(TypeError, match="as a point, whose density is infinite"):
        log_likelihood(model, x, method=ImportanceWeighted(5))
    with pytest.raises(ValueError, match="ask encode for the code"):
        query(model, "z", given={"x": x})
    assert any("offers no likelihood" in sentence for sentence in diagnose(model, x).verdict)
    assert evaluate({"plain": model}, x, samples=20).table.loc["plain", "likelihood"] == "none"


class _Pair:
    """A user's pair: z real or a code, and a guide that proposes it as a point."""

    def __init__(self, prior: dist.TorchDistribution, point: Tensor) -> None:
        self.prior, self.point = prior, point

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior)
            pyro.sample("x", dist.Normal(z.double(), 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.point.expand(len(x))))


def test_a_point_is_refused_of_reals_and_bounds_where_it_has_a_mass() -> None:
    x = torch.tensor([0.3, 1.2, -0.4]).double()
    with pytest.raises(TypeError, match="_Pair proposes 'z' as a point"):
        log_weights(_Pair(dist.Normal(torch.zeros(()).double(), 1.0), torch.tensor(0.2).double()), x)
    bits = _Pair(dist.Bernoulli(torch.tensor(0.25).double()), torch.tensor(1.0).double())
    weights = log_weights(bits, x).log_weights[0]
    normal = dist.Normal(torch.zeros(()).double(), 1.0)
    torch.testing.assert_close(weights, math.log(0.25) + normal.log_prob(x - 1))
    exact = torch.logaddexp(math.log(0.25) + normal.log_prob(x - 1), math.log(0.75) + normal.log_prob(x))
    assert (weights < exact).all()


def test_the_box_is_the_uniform_distribution() -> None:
    box = Box(torch.Size([3]), torch.zeros((), dtype=torch.float64))
    torchs = torch.distributions.Uniform(-torch.ones(3).double(), 1.0, validate_args=False)
    z = torch.tensor([[0.1, -0.9, 0.5], [0.0, 1.5, 0.0]]).double()
    torch.testing.assert_close(box.log_prob(z), torchs.log_prob(z).sum(-1))
    assert box.log_prob(torch.ones(1, 3).double()).isfinite().all()  # where the sine rounds to its bound
    draws = box.sample((40_000,))
    assert draws.dtype == torch.float64
    assert draws.mean(0).abs().max() < 0.015
    assert (draws.var(0) - 1 / 3).abs().max() < 0.01
    assert draws.abs().max() <= 1


def test_decoders_of_every_kind_and_networks_of_ones_own() -> None:
    def build(event_shape, *, context_shape, latent):
        return nn.Sequential(nn.Flatten(), nn.Linear(event_shape.numel(), latent))

    grey = Autoencoder((2, 3), latent=2, hidden=(8,), encoder=build, decoder=HomoscedasticGaussian)
    codes = Autoencoder(
        4, latent=2, hidden=(8,), decoder=lambda s, context_shape: Categorical(s, levels=5, context_shape=context_shape)
    )
    for model, x in ((grey, torch.randn(12, 2, 3)), (codes, torch.randint(5, (12, 4)))):
        assert model.sample(3).shape == (3, *model.event_shape)
        assert model.encode(x).abs().max() <= 1
        history = fit(model, x, steps=2, batch_size=6, progress=False).history
        assert history["loss"].notna().all()
    with pytest.raises(TypeError, match="encoder must be a torch module"):
        Autoencoder(4, encoder=lambda shape, **_: "network")
    with pytest.raises(ValueError, match="latent must be at least 1, not 0"):
        Autoencoder(4, latent=0)


def test_a_linear_one_finds_the_principal_plane_and_scores_what_lies_off_it() -> None:
    """Squared error through a linear code is least on the principal components (small codes are hardly bent)."""
    basis = torch.linalg.qr(torch.randn(8, 2)).Q
    x = torch.randn(800, 2) * torch.tensor([1.5, 1.0]) @ basis.T + 0.2 * torch.randn(800, 8)
    linear = partial(HomoscedasticGaussian, hidden=())
    model = Autoencoder(8, latent=2, encoder=nn.Linear(8, 2), decoder=linear)
    with torch.no_grad():
        model.encoder_model.weight.mul_(0.1)
    fit(model, x, steps=800, batch_size=None, lr=3e-2, schedule=cosine(800), progress=False)
    plane = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    least = plane.S[2:].square().sum() / len(x)
    error = (model.reconstruct(x) - x).square().sum(-1).mean()
    assert least * 0.999 < error < 1.1 * least
    torch.testing.assert_close(model.decoder_model.log_scale.exp().item(), (error / 8).sqrt().item(), rtol=0.02, atol=0)
    assert model.anomaly_score(x + 3 * plane.Vh[2]).min() > model.anomaly_score(x).quantile(0.99)


def test_the_codes_of_digits_do_not_die() -> None:
    """What a row is can be read from its code, held out, at a rate that makes codes squashed by tanh saturate."""
    digits = zoo.datasets.load("digits").binarised().flat()
    model = Autoencoder(64, latent=8)
    fit(model, digits.train.x, steps=250, lr=4e-3, progress=False)
    x = digits.test.x
    ones = digits.train.x.mean(0).clamp(0.01, 0.99)
    alone = -(x * ones.log() + (1 - x) * (1 - ones).log()).sum(-1).mean()  # each pixel by itself, no code
    assert model.anomaly_score(x).mean() < 0.55 * alone
    assert model.encode(x).std(0).min() > 0.3  # the box's own is 0.58
    assert model.anomaly_score(1 - x).min() > model.anomaly_score(x).quantile(0.99)  # negatives are strange
