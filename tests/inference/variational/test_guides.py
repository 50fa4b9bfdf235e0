"""Guides: densities against torch, gradients against autograd, optima against closed forms."""

import functools
import math

import pytest
import torch

from inference.variational import Flow, FullCovariance, LowRank, MeanField, variational
from inference.variational.elbo import Approximation, GlobalElbo
from inference.variational.guides import Guide
from inference.variational.inverse_hessian import History
from tests.inference.variational.densities import Known, covariance, gaussian, two_modes

GUIDES = [MeanField, FullCovariance, functools.partial(LowRank, rank=2)]


def _start(dim=3, paths=2):
    torch.manual_seed(0)
    slope = torch.randn(paths, dim, dtype=torch.float64)
    s = torch.randn(paths, dim, dtype=torch.float64)
    return History.begin(slope, 3).after(s, s @ torch.linalg.inv(covariance(dim))).normal(s, slope)


def _moved(make):
    guide = make(_start())
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return guide


def _dense(guide, draws=200_000):
    with torch.no_grad():
        q = guide.rsample(draws)
    return q.mean(0), torch.stack([torch.cov(q[:, k].T) for k in range(q.shape[1])])


@pytest.mark.parametrize("make", GUIDES)
def test_the_density_is_that_of_the_draws(make):
    """A normal with the moments that many draws have, to the noise of these."""
    guide = _moved(make)
    mean, spread = _dense(guide)
    q = guide.rsample(5).detach()
    dense = torch.distributions.MultivariateNormal(mean, spread)
    torch.testing.assert_close(guide.log_prob(q), dense.log_prob(q), atol=0.05, rtol=0)


@pytest.mark.parametrize("make", GUIDES)
def test_guides_begin_where_their_start_is(make):
    start = _start()
    mean, spread = _dense(make(start), 50_000)
    sd = start.variance().sqrt()
    assert ((mean - start.mean).abs() / sd).max() < 0.03
    assert (spread.diagonal(dim1=-2, dim2=-1).sqrt() / sd - 1).abs().max() < 0.03


def test_a_full_covariance_s_parameters_are_its_lower_triangle():
    guide = _moved(FullCovariance)
    root = guide.root()
    torch.testing.assert_close(root, root.tril())
    _, spread = _dense(guide)
    torch.testing.assert_close(root @ root.mT, spread, rtol=0.03, atol=0.03 * float(spread.abs().max()))


class _Plain(GlobalElbo):
    """The same without sticking the landing: log q of parameters that move."""

    def forward(self, model, x, context=None):
        q = model.guide.rsample(self.draws)
        return -(model.density.exact(q.flatten(0, 1)).view(q.shape[:2]) - model.guide.log_prob(q)).mean()


@pytest.mark.parametrize("make", GUIDES)
def test_the_gradient_is_autograd_s_in_the_mean_and_nought_at_the_landing(make):
    target = gaussian(torch.tensor([0.5, -1.0, 2.0]).double(), covariance(3, 4))

    def density(q, rows):
        return target.value_and_grad(q)

    density.exact = target.log_density
    guide = _moved(make)
    model = Approximation(guide, density)
    parameters = list(guide.parameters())
    torch.manual_seed(1)
    loss = GlobalElbo(40_000)(model, torch.zeros(1)).value
    stuck = torch.autograd.grad(loss, parameters)
    torch.manual_seed(1)
    plain_loss = _Plain(40_000)(model, torch.zeros(1))
    plain = torch.autograd.grad(plain_loss, parameters)
    torch.testing.assert_close(loss, plain_loss)
    for a, b in zip(stuck, plain, strict=True):
        assert (a - b).abs().max() < 0.03 * (1 + b.abs().max())


def test_the_pathwise_gradient_is_exactly_autograd_s():
    target = gaussian(torch.tensor([0.5, -1.0, 2.0]).double(), covariance(3, 4))
    guide = _moved(FullCovariance)
    model = Approximation(guide, lambda q, rows: target.value_and_grad(q))
    torch.manual_seed(2)
    ours = torch.autograd.grad(GlobalElbo(7)(model, torch.zeros(1)).value, list(guide.parameters()))
    torch.manual_seed(2)
    q = guide.rsample(7)
    root, mean = guide.root().detach(), guide.mean().detach()
    log_q = torch.distributions.MultivariateNormal(mean, scale_tril=root).log_prob(q)
    loss = -(target.log_density(q.flatten(0, 1)).view(7, 2) - log_q).mean()
    for a, b in zip(ours, torch.autograd.grad(loss, list(guide.parameters())), strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_of_a_guide_that_is_the_posterior_is_nought_draw_by_draw():
    guide = _moved(FullCovariance)
    mean, spread = guide.mean().detach()[0], (guide.root() @ guide.root().mT).detach()[0]
    target = gaussian(mean, spread)
    model = Approximation(guide, lambda q, rows: target.value_and_grad(q))
    gradients = torch.autograd.grad(GlobalElbo(3)(model, torch.zeros(1)).value, list(guide.parameters()))
    assert max(float(g[0].abs().max()) for g in gradients) < 1e-9
    assert max(float(g[1].abs().max()) for g in gradients) > 1e-3


def _fitted(density, guide, **options):
    return variational(density, guide=guide, progress=False, **{"steps": 400, "draws": 3000, "starts": 2, **options})


def test_full_covariance_is_the_normal_posterior_itself():
    mean, spread = torch.tensor([1.0, -3.0, 0.5]).double(), covariance(3, spread=1.5)
    found = _fitted(gaussian(mean, spread, 11.0), FullCovariance, starts=3)
    assert found.extra["log_evidence"] == pytest.approx(11.0, abs=1e-3)
    assert found.extra["elbo"] == pytest.approx(11.0, abs=1e-3)
    assert found.extra["pareto_k"] < 0.3 and found.alarms == {}
    q = found.draws["q"][0]
    assert ((q.mean(0) - mean) / spread.diagonal().sqrt()).abs().max() < 4 / math.sqrt(3000)
    torch.testing.assert_close(torch.cov(q.T), spread, atol=0.1 * float(spread.max()), rtol=0.1)


def test_mean_field_has_one_over_the_precisions_and_its_known_bound():
    mean, spread = torch.tensor([1.0, -3.0, 0.5]).double(), covariance(3)
    precision = torch.linalg.inv(spread)
    found = _fitted(gaussian(mean, spread, 2.0), MeanField, steps=1000, draws=8000)
    q = found.draws["q"][0]
    torch.testing.assert_close(q.var(0), 1 / precision.diagonal(), rtol=0.1, atol=0)
    assert ((q.mean(0) - mean) * precision.diagonal().sqrt()).abs().max() < 0.1
    bound = 2.0 - 0.5 * float(precision.diagonal().log().sum() + torch.logdet(spread))
    error = float(found.stats["lp"].std()) / math.sqrt(8000)
    assert found.extra["elbo"] == pytest.approx(bound, abs=4 * error)
    corrected = found.resampled().draws["q"][0]
    torch.testing.assert_close(corrected.var(0), spread.diagonal(), rtol=0.25, atol=0)


def test_low_rank_holds_what_a_few_directions_share():
    factor = torch.tensor([[2.0, -1.0, 0.5, 1.0, 3.0, 0.0]]).double().T
    spread = factor @ factor.T + torch.diag(torch.linspace(0.5, 1.5, 6).double())
    found = _fitted(gaussian(torch.zeros(6).double(), spread, 0.0), functools.partial(LowRank, rank=1), steps=500)
    assert found.extra["elbo"] == pytest.approx(0.0, abs=0.02)
    with pytest.raises(ValueError, match="rank of a LowRank guide must be at least 1, not 0"):
        LowRank(_start(), rank=0)


class _Curved(torch.nn.Module):
    """A density of one layer, (u, v) -> (u, v + c u^2), with `distribution` as the zoo's models have it."""

    event_shape = torch.Size([2])

    def __init__(self):
        super().__init__()
        self.curve = torch.nn.Parameter(torch.zeros(()))

    def distribution(self):
        return _Bent(self.curve)


class _Bent:
    def __init__(self, curve):
        self.curve = curve

    def rsample(self, shape):
        u = torch.randn(*shape, 2, dtype=torch.float64)
        return torch.stack([u[:, 0], u[:, 1] + self.curve * u[:, 0] ** 2], -1)

    def log_prob(self, x):
        v = x[:, 1] - self.curve * x[:, 0] ** 2
        return -0.5 * (x[:, 0] ** 2 + v**2) - math.log(2 * math.pi)


def test_a_density_passed_in_bends_as_the_posterior_does():
    def banana(q):
        return -0.5 * q[:, 0] ** 2 - 2.0 * (q[:, 1] - 0.7 * q[:, 0] ** 2) ** 2 + math.log(2.0 / (2 * math.pi))

    straight = _fitted(Known(2, banana), FullCovariance)
    bent = _fitted(Known(2, banana), _Curved(), steps=300, lr=0.05)
    assert bent.method == "_Curved guide"
    assert bent.extra["elbo"] > straight.extra["elbo"] + 0.1
    assert bent.extra["log_evidence"] == pytest.approx(0.0, abs=0.05)
    with pytest.raises(ValueError, match=r"_Curved is over rows of \[2\], but q has \[3\]"):
        _fitted(gaussian(torch.zeros(3).double(), torch.eye(3).double()), _Curved())


def test_a_flow_s_density_takes_in_the_frame():
    guide = Flow(_start(2), density=_Curved().double())
    q = guide.rsample(4).detach()
    dense = torch.distributions.MultivariateNormal(guide.centre, scale_tril=guide.frame)
    torch.testing.assert_close(guide.log_prob(q), dense.log_prob(q))


def test_of_two_modes_the_better_answers_and_the_starts_disagreement_is_an_alarm():
    found = _fitted(two_modes(12.0, share=0.1), FullCovariance, starts=8, seed=2)
    assert float(found.draws["q"].mean()) == pytest.approx(12.0, abs=0.1)
    assert found.extra["elbo"] == pytest.approx(math.log(0.9), abs=0.01)
    assert float(found.extra["elbos"].min()) == pytest.approx(math.log(0.1), abs=0.01)
    assert "2.2 nats below the best" in found.alarms["local optima"]
    even = _fitted(two_modes(12.0, share=0.5), FullCovariance, starts=8, seed=2)
    assert "as high as the best, but elsewhere" in even.alarms["local optima"]


def test_heavy_tails_raise_the_alarm_of_an_unreliable_guide():
    cauchy = torch.distributions.Cauchy(torch.tensor(0.0).double(), 1.0)
    found = _fitted(Known(1, lambda q: cauchy.log_prob(q[:, 0])), MeanField)
    assert found.extra["pareto_k"] > 0.7
    assert "Pareto k" in found.alarms["unreliable guide"]


def test_the_same_seed_gives_the_same_and_leaves_the_caller_s_noise():
    density = gaussian(torch.zeros(2).double(), covariance(2))
    torch.manual_seed(3)
    ahead = torch.rand(1)
    torch.manual_seed(3)
    one, two = (_fitted(density, MeanField, steps=20, draws=50, seed=7) for _ in range(2))
    assert torch.equal(torch.rand(1), ahead)
    assert torch.equal(one.unconstrained, two.unconstrained)


def test_what_can_be_no_guide_is_said():
    density = gaussian(torch.zeros(2).double(), covariance(2))
    with pytest.raises(TypeError, match="guide is a str: give MeanField"):
        _fitted(density, "meanfield")
    with pytest.raises(ValueError, match="batches are of a program's rows"):
        _fitted(density, MeanField, batch_size=10)
    with pytest.raises(NotImplementedError):
        Guide().rsample(1)
