"""A model with latents as a VAE's prior: against normals known in closed form, and Pyro on the same draws."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

import zoo.pseudo_marginal
from inference.diagnostics.latent import divergences
from inference.fit import fit
from inference.importance import _traced, log_weights
from inference.likelihood import ElboBound, ImportanceWeighted, log_likelihood
from inference.objectives import Elbo, PyroElbo, sampled, stepwise
from tests.zoo.exact_diffusion import LOC, SCALE, exact_diffusion
from tests.zoo.shaking import normal, shaken
from zoo.base import Explicit, LatentVariable
from zoo.diffusion import Diffusion
from zoo.distributions import DiagonalNormal, StandardNormal
from zoo.noising import noise_variance
from zoo.samplers import DDIM
from zoo.vae import VAE

DIFFUSION = {"family": "diffusion", "steps": 4, "network": {"kind": "mlp", "width": 8, "blocks": 1}}
WEIGHT = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=torch.float64)
NOISE = 0.5


# ---- by hand: every step of a diffusion of normal numbers is normal


def steps_of(model: Diffusion):
    """For t = 1..T: alpha_t, sigma_t^2, and of p(z_(t-1) | z_t) = N(keep z_t + pull (told + slope z_t), variance)."""
    time = torch.arange(1, model.steps + 1, dtype=torch.float64) / model.steps
    left = model.schedule(time).detach().sigmoid().tolist()
    levels = model.noise_levels()
    large = model.variance is noise_variance
    for t, kept in enumerate(left):
        lost = 1 - kept
        slope = math.sqrt(kept) * SCALE**2 / (kept * SCALE**2 + lost)
        told = LOC * lost / (kept * SCALE**2 + lost)
        if t == 0:
            variance = (levels.log_large if large else levels.log_small)[0].exp().item()
            yield math.sqrt(kept), lost, 0.0, 1.0, told, slope, variance, variance
            continue
        before, gone = left[t - 1], 1 - left[t - 1]
        added = lost - kept / before * gone
        keep, pull = math.sqrt(kept / before) * gone / lost, math.sqrt(before) * added / lost
        small = gone * added / lost
        yield math.sqrt(kept), lost, keep, pull, told, slope, small, added if large else small


def density(model: Diffusion) -> Normal:
    """p(z) of each number, by going down the reverse chain."""
    mean, variance = 0.0, 1.0
    for _, _, keep, pull, told, slope, _, spread in reversed(list(steps_of(model))):
        mean, variance = pull * told + (keep + pull * slope) * mean, (keep + pull * slope) ** 2 * variance + spread
    return Normal(torch.tensor(mean).double(), torch.tensor(variance).double().sqrt())


def bound(model: Diffusion, z: Tensor) -> Tensor:
    """E_q(w | z)[log p(z, w) - log q(w | z)], [..., D] to [...]: a divergence for each step, each a quadratic of z."""
    total = torch.zeros_like(z)
    for t, (alpha, lost, _, pull, told, slope, small, spread) in enumerate(steps_of(model)):
        square = (z - told - slope * alpha * z).square() + slope**2 * lost  # E (z - x')^2
        if t == 0:
            total = total - 0.5 * (square / spread + math.log(2 * math.pi * spread))
        else:
            total = total - 0.5 * (pull**2 * square / spread + small / spread - 1 - math.log(small / spread))
    total = total - 0.5 * (alpha**2 * z.square() + lost - 1 - math.log(lost))
    return total.sum(-1)


def expected(of_z, loc: Tensor, scale: Tensor) -> Tensor:
    """The mean under independent normals of a sum of quadratics, one of each number: they take it at loc +- scale."""
    return 0.5 * (of_z(loc + scale) + of_z(loc - scale))


class Line(Explicit):
    """p(x | z), x = W z and noise."""

    def __init__(self, event_shape, *, context_shape=None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.register_buffer("weight", WEIGHT)

    def distribution(self, context=None) -> DiagonalNormal:
        loc = context @ self.weight.mT
        return DiagonalNormal(loc, torch.full_like(loc, math.log(NOISE)))


class Proposal(Explicit):
    """q(z | x) that does not look at x."""

    def __init__(self, event_shape, *, context_shape=None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.loc = nn.Parameter(torch.tensor([0.5, -0.2]).double())
        self.log_scale = nn.Parameter(torch.tensor([-0.9, -0.6]).double())

    def distribution(self, context=None) -> DiagonalNormal:
        rows = (len(context), 2)
        return DiagonalNormal(self.loc.expand(rows), self.log_scale.expand(rows))


X = torch.tensor([0.7, -0.4, 0.3], dtype=torch.float64)
KINDS = [("posterior", 12), ("noise", 12), ("noise", 3), ("posterior", 1)]


def linear(variance: str = "noise", steps: int = 12, **kwargs) -> VAE:
    diffusion = exact_diffusion(steps, variance=variance, **kwargs)
    return VAE(3, latent=2, prior=diffusion, encoder=Proposal, decoder=Line)


def elbo(model: VAE) -> Tensor:
    """Of the row X, in closed form and differentiable in the proposal."""
    loc, scale = model.encoder_model.loc, model.encoder_model.log_scale.exp()
    quadratic = Normal(X, NOISE).log_prob(loc @ WEIGHT.mT).sum()
    decoded = quadratic - 0.5 * ((WEIGHT / NOISE).square() @ scale.square()).sum()
    return decoded + expected(partial(bound, model.prior_model), loc, scale) + Normal(loc, scale).entropy().sum()


def evidence(model: VAE) -> Tensor:
    p = density(model.prior_model)
    noise = NOISE**2 * torch.eye(3).double()
    return MultivariateNormal(WEIGHT @ p.mean.expand(2), p.variance * WEIGHT @ WEIGHT.mT + noise).log_prob(X)


def agrees(values: Tensor, truth: Tensor) -> None:
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - truth).abs() < 4.5 * error + 1e-9).all(), (values.mean(0), truth, error)


# ---- the density


@pytest.mark.parametrize(("variance", "steps"), KINDS)
def test_log_prob_is_below_the_density_by_the_known_gap_and_its_exponential_is_the_density(variance, steps):
    torch.manual_seed(0)
    model = exact_diffusion(steps, variance=variance)
    z = normal(3, 2)
    draws = model.as_prior().log_prob(z.expand(8_000, 3, 2))
    exact, below = density(model).log_prob(z).sum(-1), bound(model, z)
    assert (below < exact + 1e-9).all()
    agrees(draws, below)
    agrees((draws - exact).exp(), torch.ones(3).double())


@pytest.mark.parametrize(("variance", "steps"), KINDS)
def test_the_mean_over_the_steps_is_the_same_bound(variance, steps):
    torch.manual_seed(0)
    model = exact_diffusion(steps, variance=variance)
    z, t = normal(3, 2), torch.arange(1, steps + 1)
    draws = model.as_prior().bound_at(z.expand(6000, steps, 3, 2), t[:, None].expand(6000, steps, 3)).mean(1)
    agrees(draws, bound(model, z))


def test_the_exponential_of_one_step_would_bound_nothing():
    torch.manual_seed(0)
    model, z = exact_diffusion(12, variance="noise"), normal(3, 2)
    t = torch.randint(1, 13, (20_000, 3))
    wrong = model.as_prior().bound_at(z.expand(20_000, 3, 2), t).logsumexp(0) - math.log(20_000)
    assert (wrong > density(model).log_prob(z).sum(-1) + 0.5).all()


class Known(LatentVariable):
    """w standard normal, z = w and noise, and q(w | z) the posterior itself."""

    def __init__(self, event_shape, *, context_shape=None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.share = nn.Parameter(torch.tensor(0.5).double())

    def prior(self, context=None) -> StandardNormal:
        return StandardNormal(self.event_shape, self.share)

    def decoder(self, z, context=None) -> DiagonalNormal:
        return DiagonalNormal(z, torch.zeros_like(z))

    def encoder(self, x, context=None) -> DiagonalNormal:
        return DiagonalNormal(self.share * x, torch.full_like(x, 0.5 * math.log(0.5)))


@pytest.mark.parametrize("numbers", [6, 2**22])
def test_with_the_true_posterior_there_is_no_noise(numbers, monkeypatch):
    monkeypatch.setattr(zoo.pseudo_marginal, "NUMBERS", numbers)
    z = normal(4, 5, 2)
    exact = Normal(torch.zeros(2).double(), math.sqrt(2)).log_prob(z).sum(-1)
    torch.testing.assert_close(Known(2).as_prior().log_prob(z), exact)
    assert Known(2).as_prior().log_prob(z[:, :0]).shape == (4, 0)
    assert Known(2).as_prior().expand([5]).log_prob(z[0]).shape == (5,)


# ---- in the slot


@pytest.mark.parametrize(("variance", "steps"), KINDS)
@pytest.mark.parametrize("kl", [stepwise, sampled])
def test_the_elbo_and_its_gradient_are_the_closed_ones(variance, steps, kl):
    torch.manual_seed(0)
    model, repeats = linear(variance, steps), 40
    wanted = list(model.encoder_model.parameters())
    truth = elbo(model)
    slopes = torch.cat(torch.autograd.grad(-truth, wanted))
    values, gradients = [], []
    for _ in range(repeats):
        loss = Elbo(kl=kl)(model, X.expand(500, 3)).value
        values.append(-loss.detach())
        gradients.append(torch.cat(torch.autograd.grad(loss, wanted)))
    agrees(torch.stack(values), truth.detach())
    agrees(torch.stack(gradients), slopes)


@pytest.mark.parametrize(("variance", "steps"), KINDS)
def test_likelihoods_are_bounds_and_tighten_to_the_truth(variance, steps):
    model = linear(variance, steps)
    truth, below = evidence(model), elbo(model).detach()
    rows = X.expand(60, 3)
    agrees(log_likelihood(model, rows, method=ElboBound(50)).values, below)
    few, many = (log_likelihood(model, rows, method=ImportanceWeighted(draws)) for draws in (5, 1000))
    assert few.kind == many.kind == "lower bound"
    assert below < few.mean < many.mean
    assert few.mean < truth
    assert many.mean == pytest.approx(float(truth), abs=0.03)


def test_a_diagnosis_takes_the_chain_s_kl_for_part_of_the_code_s():
    torch.manual_seed(0)
    model = linear()
    loc, scale = model.encoder_model.loc.detach(), model.encoder_model.log_scale.detach().exp()
    gaps, _ = divergences(model, X.expand(20_000, 3), None)
    whole = -Normal(loc, scale).entropy().sum() - expected(partial(bound, model.prior_model), loc, scale)
    agrees(gaps["z"].detach(), whole)
    assert gaps["z_prior"].mean() > 0


def test_an_exact_prior_gains_what_the_chain_loses():
    torch.manual_seed(0)
    model = linear("posterior")
    p, q = density(model.prior_model), model.encoder_model
    loc, scale = q.loc.detach(), q.log_scale.detach().exp()
    gap = expected(lambda z: p.log_prob(z).sum(-1) - bound(model.prior_model, z), loc, scale)
    assert gap > 0.01
    closed = VAE(3, latent=2, prior=Fixed(p), encoder=q, decoder=Line)
    agrees(log_likelihood(closed, X.expand(100, 3), method=ElboBound(50)).values, elbo(model).detach() + gap)


class Fixed(Explicit):
    def __init__(self, each: Normal) -> None:
        super().__init__(2)
        self.register_buffer("loc", each.mean.expand(2).clone())
        self.register_buffer("log_scale", each.stddev.log().expand(2).clone())

    def distribution(self, context=None) -> DiagonalNormal:
        return DiagonalNormal(self.loc, self.log_scale)


SPECS = {
    "diffusion": DIFFUSION,
    "vae": {"family": "vae", "latent": 3, "hidden": [6], "decoder": {"family": "gaussian", "hidden": [6]}},
    "two deep": {"family": "vae", "latent": 3, "hidden": [6], "decoder": "gaussian", "prior": DIFFUSION},
}


def made(prior: str, context: int | None = None, **slots) -> VAE:
    torch.manual_seed(0)
    spec = {"family": "vae", "latent": 2, "hidden": [7], "prior": SPECS[prior], **slots}
    return shaken(zoo.build(spec, event_shape=5, context_shape=context))


def rows(context: int | None) -> tuple[Tensor, Tensor | None]:
    x = torch.randint(0, 2, (6, 5), generator=torch.Generator().manual_seed(0)).double()
    return x, None if context is None else normal(6, context)


def seeded(question, seed: int = 3):
    torch.manual_seed(seed)
    return question()


@pytest.mark.parametrize("context", [None, 2])
@pytest.mark.parametrize("prior", SPECS)
def test_pyro_agrees_on_the_same_draws(prior, context):
    model = made(prior, context)
    x, c = rows(context)
    ours = seeded(lambda: Elbo(kl=sampled)(model, x, c).value)
    pyros = seeded(lambda: PyroElbo()(model, x, c).value)
    torch.testing.assert_close(ours, pyros)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for a, b in zip(*(torch.autograd.grad(v, parameters, allow_unused=True) for v in (ours, pyros)), strict=True):
        torch.testing.assert_close(a, b)
    direct = seeded(lambda: log_weights(model, x, c)).log_weights[0]
    latents, traced = seeded(lambda: _traced(model, x, c))
    torch.testing.assert_close(direct, traced)
    sites = ["z_prior_prior", "z_prior", "z"] if prior == "two deep" else ["z_prior", "z"]
    assert list(latents) == sites


@pytest.mark.parametrize("prior", SPECS)
def test_what_the_pair_draws_is_the_model(prior):
    model = made(prior)
    trace = poutine.trace(model.model).get_trace(n=4000)
    codes, drawn = trace.nodes["z"]["value"], seeded(lambda: model.prior().sample((4000,)))
    assert trace.nodes["x"]["value"].shape == (4000, 5)
    error = (codes.var(0) / 4000 + drawn.var(0) / 4000).sqrt()
    assert ((codes.mean(0) - drawn.mean(0)).abs() < 4.5 * error).all()


def test_each_draw_has_its_rows_own_context():
    model = made("diffusion", 2)
    x, c = rows(2)
    z = normal(3, 6, 2)
    whole = seeded(lambda: model.prior(c).log_prob(z))
    each = seeded(lambda: model.prior(c.repeat(3, 1)).log_prob(z.flatten(0, 1)))
    torch.testing.assert_close(whole.flatten(), each)
    assert not torch.allclose(whole, seeded(lambda: model.prior(c.flip(0)).log_prob(z)))
    t = torch.arange(18).view(3, 6) % 4 + 1
    whole = seeded(lambda: model.prior(c).bound_at(z, t))
    torch.testing.assert_close(
        whole.flatten(), seeded(lambda: model.prior(c.repeat(3, 1)).bound_at(z.flatten(0, 1), t.flatten()))
    )
    for k in (1, 3):
        assert torch.isfinite(Elbo(particles=k)(model, x, c).value)
    assert model.sample(4, context=c[:1]).shape == (4, 5)


def test_a_fit_goes_through_one_step_a_row_and_teaches_every_part():
    model = linear()
    network = model.prior_model.network
    Elbo()(model, X.expand(4, 3))
    assert network.calls == 1
    model = made("diffusion", encoder={"family": "iaf", "layers": 2, "hidden": 6}).float()
    before = [p.detach().clone() for p in model.parameters()]
    fit(model, rows(None)[0].float(), steps=5, progress=False)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_in_two_stages_the_prior_learns_the_codes():
    torch.manual_seed(0)
    prior = {**DIFFUSION, "steps": 20, "variance": "noise", "network": {"kind": "mlp", "width": 32, "blocks": 1}}
    model = zoo.build({"family": "vae", "latent": 1, "hidden": [16], "prior": prior}, event_shape=6)
    x = (torch.rand(400, 6) < torch.where(torch.rand(400, 1) < 0.5, 0.1, 0.9)).float()
    plain = VAE(6, latent=1, encoder=model.encoder_model, decoder=model.decoder_model)
    fit(plain, x, Elbo(beta=0.1), steps=200, lr=1e-2, progress=False)  # codes far from normal
    codes = plain.encoder(x).sample()
    fit(model.prior_model, codes, steps=400, lr=1e-2, progress=False)
    shares = torch.linspace(0.05, 0.95, 19)
    drawn, wanted = (each.flatten().quantile(shares) for each in (model.prior().sample((2000,)), codes))
    gap, plain_gap = ((each - wanted).abs().max() for each in (drawn, Normal(0.0, 1.0).icdf(shares)))
    scores = [log_likelihood(each, x, method=ImportanceWeighted(10)) for each in (model, plain)]
    gain = scores[0] - scores[1]
    assert gap < 0.5 * plain_gap
    assert gain.mean > 4 * gain.error


def test_it_samples_as_the_diffusion_does():
    model = linear()
    model.prior_model.sampler = DDIM(steps=5)
    model.sample(2)
    assert model.prior_model.network.calls == 5


def test_saved_and_loaded_it_is_the_same(tmp_path):
    torch.manual_seed(0)
    model = zoo.build({"family": "vae", "latent": 2, "hidden": [7], "prior": DIFFUSION}, event_shape=5)
    zoo.save(model, tmp_path / "saved")
    again = zoo.load(tmp_path / "saved")
    x = rows(None)[0].float()
    assert torch.equal(*(log_likelihood(each, x).values for each in (model, again)))


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(TypeError, match="prior must be a model with a density, exact or bounded, not GAN"):
        VAE(5, latent=2, prior=zoo.GAN)
    with pytest.raises(TypeError, match="exact or bounded, not Autoencoder"):
        VAE(5, latent=2, prior=zoo.Autoencoder)
    with pytest.raises(ValueError, match=r"prior: Diffusion has event_shape \[3\], but \[2\] fits here"):
        VAE(5, latent=2, prior=Diffusion(3))
    with pytest.raises(ValueError, match="prior: Diffusion is discrete"):
        VAE(5, latent=2, prior=partial(Diffusion, levels=4))
    with pytest.raises(TypeError, match="encoder must be an explicit model, which has a density, not Diffusion"):
        VAE(5, latent=2, encoder=Diffusion)
    discrete = partial(zoo.DiscreteVAE, codes=2, levels=3, decoder=zoo.Gaussian)
    with pytest.raises(TypeError, match=r"DiscreteVAE proposes its latents by .*, which no gradient goes through"):
        Elbo()(VAE(5, latent=2, prior=discrete), torch.zeros(3, 5))
