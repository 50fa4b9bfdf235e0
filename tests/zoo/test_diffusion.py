"""The diffusion pair against closed forms, Bayes' rule, quadrature, and Pyro."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch.distributions import Normal, kl_divergence

import zoo
from inference.likelihood import log_likelihood
from inference.objectives import Elbo, sampled
from inference.timesteps import TimestepBound
from tests.zoo.shaking import normal, shaken
from zoo.diffusion import Diffusion
from zoo.discretised import DiscretisedNormal, scaled
from zoo.noise_schedules import Cosine, Learned, Linear, as_schedule
from zoo.noising import NoiseLevels, NoisingChain
from zoo.spec import SpecError

SMALL = {"kind": "mlp", "width": 8, "blocks": 1}
KINDS = (
    {"levels": 3, "variance": "learned", "schedule": "learned"},
    {"predicts": "epsilon", "variance": "noise", "schedule": "linear"},
    {"predicts": "x0", "context_shape": (2,)},
)


def levels_of(schedule, steps: int) -> NoiseLevels:
    time = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return NoiseLevels.of(time, as_schedule(schedule)(time).detach())


def build(steps: int = 4, **kwargs) -> Diffusion:
    return moved(Diffusion((3,), steps=steps, network=SMALL, **kwargs))


def moved(model: Diffusion) -> Diffusion:
    """In double precision, and away from where its network starts, which tells of nothing."""
    return shaken(model, 0.3)


def rows(model: Diffusion, n: int = 5):
    torch.manual_seed(1)
    context = None if model.context_shape is None else torch.randn(n, *model.context_shape).double()
    if model.levels:
        return torch.randint(0, model.levels, (n, *model.event_shape)), context
    return torch.randn(n, *model.event_shape).double(), context


# ---- noise


@pytest.mark.parametrize("schedule", ["linear", "cosine", "learned"])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_the_chain_has_the_schedules_marginals(schedule: str, steps: int) -> None:
    levels = levels_of(schedule, steps)
    mean, variance = 1.0, 0.0
    for k in range(steps):
        mean *= float(levels.shrink[k])
        variance = float(levels.shrink[k]) ** 2 * variance + float(levels.spread[k]) ** 2
        assert mean == pytest.approx(float(levels.alpha[k]), rel=1e-9)
        assert variance == pytest.approx(float(levels.sigma[k]) ** 2, rel=1e-9)
    torch.testing.assert_close(levels.alpha**2 + levels.sigma**2, torch.ones_like(levels.alpha))
    torch.testing.assert_close((levels.alpha / levels.sigma).log() * 2, levels.log_snr)


def test_linear_is_ho_et_al_with_their_thousand_steps() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    left = (1 - betas).cumprod(0)
    ours = levels_of("linear", 1000).alpha ** 2
    torch.testing.assert_close(ours.log(), left.log(), rtol=0.02, atol=1e-4)


def test_cosine_is_nichol_and_dhariwals_formula() -> None:
    time = torch.tensor([0.001, 0.3, 0.999], dtype=torch.float64)
    wave = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(Cosine()(time).sigmoid(), wave)
    betas = 1 - levels_of("cosine", 1000).shrink ** 2
    assert 0 < betas.min() < betas.max() < 0.999


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Learned()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_steps_are_finite_and_fall(schedule, dtype) -> None:
    levels = levels_of(schedule, 1000).to(torch.zeros((), dtype=dtype))
    assert all(torch.isfinite(values).all() for values in levels)
    assert (levels.log_snr.diff() < 0).all()
    assert (levels.spread > 0).all()
    assert (levels.log_small <= levels.log_large).all()


def test_a_learned_schedule_stays_monotone_and_keeps_its_ends_apart() -> None:
    torch.manual_seed(0)
    schedule = Learned()
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter.add_(torch.randn_like(parameter))
    time = torch.linspace(0, 1, 500, dtype=torch.float64)
    log_snr = schedule(time)
    assert (log_snr.diff() < 0).all()
    torch.testing.assert_close(log_snr[0], schedule.first.double())
    torch.testing.assert_close(log_snr[0] - log_snr[-1], schedule.log_fall.double().exp())


@pytest.mark.parametrize("schedule", ["linear", "cosine", "learned"])
def test_the_posterior_of_a_step_is_bayes_rule(schedule: str) -> None:
    levels, x, k = levels_of(schedule, 5), 0.7, 2
    to, at = levels.one(k - 1), levels.one(k)
    z = at.alpha * x + 0.8 * at.sigma
    grid = torch.linspace(-6, 6, 40001, dtype=torch.float64)
    joint = Normal(to.alpha * x, to.sigma).log_prob(grid) + Normal(at.shrink * grid, at.spread).log_prob(z)
    weights = joint.softmax(0)
    mean = (weights * grid).sum()
    torch.testing.assert_close(at.keep * z + at.pull * x, mean)
    torch.testing.assert_close(at.log_small.exp(), (weights * (grid - mean) ** 2).sum())
    torch.testing.assert_close(levels.log_small[0].exp() * levels.alpha[0] ** 2, levels.log_small[1].exp())


@pytest.mark.parametrize("schedule", ["linear", "cosine", "learned"])
def test_the_ends_that_a_variance_may_reach_are_what_they_say(schedule: str) -> None:
    """At the first step those of z_1 / alpha_1 around x, given z_2 and x and given x; later the noise that is added."""
    levels = levels_of(schedule, 5)
    at, above = levels.one(0), levels.one(1)
    precision = at.sigma**-2 + (above.shrink / above.spread) ** 2
    torch.testing.assert_close(at.log_small.exp(), 1 / (precision * at.alpha**2))
    torch.testing.assert_close(at.log_large.exp(), (at.sigma / at.alpha) ** 2)
    torch.testing.assert_close(levels.log_large[1:].exp(), levels.spread[1:] ** 2)


def test_the_chains_density_is_that_of_its_steps() -> None:
    levels, x = levels_of("cosine", 6), torch.randn(4, 2, 3, dtype=torch.float64)
    chain = NoisingChain(x, levels)
    z, log_q = chain.rsample_and_log_prob((5,))
    assert z.shape == (5, 4, 6, 2, 3)
    total, before = 0.0, x
    for k in range(6):
        total = total + Normal(levels.shrink[k] * before, levels.spread[k]).log_prob(z[:, :, k]).flatten(2).sum(-1)
        before = z[:, :, k]
    torch.testing.assert_close(chain.log_prob(z), total)
    torch.testing.assert_close(log_q, total)
    torch.testing.assert_close(chain.mean[:, 2], levels.alpha[2] * x)


def test_draws_of_the_chain_have_its_covariances() -> None:
    torch.manual_seed(0)
    levels, n = levels_of("cosine", 3), 40_000
    z = NoisingChain(torch.full((n, 1), 0.5, dtype=torch.float64), levels).rsample()[..., 0]
    gap = z - 0.5 * levels.alpha
    told = [[levels.alpha[max(i, j)] / levels.alpha[min(i, j)] * levels.sigma[min(i, j)] ** 2 for j in range(3)]
            for i in range(3)]  # fmt: skip
    torch.testing.assert_close(gap.T @ gap / n, torch.tensor(told, dtype=torch.float64), atol=0.02, rtol=0)


# ---- the pair


@pytest.mark.parametrize("kwargs", KINDS)
def test_the_direct_bound_and_its_gradients_are_pyros(kwargs) -> None:
    model = build(**kwargs)
    x, context = rows(model)
    given = {} if context is None else {"context": context}
    torch.manual_seed(2)
    ours = Elbo(kl=sampled)(model, x, context).value
    ours.backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    torch.manual_seed(2)

    def bound(function):
        return lambda x: function(x, **given)

    theirs = Trace_ELBO().differentiable_loss(bound(model.model), bound(model.guide), x) / len(x)
    theirs.backward()
    torch.testing.assert_close(ours, theirs)
    assert len(gradients) >= 4
    for one, other in zip(gradients, (p.grad for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kwargs", KINDS)
def test_the_sum_over_steps_is_the_bound_with_each_kl_in_closed_form(kwargs) -> None:
    """Along one chain: KLs of normals by torch, posteriors by Bayes' rule from the marginals alone."""
    model = build(**kwargs)
    x, context = rows(model)
    clean, at = model.scaled(x), levels_of(model.schedule, model.steps)
    z = model.encoder(x, context).sample()
    told = -model.decoder(z, context).log_prob(x)
    last = Normal(at.alpha[-1] * clean, at.sigma[-1].expand_as(clean))
    told = told + kl_divergence(last, Normal(torch.zeros_like(clean), torch.ones_like(clean))).sum(1)
    for k in range(1, model.steps):
        precision = at.sigma[k - 1] ** -2 + (at.shrink[k] / at.spread[k]) ** 2
        mean = at.alpha[k - 1] * clean / at.sigma[k - 1] ** 2 + at.shrink[k] * z[:, k] / at.spread[k] ** 2
        p = model.reverse(z[:, k], model.noise_levels().one(k), context)
        q = Normal(mean / precision, precision.rsqrt().expand_as(clean))
        told = told + kl_divergence(q, Normal(p.mean, p.stddev)).sum(1)
    found = model.settled(x)
    for k in range(model.steps):
        noise = (z[:, k] - at.alpha[k] * clean) / at.sigma[k]
        found = found + model.step(x, torch.full((len(x),), k + 1), context, noise=noise).divergence()
    torch.testing.assert_close(found, told)


@pytest.mark.parametrize("kwargs", KINDS)
def test_the_sum_over_steps_is_the_chains_elbo_in_expectation(kwargs) -> None:
    model, draws = build(**kwargs).requires_grad_(False), 8000
    x, context = (None if t is None else t.repeat_interleave(draws, 0) for t in rows(model, 3))
    z, log_q = model.encoder(x, context).rsample_and_log_prob()
    chain = log_q - model.prior(context).log_prob(z) - model.decoder(z, context).log_prob(x)
    steps = model.settled(x)
    for t in range(1, model.steps + 1):
        steps = steps + model.step(x, torch.full((len(x),), t), context).divergence()
    by_row = torch.stack([chain, steps]).view(2, 3, draws)
    error = (by_row.var(-1) / draws).sum(0).sqrt()
    assert ((by_row[0].mean(-1) - by_row[1].mean(-1)).abs() < 4 * error).all()


def test_the_variance_divergence_teaches_variances_alone() -> None:
    model = build(variance="learned")
    x, _ = rows(model)
    step = model.step(x, torch.tensor([1, 2, 3, 4, 4]))
    torch.testing.assert_close(step.variance_divergence(), step.divergence())
    (gradient,) = torch.autograd.grad(step.variance_divergence().sum(), step.told)
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1] != 0).all()


def test_codes_have_a_mass_that_sums_to_one_and_that_the_bound_is_beneath() -> None:
    """One number of three levels and two steps: z_1 and z_2 integrated out on a grid."""
    torch.manual_seed(0)
    model = moved(Diffusion((1,), steps=2, levels=3, variance="learned", network=SMALL)).requires_grad_(False)
    grid = torch.linspace(-8, 8, 1201, dtype=torch.float64)
    width = float(grid[1] - grid[0])
    p = model.reverse(grid.view(-1, 1), model.noise_levels().one(1))
    first = Normal(p.mean, p.stddev).log_prob(grid.view(1, -1)).exp()  # p(z_1 | z_2), [z_2, z_1]
    z = grid.view(-1, 1, 1).expand(-1, 2, 1)
    mass = []
    for code in range(3):
        given = model.decoder(z).log_prob(torch.full((len(grid), 1), code)).exp()
        mass.append(Normal(0, 1).log_prob(grid).exp() @ first @ given * width**2)
    exact = torch.stack(mass)
    assert float(exact.sum()) == pytest.approx(1, abs=1e-6)
    found = log_likelihood(model, torch.arange(3).view(3, 1), method=TimestepBound(draws=200))
    assert (found.values < exact.log() + 4 * found.standard_error).all()
    assert (exact.log() - found.values < 3).all()


def test_the_anomaly_score_is_an_estimate_of_minus_the_bound() -> None:
    model, draws = build(steps=40).requires_grad_(False), 300
    x, _ = rows(model, 4)
    scores = model.anomaly_score(x.repeat(draws, 1)).view(draws, 4)
    told = log_likelihood(model, x, method=TimestepBound(None, draws))
    error = torch.hypot(scores.std(0) / math.sqrt(draws), told.standard_error)
    assert ((scores.mean(0) + told.values).abs() < 4 * error).all()


# ---- codes


def test_the_cut_normal_is_the_normals_mass_between_levels() -> None:
    torch.manual_seed(0)
    levels, loc = 5, torch.tensor([[-1.4, 0.1, 0.9]], dtype=torch.float64)
    log_scale = torch.tensor([[-1.0, 0.2, -0.7]], dtype=torch.float64)
    cut, normal = DiscretisedNormal(loc, log_scale, levels, 1), Normal(loc, log_scale.exp())
    masses = []
    for code in range(levels):
        above = torch.ones_like(loc) if code == levels - 1 else normal.cdf(loc.new_tensor((code + 0.5) / 2 - 1))
        below = torch.zeros_like(loc) if code == 0 else normal.cdf(loc.new_tensor((code - 0.5) / 2 - 1))
        masses.append(above - below)
        told = cut.log_prob(torch.full((1, 3), code))
        torch.testing.assert_close(told, (above - below).clamp(min=1e-300).log().sum(1), rtol=1e-6, atol=1e-6)
    total = torch.stack(masses)
    torch.testing.assert_close(cut.mean, (total * torch.arange(levels).view(-1, 1, 1)).sum(0))
    drawn = cut.sample((4000,))
    for code in range(levels):
        torch.testing.assert_close((drawn == code).double().mean(0), total[code], atol=0.035, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cut_normal_is_finite_far_in_its_tails(dtype) -> None:
    loc = torch.tensor([[-1.0, 1.0, 0.0, 3.0]], dtype=dtype, requires_grad=True)
    log_scale = torch.tensor([[-5.0, -5.0, -5.0, -7.0]], dtype=dtype, requires_grad=True)
    for code in range(256):
        value = DiscretisedNormal(loc, log_scale, 256, 1).log_prob(torch.full((1, 4), code))
        assert torch.isfinite(value).all()
        for gradient in torch.autograd.grad(value.sum(), (loc, log_scale)):
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_what_is_read_off_is_the_mean_over_draws(levels: int) -> None:
    torch.manual_seed(0)
    model = Diffusion((3,), steps=6, levels=levels, network=SMALL).double()
    x, at = torch.tensor([[0, levels // 2, levels - 1]]), model.noise_levels()
    loc = model.scaled(x) + (0.5 * at.log_large[0]).exp() * torch.randn(40_000, 3).double()
    told = -DiscretisedNormal(loc, (0.5 * at.log_large[0]).expand_as(loc), levels).log_prob(x)
    from zoo.noising_step import read_off

    assert float(read_off(model, model.scaled(x), at)) == pytest.approx(float(told.mean()), abs=0.03)
    torch.testing.assert_close(scaled(x, levels, torch.float64)[0, [0, 2]], torch.tensor([-1.0, 1.0]).double())


def test_guesses_of_codes_are_kept_in_range_and_can_be_taught_to_return() -> None:
    model = build(levels=3, predicts="x0")
    told = torch.full((2, 1, 3), 1.7, dtype=torch.float64, requires_grad=True)
    clean = model.clean(told, torch.zeros(2, 3), model.noise_levels().one(0))
    assert (clean == 1).all()
    (gradient,) = torch.autograd.grad(clean.sum(), told)
    assert (gradient == 1).all()


# ---- the rest


def test_single_precision_gives_the_bound_of_double_with_a_thousand_steps() -> None:
    torch.manual_seed(0)
    model = moved(Diffusion((8,), levels=17, network=SMALL, predicts="epsilon")).float().requires_grad_(False)
    x, t, noise = torch.randint(0, 17, (1000, 8)), torch.arange(1, 1001), torch.randn(1000, 8)
    single = model.step(x, t, noise=noise).divergence().sum() + model.settled(x[:1])
    double = model.double().step(x, t, noise=noise.double()).divergence().sum() + model.settled(x[:1])
    assert float(single) == pytest.approx(float(double), rel=1e-4)


def test_it_moves_between_dtypes_and_back() -> None:
    model = build()
    before = model.noise_levels()
    assert model.float().noise_levels().alpha.dtype == torch.float32
    torch.testing.assert_close(model.double().noise_levels().alpha, before.alpha, rtol=0, atol=0)


def test_a_spec_declares_schedule_network_and_sampler() -> None:
    spec = {"family": "diffusion", "steps": 3, "schedule": {"kind": "linear", "high": 12.0}, "network": SMALL,
            "sampler": {"kind": "ddim", "steps": 2}, "levels": 4}  # fmt: skip
    model = zoo.build(spec, event_shape=2)
    assert (model.schedule.high, model.sampler.steps) == (12.0, 2)
    assert model.sample(5).max() <= 3
    assert model.sample(5, sampler="dpm_solver").shape == (5, 2)
    assert zoo.build({**spec, "network": "mlp"}, event_shape=2).anomaly_score(torch.zeros(0, 2).long()).shape == (0,)
    for key, wrong, said in (
        ("schedule", "cosin", "did you mean cosine"),
        ("schedule", {"kind": "linear", "hi": 1.0}, "hi is not a parameter of linear"),
        ("predicts", "eps", "there is no 'eps'"),
        ("variance", "learnt", "did you mean learned"),
        ("sampler", "dim", "did you mean ddim"),
        ("network", {"kind": "mlp", "widht": 3}, "did you mean width"),
        ("network", "unett", "did you mean unet"),
        ("network", {"kind": "mlp", "width": "3"}, "network.width is '3', but a whole number was expected"),
        ("schedule", {"high": 3.0}, "schedule: its table has no kind"),
        ("sampler", {"kind": "ddim", "steps": 2.5}, "sampler.steps is 2.5, but a whole number was expected"),
        ("sampler", {"kind": "ddim", "guidance": 2.0}, "guidance needs a context"),
        ("steps", 0, "steps must be at least 1"),
        ("levels", 1, "levels must be at least 2"),
        ("untold", 1.0, "untold must be"),
    ):
        with pytest.raises(SpecError, match=said):
            zoo.build({**spec, key: wrong}, event_shape=2)


def test_images_and_their_contexts_keep_their_shape(monkeypatch) -> None:
    model = moved(Diffusion((1, 2, 2), context_shape=(3,), steps=3, network=SMALL))
    x, context = normal(4, 1, 2, 2), normal(4, 3)
    z = model.encoder(x, context).sample((2,))
    assert z.shape == (2, 4, 3, 1, 2, 2)
    prior = model.prior(context)
    assert prior.log_prob(z).shape == (2, 4)
    torch.testing.assert_close(prior.log_prob(z)[1, 2], model.prior(context[2:3]).log_prob(z[1, 2:3])[0])
    assert prior.sample((2,)).shape == z.shape
    assert isinstance(prior, dist.TorchDistribution)
    monkeypatch.setattr("zoo.diffusion.AT_ONCE", 3 * model.features)  # three steps at a time, of the sixteen
    torch.testing.assert_close(model.prior(context).log_prob(z), prior.log_prob(z))
    assert model.reconstruct(x, context=context).shape == x.shape
