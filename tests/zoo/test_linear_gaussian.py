"""Probabilistic PCA and factor analysis against dense normals, closed forms, scikit-learn and Pyro."""

import math

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as Peer
from torch import Tensor
from torch.distributions import MultivariateNormal

import zoo
from inference import diagnose, em, fit, log_likelihood, query
from inference.importance import log_weights
from zoo.factor_analysis import FactorAnalysis
from zoo.linear_gaussian import LinearGaussian
from zoo.ppca import ProbabilisticPCA

every_family = pytest.mark.parametrize("family", [FactorAnalysis, ProbabilisticPCA])
NAN = math.nan


def random(family: type[LinearGaussian], shape=(5,), latent: int = 2, seed: int = 0) -> LinearGaussian:
    """A model with every parameter at random, in double precision."""
    torch.manual_seed(seed)
    model = family(shape, latent=latent).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn_like(parameter))
    return model


def dense(model: LinearGaussian) -> MultivariateNormal:
    noise = (2 * model.log_scales).exp().diag()
    return MultivariateNormal(model.loc, model.loadings @ model.loadings.mT + noise)


def draws(n: int = 300, seed: int = 1, latent: int = 2, features: int = 6) -> Tensor:
    """Rows of a factor model, of columns in different units."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(features, latent, generator=generator).double()
    z, noise = (torch.randn(n, size, generator=generator).double() for size in (latent, features))
    scales = torch.linspace(0.3, 1.5, features).double()
    return (z @ weights.mT + noise * scales) * torch.linspace(0.5, 3, features) + 4


def with_gaps(x: Tensor, share: float = 0.25, seed: int = 2) -> Tensor:
    gaps = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(gaps, NAN, x)


@every_family
def test_density_and_its_gradients_equal_a_dense_normals(family):
    model = random(family, (2, 3))
    x = torch.randn(20, 2, 3, dtype=torch.float64)
    truth = dense(model).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_prob(x), truth, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(model.distribution().covariance_matrix, dense(model).covariance_matrix)
    torch.testing.assert_close(model.distribution().variance.flatten(), dense(model).variance)
    ours = torch.autograd.grad(model.log_prob(x).sum(), list(model.parameters()))
    theirs = torch.autograd.grad(truth.sum(), list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@every_family
def test_single_precision_bears_little_noise(family):
    model = random(family)
    with torch.no_grad():
        model.log_scale.fill_(-6.0)
    x = model.sample(50)
    truth = dense(model).log_prob(x)
    torch.testing.assert_close(model.float().log_prob(x.float()).double(), truth, rtol=2e-2, atol=0.5)


@every_family
def test_draws_have_the_moments(family):
    model = random(family)
    x = model.sample(200_000)
    torch.testing.assert_close(x.mean(0), model.loc.detach(), rtol=0, atol=0.03)
    torch.testing.assert_close(x.mT.cov(), dense(model).covariance_matrix.detach(), rtol=0.03, atol=0.04)
    assert random(family, (2, 3)).sample(4).shape == (4, 2, 3)


@every_family
def test_rows_that_lack_cells_have_the_marginal_likelihood(family):
    model = random(family)
    x = with_gaps(torch.randn(30, 5).double(), 0.4)
    x[0], x[1] = NAN, 1.0
    whole, found = dense(model), model.log_prob(x)
    for row, value in zip(x, found, strict=True):
        k = (~row.isnan()).nonzero()[:, 0]
        part = MultivariateNormal(whole.mean[k], whole.covariance_matrix[k][:, k]) if len(k) else None
        assert value.item() == pytest.approx(part.log_prob(row[k]).item() if part else 0.0, abs=1e-10)
    grads = torch.autograd.grad(found.sum(), list(model.parameters()))
    assert all(g.isfinite().all() for g in grads)
    assert log_likelihood(model, x).kind == "exact"


@every_family
def test_posterior_is_gaussian_conditioning_of_the_joint(family):
    model = random(family)
    x = torch.cat([torch.randn(4, 5).double(), with_gaps(torch.randn(4, 5).double())])
    cross = dense(model).covariance_matrix
    given = model.posterior(x)
    for n, row in enumerate(x):
        k = (~row.isnan()).nonzero()[:, 0]
        gain = model.loadings[k].mT @ torch.linalg.inv(cross[k][:, k])
        torch.testing.assert_close(given.mean[n], gain @ (row[k] - model.loc[k]))
        torch.testing.assert_close(
            given.covariance_matrix[n], torch.eye(2).double() - gain @ model.loadings[k], atol=1e-10, rtol=0
        )
    torch.testing.assert_close(model.encode(x), given.mean.detach())
    torch.testing.assert_close(model.reconstruct(x), (model.loc + given.mean @ model.loadings.mT).detach())


@every_family
def test_every_draw_of_the_exact_posterior_weighs_as_much_as_the_likelihood(family):
    model = random(family, (2, 3))
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    weights = log_weights(model, x, draws=5).log_weights
    torch.testing.assert_close(weights, model.log_prob(x).expand(5, -1), atol=1e-9, rtol=0)
    for pair in ((model.model, model.guide), (model.latent_model, model.latent_guide)):
        assert -Trace_ELBO().loss(*pair, x) == pytest.approx(model.log_prob(x).sum().item(), abs=1e-8)
    assert model.latent_model(n=3).shape == (3, 2, 3)


@every_family
def test_query_answers_for_z_and_for_gaps_in_closed_form(family):
    model = random(family)
    x = with_gaps(torch.randn(6, 5).double(), 0.4)
    z = query(model, "z", given={"x": x})
    assert z.kind == "exact" and "closed form" in z.method
    np.testing.assert_allclose(z["z"].sel(statistic="mean"), model.encode(x))
    np.testing.assert_allclose(z["z"].sel(statistic="sd"), model.posterior(x).stddev.detach())
    np.testing.assert_allclose(z.log_evidence, model.log_prob(x).detach())
    answer = query(model, "x", given={"x": x})
    assert answer.kind == "exact"
    covariance, drawn = dense(model).covariance_matrix, model.complete(x, ~x.isnan(), 20_000)
    for n, row in enumerate(x):
        k, u = (~row.isnan()).nonzero()[:, 0], row.isnan().nonzero()[:, 0]
        gain = covariance[u][:, k] @ torch.linalg.inv(covariance[k][:, k])
        left = covariance[u][:, u] - gain @ covariance[k][:, u]
        middle = model.loc[u] + gain @ (row[k] - model.loc[k])
        found = torch.from_numpy(answer["x"].sel(row=n).values)
        torch.testing.assert_close(found[u, 0], middle.detach())
        torch.testing.assert_close(found[u, 1], left.diagonal().sqrt().detach())
        torch.testing.assert_close(found[k], torch.stack([row[k], torch.zeros(len(k))], -1))
        if len(u) > 1:
            torch.testing.assert_close(drawn[:, n, u].mT.cov(), left.detach(), atol=0.15, rtol=0.05)
        assert torch.equal(drawn[:, n, k], row[k].expand(20_000, -1))
    with pytest.raises(ValueError, match=r"it answers for its latents \['z'\]"):
        query(model, "component", given={"x": torch.zeros(1, 5)})


def test_closed_form_equals_scikit_learns_pca():
    x = draws()
    model = ProbabilisticPCA(6, latent=2).double().maximum_likelihood(x)
    peer = PCA(2, svd_solver="full").fit(x.numpy())
    scaled = ProbabilisticPCA(6, latent=2).double().maximum_likelihood(x)
    with torch.no_grad():  # scikit-learn divides by n - 1
        root = math.sqrt(300 / 299)
        scaled.loadings.mul_(root)
        scaled.log_scale.add_(math.log(root))
    np.testing.assert_allclose(scaled.log_prob(x).detach(), peer.score_samples(x.numpy()), rtol=1e-9)
    directions, variances = scaled.components()
    np.testing.assert_allclose(np.abs((directions.numpy() * peer.components_).sum(1)), 1.0, atol=1e-9)
    np.testing.assert_allclose(variances, peer.explained_variance_, rtol=1e-9)
    # it is the maximum: the gradient is zero, and moving away loses
    grads = torch.autograd.grad(model.log_prob(x).mean(), list(model.parameters()))
    assert max(float(g.abs().max()) for g in grads) < 1e-9


def test_em_from_anywhere_reaches_the_closed_form():
    x = draws()
    best = ProbabilisticPCA(6, latent=2).double().maximum_likelihood(x)
    model = random(ProbabilisticPCA, (6,), seed=4)
    result = em(model, x, steps=2000, tolerance=1e-13, start=False, progress=False)
    assert result.extra["monotone"]
    torch.testing.assert_close(model.log_prob(x).mean(), best.log_prob(x).mean(), atol=1e-8, rtol=0)
    torch.testing.assert_close(model.loadings @ model.loadings.mT, best.loadings @ best.loadings.mT, atol=1e-3, rtol=0)
    torch.testing.assert_close(model.log_scale, best.log_scale, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.loc, best.loc, atol=1e-5, rtol=0)
    started = em(ProbabilisticPCA(6, latent=2).double(), x, progress=False)
    assert started.stopped == "converged" and started.steps == 1


def test_em_equals_scikit_learns_factor_analysis():
    x = draws()
    model = FactorAnalysis(6, latent=2).double()
    result = em(model, x, steps=3000, tolerance=1e-12, progress=False)
    peer = Peer(2, tol=1e-10, max_iter=20_000, svd_method="lapack").fit(x.numpy())
    assert result.extra["monotone"]
    assert model.log_prob(x).mean().item() == pytest.approx(peer.score(x.numpy()), abs=1e-6)
    np.testing.assert_allclose((2 * model.log_scale).exp().detach(), peer.noise_variance_, rtol=2e-3)
    np.testing.assert_allclose(dense(model).covariance_matrix.detach(), peer.get_covariance(), atol=5e-3)
    unexplained = peer.noise_variance_ / peer.get_covariance().diagonal()
    np.testing.assert_allclose(1 - model.communalities.detach(), unexplained, atol=1e-3)


@every_family
def test_em_is_monotone_and_ends_at_a_maximum_where_rows_lack_cells(family):
    x = with_gaps(draws(150), 0.2)
    model = family(6, latent=2).double()
    result = em(model, x, steps=400, tolerance=1e-10, block=64, progress=False)
    history = result.history["log_likelihood"]
    assert (history.diff()[1:] >= -1e-12).all()
    assert history.iloc[-1] == pytest.approx(model.log_prob(x).mean().item(), abs=1e-10)
    grads = torch.autograd.grad(model.log_prob(x).mean(), list(model.parameters()))
    assert max(float(g.abs().max()) for g in grads) < 2e-3


@every_family
def test_one_step_of_em_is_the_same_in_blocks_and_from_gradients_it_goes_up_too(family):
    x = with_gaps(draws(100), 0.1)
    found = []
    for block in (7, 100):
        model = random(family, (6,))
        em(model, x, steps=1, tolerance=0, block=block, start=False, progress=False)
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*found)
    model = random(family, (6,))
    before = model.log_prob(x).mean().item()
    fit(model, x, steps=50, lr=0.02, progress=False)
    assert model.log_prob(x).mean().item() > before + 1


def test_factors_do_not_mind_units():
    x, units = draws(), torch.logspace(-2, 2, 6).double()
    found = []
    for rows in (x, x * units):
        model = FactorAnalysis(6, latent=2, floor=1e-12).double()
        em(model, rows, steps=500, tolerance=1e-11, progress=False)
        found.append(model)
    torch.testing.assert_close(found[0].communalities, found[1].communalities, atol=1e-4, rtol=0)
    gap = found[0].log_prob(x).mean() - found[1].log_prob(x * units).mean() - units.log().sum()
    assert abs(gap.item()) < 1e-6


@every_family
def test_it_fits_any_slot_and_diagnose_takes_it(family):
    prior = family(3, latent=1)
    vae = zoo.VAE(6, latent=3, hidden=(8,), prior=prior)
    fit(vae, torch.bernoulli(torch.full((40, 6), 0.5)), steps=5, batch_size=20, progress=False)
    assert log_likelihood(vae, torch.zeros(2, 6)).kind == "lower bound"
    x = draws(100).float()
    report = diagnose(em(family(6, latent=2), x, progress=False), x)
    assert "exact" in report.verdict[0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="latent must be from 1 to 3"):
        FactorAnalysis(4, latent=4)
    with pytest.raises(ValueError, match="takes no context"):
        ProbabilisticPCA(4, context_shape=2)
    with pytest.raises(ValueError, match="floor must be positive"):
        ProbabilisticPCA(4, floor=0)
    unseen = draws(10)
    unseen[:, 3] = NAN
    with pytest.raises(ValueError, match="number 3 of x is missing in every row"):
        em(FactorAnalysis(6), unseen, progress=False)
    with pytest.raises(ValueError, match="at least 2 rows"):
        em(FactorAnalysis(6), draws(1), progress=False)
    with pytest.raises(ValueError, match=r"take inference\.em"):
        ProbabilisticPCA(6).maximum_likelihood(with_gaps(draws(10)))


@every_family
def test_a_column_that_never_changes_meets_the_floor(family):
    x = draws(50)
    x[:, 2] = 1.0
    model = family(6, latent=2, floor=1e-4).double()
    em(model, x, progress=False)
    assert torch.isfinite(model.log_prob(x)).all()
    assert (2 * model.log_scales).exp().min() >= 1e-4 * (1 - 1e-9)
