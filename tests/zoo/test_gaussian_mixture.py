"""Mixtures of Gaussians against torch's own mixture, Pyro's enumeration, Bayes' rule and quadrature."""

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from sklearn.cluster import KMeans
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from inference.fit import fit
from inference.schedules import linear
from zoo.base import Refusal
from zoo.bayesian_mixture import BayesianGaussianMixture
from zoo.covariances import FORMS
from zoo.gaussian_mixture import GaussianMixture

every_form = pytest.mark.parametrize("covariance", FORMS)


def mixture(covariance: str, shape=(3,), components: int = 4, spread: float = 0.4) -> GaussianMixture:
    """A mixture with every parameter at random."""
    torch.manual_seed(0)
    model = GaussianMixture(shape, components=components, covariance=covariance).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * spread)
    return model


def torch_mixture(model: GaussianMixture) -> MixtureSameFamily:
    parts = MultivariateNormal(model.means, covariance_matrix=model.covariance.covariances())
    return MixtureSameFamily(Categorical(logits=model.logits), parts)


@every_form
def test_density_equals_torchs(covariance):
    model = mixture(covariance, (2, 2))
    x = torch.randn(50, 2, 2, dtype=torch.float64) * 2
    torch.testing.assert_close(model.log_prob(x), torch_mixture(model).log_prob(x.flatten(1)), rtol=0, atol=1e-10)


@every_form
def test_density_in_one_dimension_equals_torchs(covariance):
    model = mixture(covariance, 1)
    x = torch.randn(50, 1, dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(x), torch_mixture(model).log_prob(x), rtol=0, atol=1e-10)


@every_form
def test_density_integrates_to_one(covariance):
    axis = torch.linspace(-14, 14, 701, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    mass = mixture(covariance, 2).log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-5)


@every_form
def test_samples_have_the_mixtures_moments(covariance):
    model = mixture(covariance, 2)
    x = model.sample(200_000)
    weights, means, within = model.weights, model.means, model.covariance.covariances()
    mean = weights @ means
    gaps = means - mean
    total = torch.einsum("k,kij->ij", weights, within + gaps.unsqueeze(-1) * gaps.unsqueeze(-2))
    torch.testing.assert_close(x.mean(0), mean.detach(), rtol=0, atol=0.03)
    torch.testing.assert_close(x.T.cov(), total.detach(), rtol=0.03, atol=0.03)
    torch.testing.assert_close(model.distribution().mean, mean)
    assert mixture(covariance, (2, 2)).sample(5).shape == (5, 2, 2)


@every_form
def test_every_parameter_has_the_gradient_of_torchs_density(covariance):
    model = mixture(covariance)
    x = torch.randn(30, 3, dtype=torch.float64)
    ours = torch.autograd.grad(model.log_prob(x).sum(), list(model.parameters()))
    theirs = torch.autograd.grad(torch_mixture(model).log_prob(x).sum(), list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine != 0).all()
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-9)


@every_form
def test_enumeration_equals_the_closed_form(covariance):
    model = mixture(covariance, (3, 1))
    x = torch.randn(20, 3, 1, dtype=torch.float64)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model.enumerated, lambda x: None, x)
    assert -loss == pytest.approx(model.log_prob(x).sum().item(), abs=1e-6)
    assert Trace_ELBO().loss(model.model, model.guide, x) == pytest.approx(loss, abs=1e-6)
    assert model.enumerated(n=4).shape == (4, 3, 1)


@every_form
def test_posterior_is_bayes_rule(covariance):
    model = mixture(covariance)
    x = torch.randn(20, 3, dtype=torch.float64)
    posterior = model.posterior(x)
    parts = MultivariateNormal(model.means, covariance_matrix=model.covariance.covariances())
    joint = model.weights * parts.log_prob(x.unsqueeze(1)).exp()
    torch.testing.assert_close(posterior, joint / joint.sum(-1, keepdim=True))
    torch.testing.assert_close(posterior.sum(-1), torch.ones(20, dtype=torch.float64))


def test_fewer_distinct_rows_than_components_are_enough():
    model = GaussianMixture(2, components=3).double()
    model.em_start(torch.ones(10, 2, dtype=torch.float64), torch.Generator().manual_seed(0))
    assert torch.isfinite(model.log_prob(torch.ones(1, 2, dtype=torch.float64))).all()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"'diag' is unknown.*nearest: diagonal"):
        GaussianMixture(2, covariance="diag")
    with pytest.raises(ValueError, match="components must be at least 1"):
        GaussianMixture(2, components=0)
    with pytest.raises(ValueError, match="takes no context"):
        GaussianMixture(2, context_shape=3)
    with pytest.raises(ValueError, match="ridge"):
        GaussianMixture(2, ridge=-1)
    with pytest.raises(ValueError, match="at least as many rows"):
        GaussianMixture(2, components=4).em_start(torch.randn(3, 2), torch.Generator())
    with pytest.raises(ValueError, match="takes no context"):
        BayesianGaussianMixture(2, size=3, context_shape=1)
    with pytest.raises(ValueError, match="size must be"):
        BayesianGaussianMixture(2, size=0)
    with pytest.raises(Refusal, match="lower bound"):
        BayesianGaussianMixture(2, size=3).log_prob(torch.zeros(1, 2))


def bayesian(size: int, components: int = 2, **options) -> BayesianGaussianMixture:
    torch.manual_seed(0)
    return BayesianGaussianMixture(2, size=size, components=components, **options).double()


def test_bayesian_bound_sums_the_components_out():
    """With the guide's draws fixed, the bound is the closed form of the mixture at those draws."""
    model = bayesian(30)
    x = torch.randn(30, 2, dtype=torch.float64)
    torch.manual_seed(1)
    bound = model.elbo(x) * 30
    torch.manual_seed(1)
    drawn = [posterior.rsample() for posterior in model.posteriors()]
    weights, means, scales = drawn
    zeros = torch.zeros_like(means)
    priors = (
        torch.distributions.Dirichlet(torch.ones(2, dtype=torch.float64)).log_prob(weights),
        torch.distributions.Normal(zeros, 3.0).log_prob(means).sum(),
        torch.distributions.LogNormal(zeros, 1.0).log_prob(scales).sum(),
    )
    proposals = sum(q.log_prob(value) for q, value in zip(model.posteriors(), drawn, strict=True))
    parts = torch.distributions.Independent(torch.distributions.Normal(means, scales), 1)
    likelihood = MixtureSameFamily(Categorical(weights), parts).log_prob(x).sum()
    torch.testing.assert_close(bound, likelihood + sum(priors) - proposals)
    bound.backward()
    assert all(p.grad is not None and (p.grad != 0).all() for p in model.parameters())


def test_bayesian_minibatches_are_unbiased():
    model = bayesian(40)
    x = torch.randn(40, 2, dtype=torch.float64)

    def bound(rows):
        torch.manual_seed(2)
        return model.elbo(rows).item()

    assert sum(bound(rows) for rows in x.split(10)) / 4 == pytest.approx(bound(x), abs=1e-10)


def test_bayesian_means_find_the_conjugate_posterior():
    """One component of nearly known scale: the mean's posterior is N(n s / (n + 1 / 9), 1 / (n + 1 / 9))."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    x = torch.randn(100, 2, dtype=torch.float64) + 1
    model = bayesian(100, 1, width=1e-3)
    with torch.no_grad():
        model.scales_log_scale.fill_(-7.0)
    model.scales_loc.requires_grad_(False)
    model.scales_log_scale.requires_grad_(False)
    result = fit(model, x, steps=600, lr=0.03, batch_size=None, schedule=linear(600, 0.02))
    assert result.objective == "OwnElbo"
    precision = 100 + 1 / 9
    torch.testing.assert_close(model.means_loc[0].detach(), x.sum(0) / precision, rtol=0, atol=0.02)
    spread = model.means_log_scale[0].detach().exp()
    torch.testing.assert_close(spread, torch.full_like(spread, precision**-0.5), rtol=0.1, atol=0)
    assert len(pyro.get_param_store()) == 0
    assert model.sample(7).shape == (7, 2) and model.model(n=7).shape == (7, 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_start_is_the_likelier_clustering_whatever_its_inertia(
    order: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two long thin bands: cut across, squared distances are least; told apart, the likelihood is greatest."""
    torch.manual_seed(0)
    rows = torch.randn(400, 2).double() * torch.tensor([20.0, 0.1]).double()
    rows[200:, 1] += 4
    centres = torch.tensor([[[0.0, 0.0], [0.0, 4.0]], [[-16.0, 2.0], [16.0, 2.0]]]).double()
    along, across = (KMeans(2, n_init=1, random_state=0).fit(rows.numpy()) for _ in centres)
    along.cluster_centers_, across.cluster_centers_ = centres.numpy()
    assert across.score(rows.numpy()) > along.score(rows.numpy())  # minus the sums of squares
    starts = [(along, across)[i] for i in order]
    monkeypatch.setattr("zoo.gaussian_mixture._clusterings", lambda *_: starts)
    model = GaussianMixture(2, components=2).double()
    model.em_start(rows, torch.Generator())
    torch.testing.assert_close(model.means[:, 1].sort().values, torch.tensor([0.0, 4.0]).double(), atol=0.05, rtol=0)


def numpy_conditional(model: GaussianMixture, known: list[int], values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weights, means and covariances of the rest given one row's values, component by component."""
    weights, means = model.weights.detach().numpy(), model.means.detach().numpy()
    covariances = model.covariance.covariances().detach().numpy()
    rest = [d for d in range(means.shape[1]) if d not in known]
    found = []
    for w, m, c in zip(weights, means, covariances, strict=True):
        gain = c[np.ix_(rest, known)] @ np.linalg.inv(c[np.ix_(known, known)])
        density = scipy.stats.multivariate_normal(m[known], c[np.ix_(known, known)]).pdf(values)
        cov = c[np.ix_(rest, rest)] - gain @ c[np.ix_(known, rest)]
        found.append((w * density, m[rest] + gain @ (values - m[known]), cov))
    weights, means, covariances = (np.array(part) for part in zip(*found, strict=True))
    return weights / weights.sum(), means, covariances


def random_mixture(covariance: str, features: int = 4) -> GaussianMixture:
    torch.manual_seed(3)
    model = GaussianMixture(features, components=3, covariance=covariance).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_some_numbers_given_others_are_what_numpy_says(covariance: str) -> None:
    model = random_mixture(covariance)
    x, known = model.sample(5), [2, 0]
    given = model.conditional(x[:, known], known)
    grid = torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(0)).double()
    found = given.log_prob(grid).detach().numpy()
    for n in range(5):
        weights, means, covariances = numpy_conditional(model, known, x[n, known].numpy())
        density = sum(
            w * scipy.stats.multivariate_normal(m, c).pdf(grid[:, n].numpy())
            for w, m, c in zip(weights, means, covariances, strict=True)
        )
        np.testing.assert_allclose(found[:, n], np.log(density), rtol=1e-9)
        np.testing.assert_allclose(given.mean[n].detach(), weights @ means, rtol=1e-9)
    marginal = model.marginal(known)
    whole = torch.empty(5, 4).double()
    whole[:, known], whole[:, [1, 3]] = x[:, known], grid[0]
    torch.testing.assert_close(marginal.log_prob(x[:, known]) + given.log_prob(grid[0]), model.log_prob(whole))


def test_a_conditional_density_is_the_joint_integrated() -> None:
    model = random_mixture("full", features=2)
    grid = torch.linspace(-40, 40, 40_001, dtype=torch.float64)
    rows = torch.stack([torch.full_like(grid, 0.3), grid], -1)
    joint = model.log_prob(rows).detach().exp()
    step = grid[1] - grid[0]
    torch.testing.assert_close(model.marginal(0).log_prob(rows[:1, :1]).exp(), joint.sum(0, keepdim=True) * step)
    given = model.conditional(rows[:1, :1], 0)
    torch.testing.assert_close(given.log_prob(grid.reshape(-1, 1, 1))[:, 0].exp(), joint / (joint.sum() * step))
    x, known = rows[:1], torch.tensor([[True, False]])
    mean, sd = model.cells(x, known)[0, 1]
    torch.testing.assert_close(mean, (grid * joint).sum() / joint.sum())
    torch.testing.assert_close(sd.square(), ((grid - mean).square() * joint).sum() / joint.sum())


def test_gaps_of_a_row_are_drawn_and_described_given_the_rest() -> None:
    torch.manual_seed(3)
    model = GaussianMixture((2, 2), components=3).double()
    model.load_state_dict(random_mixture("full").state_dict())
    x = model.sample(3)
    known = torch.tensor([[[1, 0], [1, 0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]]).bool()
    cells = model.cells(torch.where(known, x, torch.nan), known)
    assert torch.equal(cells[1, ..., 0], x[1])
    torch.testing.assert_close(cells[2, ..., 0], model.distribution().mean)
    weights, means, _ = numpy_conditional(model, [0, 2], x[0].flatten()[[0, 2]].numpy())
    np.testing.assert_allclose(cells[0, :, 1, 0].detach(), weights @ means, rtol=1e-9)
    drawn = model.complete(x, known, 20_000)
    assert (drawn == x)[:, known].all()
    torch.testing.assert_close(drawn.mean(0), cells[..., 0], atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0), cells[..., 1], atol=0.1, rtol=0.05)


def test_wrong_dims_are_refused() -> None:
    model = GaussianMixture(3)
    for dims in ([], [3], [0, 0], [0, -3], [True]):
        with pytest.raises(ValueError, match="different places among the 3"):
            model.marginal(dims)
    with pytest.raises(ValueError, match="every number is given"):
        model.conditional(torch.zeros(1, 3), [0, 1, 2])
    with pytest.raises(ValueError, match=r"\[N, 2\], but is \[1, 3\]"):
        model.conditional(torch.zeros(1, 3), [0, 1])
