"""Bayesian matrix factorisation against Pyro's bound, the exact evidence of a tiny table, and held-out cells."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from inference import em, fit
from zoo.matrix_factorisation import BayesianMatrixFactorisation
from zoo.ppca import ProbabilisticPCA

NAN = math.nan


def table(rows: int = 150, items: int = 12, share: float = 0.55) -> tuple[Tensor, Tensor]:
    """A table of rank two with noise 0.5, and the same with gaps."""
    generator = torch.Generator().manual_seed(0)
    z, w = torch.randn(rows, 2, generator=generator).double(), torch.randn(items, 2, generator=generator).double()
    x = 3 + z @ w.mT + 0.5 * torch.randn(rows, items, generator=generator).double()
    return x, torch.where(torch.rand(x.shape, generator=generator) < share, NAN, x)


def random(rows: int, items: int = 3, latent: int = 2) -> BayesianMatrixFactorisation:
    torch.manual_seed(0)
    model = BayesianMatrixFactorisation(items, size=rows, latent=latent).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.centre.fill_(0.3)
    return model


def test_bound_equals_pyros_on_average():
    model = random(4)
    x = torch.tensor([[1.0, NAN, 0.2], [NAN, NAN, -1.0], [0.5, 0.1, 0.3], [NAN, NAN, NAN]]).double()
    torch.manual_seed(1)
    with torch.no_grad():
        draws = torch.tensor([-Trace_ELBO().loss(model.model, model.guide, x) / 4 for _ in range(600)])
    error = draws.std().item() / math.sqrt(len(draws))
    assert error < 0.05
    assert abs(draws.mean().item() - model.elbo(x).item()) < 4 * error
    assert model.model(n=5).shape == model.sample(5).shape == (5, 3)


def test_bound_is_below_the_exact_evidence_and_near():
    """log p(x) of two rows of two items, the items drawn from their prior, the rows summed out exactly."""
    model = BayesianMatrixFactorisation(2, size=2, latent=1).double()
    x = torch.tensor([[0.8, 0.5], [-0.4, NAN]]).double()
    em(model, x, steps=50, progress=False)
    torch.manual_seed(0)
    items = model.log_spread.detach().exp() * torch.randn(400_000, 2, 2).double()
    scale = model.log_scale.detach().exp()
    log_p = torch.zeros(len(items)).double()
    for row in x:
        known = ~row.isnan()
        loc, w = model.centre + items[:, known, 1], items[:, known, :1]
        covariance = w @ w.mT + scale**2 * torch.eye(int(known.sum())).double()
        log_p += torch.distributions.MultivariateNormal(loc, covariance).log_prob(row[known])
    evidence = (log_p.logsumexp(0) - math.log(len(items))).item()
    bound = 2 * model.elbo(x).item()
    assert evidence - 0.5 < bound < evidence + 0.01


def test_em_climbs_the_bound_to_where_its_gradient_is_zero():
    _, x = table()
    model = BayesianMatrixFactorisation(12, size=150, latent=2).double()
    result = em(model, x, steps=600, tolerance=1e-12, block=64, progress=False)
    assert result.extra["monotone"]
    assert result.history["log_posterior"].iloc[-1] == pytest.approx(model.elbo(x).item(), abs=1e-9)
    grads = torch.autograd.grad(model.elbo(x), list(model.parameters()))
    assert max(g.abs().max().item() for g in grads) < 5e-3


def test_held_out_cells_are_foretold_with_their_uncertainty_and_better_than_without_a_prior():
    whole, x = table(rows=100, share=0.65)
    hidden = x.isnan()
    model = BayesianMatrixFactorisation(12, size=100, latent=5).double()
    em(model, x, steps=500, tolerance=1e-6, progress=False)
    mean, sd = model.predict(x).unbind(-1)
    gap = (mean - whole)[hidden]
    plain = ProbabilisticPCA(12, latent=5).double()
    em(plain, x, steps=500, tolerance=1e-6, progress=False)
    other = (plain.cells(x.nan_to_num(), ~hidden)[..., 0] - whole)[hidden]
    assert gap.square().mean().sqrt() < 0.95 * other.square().mean().sqrt()
    inside = (gap.abs() < 1.96 * sd[hidden]).double().mean().item()
    assert 0.88 < inside < 0.99
    spread = model.log_spread.exp()[:-1].sort().values
    assert spread[:2].max() < 0.35 * spread[-1]  # factors beyond those that the table has shrink


def test_gradients_go_up_too():
    _, x = table(rows=60)
    model = BayesianMatrixFactorisation(12, size=60, latent=2).double()
    before = model.elbo(x).item()
    fit(model, x, steps=50, batch_size=20, lr=0.02, progress=False)
    assert model.elbo(x).item() > before + 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1"):
        BayesianMatrixFactorisation(3, size=0)
    with pytest.raises(ValueError, match="number of items"):
        BayesianMatrixFactorisation((2, 2), size=3)
    with pytest.raises(ValueError, match="takes no context"):
        BayesianMatrixFactorisation(3, size=3, context_shape=1)
    with pytest.raises(ValueError, match="size=5 rows"):
        em(BayesianMatrixFactorisation(3, size=5), torch.zeros(4, 3), progress=False)
