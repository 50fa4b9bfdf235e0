"""log_likelihood and importance weights, held to closed forms."""

import math
from functools import partial
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.importance import NUMBERS, blocks, log_weights
from inference.likelihood import Ais, ElboBound, Exact, ImportanceWeighted, LogLikelihood, log_likelihood
from inference.running import LogMean, Mean
from zoo.conditionals import Bernoulli, Gaussian, HomoscedasticGaussian, StandardGaussian
from zoo.vae import VAE

DIMS, LATENT, ROWS = 5, 2, 40


def linear_vae() -> VAE:
    """x = W z + b + s noise, z standard normal, with an encoder that is a little off the posterior."""
    torch.manual_seed(0)
    vae = VAE(
        DIMS,
        latent=LATENT,
        hidden=(),
        encoder=partial(Gaussian, hidden=()),
        decoder=partial(HomoscedasticGaussian, hidden=()),
    ).double()
    with torch.no_grad():
        vae.decoder_model.log_scale.fill_(-0.3)
        weight, bias, variance = parts(vae)
        posterior = torch.linalg.inv(torch.eye(LATENT).double() + weight.T @ weight / variance)
        mean = posterior @ weight.T / variance
        linear = vae.encoder_model.parameters_of.network[0]
        linear.weight.copy_(torch.cat([mean, torch.zeros(LATENT, DIMS)]))
        scale = posterior.diagonal().log() / 2
        linear.bias.copy_(torch.cat([0.4 - mean @ bias, scale]))
    return vae


def parts(vae: VAE) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    linear = vae.decoder_model.parameters_of.network[0]
    return linear.weight.detach(), linear.bias.detach(), (2 * vae.decoder_model.log_scale.detach()).exp()


def marginal(vae: VAE, x: torch.Tensor) -> torch.Tensor:
    weight, bias, variance = parts(vae)
    cov = weight @ weight.T + variance * torch.eye(DIMS).double()
    return torch.distributions.MultivariateNormal(bias, cov).log_prob(x)


@pytest.fixture
def vae() -> VAE:
    return linear_vae()


@pytest.fixture
def x(vae: VAE) -> torch.Tensor:
    torch.manual_seed(1)
    return vae.sample(ROWS)


class Bare:
    """A user's own Pyro pair: no distributions to ask for, only a model and a guide."""

    def __init__(self, vae: VAE) -> None:
        self.vae = vae

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENT).double(), 1.0).to_event(1))
            weight, bias, variance = parts(self.vae)
            return pyro.sample("x", dist.Normal(z @ weight.T + bias, variance.sqrt()).to_event(1), obs=x)

    def guide(self, x, *, context=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.vae.encoder(x))


def test_the_importance_weighted_bound_converges_to_the_exact_likelihood(vae):
    torch.manual_seed(1)
    x = vae.sample(1000)
    exact = marginal(vae, x)
    gaps = []
    for draws in (1, 4, 16, 2000):
        bound = log_likelihood(vae, x, method=ImportanceWeighted(draws))
        assert bound.kind == "lower bound"
        gaps.append((exact - bound.values).mean().item())
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] > -0.003
    assert gaps[0] > 0.1 and gaps[3] < 0.003


def test_each_row_is_within_its_own_standard_error(vae, x):
    bound = log_likelihood(vae, x, method=ImportanceWeighted(20_000))
    z_scores = (bound.values - marginal(vae, x)) / bound.standard_error
    assert z_scores.abs().max() < 4.5
    assert 0.6 < z_scores.std() < 1.5


def test_the_elbo_is_below_by_the_divergence_of_the_guide(vae, x):
    weight, bias, variance = parts(vae)
    precision = torch.eye(LATENT).double() + weight.T @ weight / variance
    posterior = torch.distributions.MultivariateNormal(
        (x - bias) @ weight @ torch.linalg.inv(precision) / variance, precision_matrix=precision
    )
    guide = vae.encoder(x)
    proposal = torch.distributions.MultivariateNormal(
        guide.loc, torch.diag_embed(guide.stddev.expand_as(guide.loc).square())
    )
    divergence = torch.distributions.kl_divergence(proposal, posterior).detach()
    elbo = log_likelihood(vae, x, method=ElboBound(20_000))
    z_scores = (marginal(vae, x) - divergence - elbo.values) / elbo.standard_error
    assert z_scores.abs().max() < 4.5
    assert 0.6 < z_scores.std() < 1.5


def test_weights_of_an_exact_proposal_do_not_vary():
    torch.manual_seed(0)
    vae = VAE(1, latent=1, hidden=(), decoder=partial(HomoscedasticGaussian, hidden=())).double()
    x = vae.sample(7)
    with torch.no_grad():
        weight, bias, variance = parts(vae)
        precision = 1 + weight.square() / variance
        linear = vae.encoder_model.parameters_of.network[0]
        linear.weight.copy_(torch.cat([weight / variance / precision, torch.zeros(1, 1)]))
        linear.bias.copy_(
            torch.cat([-(weight * bias / variance / precision).flatten(), -precision.log().flatten() / 2])
        )
    weighted = log_weights(vae, x, None, 50)
    assert weighted.log_weights.std(0).max() < 1e-12
    cov = weight.square() + variance
    exact = torch.distributions.Normal(bias, cov.sqrt().flatten()).log_prob(x).flatten()
    torch.testing.assert_close(weighted.log_weights[0], exact, rtol=0, atol=1e-12)
    assert log_likelihood(vae, x).standard_error.max() < 1e-7


def test_a_users_pair_gives_what_the_direct_path_gives(vae, x):
    torch.manual_seed(3)
    direct = log_weights(vae, x)
    torch.manual_seed(3)
    traced = log_weights(Bare(vae), x)
    torch.testing.assert_close(traced.z, direct.z)
    torch.testing.assert_close(traced.log_weights, direct.log_weights)
    bound = log_likelihood(Bare(vae), x, method=ImportanceWeighted(200))
    assert (bound.values - marginal(vae, x)).abs().mean() < 0.1


def test_weights_are_differentiable(vae, x):
    z, weights = log_weights(vae, x, None, 3)
    assert z.shape == (3, ROWS, LATENT)
    weights.logsumexp(0).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


def test_a_context_belongs_to_its_row():
    torch.manual_seed(0)
    vae = VAE(4, latent=2, context_shape=3, hidden=(8,))
    x, context = torch.bernoulli(torch.full((6, 4), 0.5)), torch.randn(6, 3)
    whole = log_likelihood(vae, x, context=context, method=ImportanceWeighted(4000))
    for row in (0, 5):
        alone = log_likelihood(vae, x[[row]], context=context[[row]], method=ImportanceWeighted(4000))
        error = 5 * (whole.standard_error[row] + alone.standard_error[0]).item()
        assert abs((whole.values[row] - alone.values[0]).item()) < error
    shuffled = log_likelihood(vae, x, context=context.roll(1, 0), method=ImportanceWeighted(4000))
    assert (shuffled.values - whole.values).abs().max() > 10 * whole.standard_error.max()


class TwoLatents:
    """One latent that the guide leaves to the model, other plates beside "data", a discrete site."""

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            c = pyro.sample("c", dist.Bernoulli(torch.tensor(0.3)))
            a = pyro.sample("a", dist.Normal(c, 1.0))
            with pyro.plate("columns", 2):
                return pyro.sample("x", dist.Normal(a, 1.0), obs=None if x is None else x.T)

    def guide(self, x, *, context=None):
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(x.mean(1) * 2 / 3, 0.8))


def test_a_pair_of_several_latents_and_plates():
    torch.manual_seed(0)
    x = torch.randn(9, 2)
    cov = torch.eye(2) + 1
    exact = torch.stack(
        [
            math.log(w) + torch.distributions.MultivariateNormal(torch.full((2,), float(c)), cov).log_prob(x)
            for c, w in ((0, 0.7), (1, 0.3))
        ]
    ).logsumexp(0)
    bound = log_likelihood(TwoLatents(), x, method=ImportanceWeighted(1000))
    assert ((bound.values - exact) / bound.standard_error).abs().max() < 4.5
    weighted = log_weights(TwoLatents(), x, None, 2)
    assert set(weighted.latents) == {"a", "c"}
    with pytest.raises(ValueError, match="not one latent variable but 2"):
        _ = weighted.z


def test_a_site_outside_the_rows_is_refused():
    class Global(TwoLatents):
        def model(self, x=None, *, context=None, n=1):
            pyro.sample("scale", dist.Normal(0.0, 1.0))
            return super().model(x, context=context, n=n)

        def guide(self, x, *, context=None):
            pyro.sample("scale", dist.Normal(0.0, 1.0))
            super().guide(x, context=context)

    with pytest.raises(ValueError, match="'scale' is outside the plate 'data'"):
        log_weights(Global(), torch.randn(4, 2))


def test_running_means_do_not_depend_on_the_blocks():
    torch.manual_seed(0)
    log_w = 3 * torch.randn(37, 6).double() - 900
    for running in (Mean, LogMean):
        whole, parts_ = running(), running()
        whole.add(log_w)
        for block in log_w.split(5):
            parts_.add(block)
        torch.testing.assert_close(whole.result(), parts_.result())
    mean, error = Mean(37, log_w.mean(0), (log_w - log_w.mean(0)).square().sum(0)).result()
    torch.testing.assert_close(whole.result()[0], log_w.logsumexp(0) - math.log(37))
    weights = (log_w - log_w.max(0).values).exp()
    torch.testing.assert_close(whole.result()[1], weights.std(0) / weights.mean(0) / math.sqrt(37))
    torch.testing.assert_close(error, log_w.std(0) / math.sqrt(37))
    torch.testing.assert_close(mean, log_w.mean(0))


def test_blocks_bound_memory():
    for draws, rows, width in ((100, 10_000, 784), (10_000, 3, 2), (5, 1, 10**9)):
        k, n = blocks(draws, rows, width)
        assert k >= 1 and n >= 1
        assert k * n * width <= max(NUMBERS["cpu"], width)


def test_exact_likelihood_and_the_callers_state():
    model = StandardGaussian(3)
    model.train()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    x = torch.zeros(4, 3)
    result = log_likelihood(model, x)
    assert result.kind == "exact" and result.standard_error is None and model.training
    torch.testing.assert_close(result.values, torch.full((4,), -1.5 * math.log(2 * math.pi)))
    log_likelihood(VAE(3, latent=2), torch.zeros(4, 3), seed=9)
    torch.manual_seed(5)
    log_likelihood(VAE(3, latent=2, hidden=()).train(False), torch.zeros(4, 3), seed=9)
    assert torch.rand(1) != expected  # building drew from the caller's numbers
    vae = VAE(3, latent=2)
    torch.manual_seed(5)
    one, two = log_likelihood(vae, x, seed=9), log_likelihood(vae, x, seed=9)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.values, two.values)


class Coin:
    """An energy over one bit, with log Z = log(1 + e)."""

    measure = "mass"

    def free_energy(self, x):
        return -x.sum(1)

    def gibbs_step(self, x):
        return torch.bernoulli(torch.full_like(x, math.e / (1 + math.e)))

    def start(self, n):
        return torch.zeros(n, 1)


class SummedCoin(Coin):
    def log_partition(self):
        return torch.tensor(math.log(1 + math.e))


def test_an_energy_is_exact_where_log_z_is_summed():
    result = log_likelihood(SummedCoin(), torch.tensor([[0.0], [1.0]]))
    assert result.kind == "exact" and result.measure == "mass"
    torch.testing.assert_close(result.values.exp().sum(), torch.tensor(1.0))


def test_an_energy_is_estimated_otherwise(monkeypatch):
    seen = {}

    def ais(model, *, chains, temperatures, data, seed):
        seen.update(chains=chains, temperatures=temperatures, seed=seed)
        return SimpleNamespace(value=1.5, standard_error=0.25, log_weights=None)

    import sys

    monkeypatch.setitem(sys.modules, "inference.ais", SimpleNamespace(ais=ais))
    x = torch.tensor([[0.0], [1.0], [1.0]])
    result = log_likelihood(Coin(), x, method=Ais(8, 20), seed=4)
    assert seen == {"chains": 8, "temperatures": 20, "seed": 4}
    assert result.kind == "estimate"
    torch.testing.assert_close(result.values, torch.tensor([-1.5, -0.5, -0.5]))
    assert result.mean_error == pytest.approx(math.hypot(0.25, math.sqrt(1 / 9)))


def test_differences_are_paired_and_checked():
    a = LogLikelihood(torch.tensor([1.0, 5.0, 9.0]), None, "exact", "density", "own")
    b = LogLikelihood(torch.tensor([0.0, 4.5, 7.0]), None, "lower bound", "density", "bound")
    difference = a - b
    assert difference.mean == pytest.approx(3.5 / 3)
    assert difference.error == pytest.approx(torch.tensor([1.0, 0.5, 2.0]).std().item() / math.sqrt(3))
    assert difference.error < a.mean_error
    assert "exact minus lower bound" in repr(difference)
    mass = LogLikelihood(a.values, None, "exact", "mass", "own")
    with pytest.raises(ValueError, match="density can't be compared with a mass"):
        _ = a - mass
    short = LogLikelihood(a.values[:2], None, "exact", "density", "own")
    with pytest.raises(ValueError, match="of 3 and 2 rows"):
        _ = a - short


def test_what_can_not_be_asked_is_refused():
    with pytest.raises(TypeError, match=r"no likelihood: ask inference\.evaluate"):
        log_likelihood(SimpleNamespace(noise=None, generate=None), torch.zeros(3, 2))
    with pytest.raises(TypeError, match="no exact likelihood"):
        log_likelihood(VAE(3, latent=2), torch.zeros(4, 3), method=Exact())
    with pytest.raises(TypeError, match="log Z"):
        log_likelihood(Coin(), torch.zeros(3, 1), method=ImportanceWeighted())
    with pytest.raises(TypeError, match="no free energy"):
        log_likelihood(StandardGaussian(2), torch.zeros(3, 2), method=Ais())
    with pytest.raises(ValueError, match="not finite at row 1, column 0"):
        log_likelihood(StandardGaussian(2), torch.tensor([[0.0, 1.0], [math.nan, 0.0]]))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        log_likelihood(VAE(3, latent=2), torch.zeros(4, 3), method=ImportanceWeighted(0))


def test_a_distribution_whose_batch_is_not_the_rows_is_refused(vae, x):
    class Wrong(VAE):
        def encoder(self, x, context=None):
            return dist.Normal(torch.zeros(len(x), 2), 1.0)

    with pytest.raises(ValueError, match="encoder's log_prob has shape"):
        log_weights(Wrong(DIMS, latent=2, decoder=Bernoulli(DIMS, context_shape=2)), x.float())
