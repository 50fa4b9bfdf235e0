"""Sequential Monte Carlo: evidence against closed forms, its error against repetitions, modes by their mass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy import integrate, special, stats
from torch import Tensor

from inference.program import Program
from inference.resampling import systematic
from inference.sampling.density import LogDensity
from inference.sampling.hmc import Hmc
from inference.sampling.kernel import Kernel
from inference.sampling.prior import prior_of
from inference.sampling.random_walk import RandomWalk
from inference.sampling.tempering import (
    Tempered,
    annealed,
    check_reached,
    conditional_ess,
    next_temperature,
)
from inference.smc import smc
from tests.inference.sampling.targets import Gaussian, Target


def within(posterior: Any, truth: float) -> bool:
    """Whether the evidence is right by its own error, which must be small."""
    error = posterior.extra["log_evidence_error"]
    return bool(error < 0.1 and abs(posterior.extra["log_evidence"] - truth) < 4 * error)


def linear(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x @ w, 0.7), obs=y)


@pytest.mark.parametrize("kernel", [Hmc(), RandomWalk()], ids=lambda kernel: kernel.name)
def test_a_conjugate_regression(kernel: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, dtype=torch.float64, generator=generator) @ torch.tensor(
        [[1.0, 0.8, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 3.0]], dtype=torch.float64
    )
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.7 * torch.randn(20, generator=generator)
    posterior = smc(linear, {"x": x, "y": y}, kernel=kernel, particles=1024, progress=False)
    covariance = (x.T @ x / 0.49 + torch.eye(3) / 4).inverse()
    mean, sd = covariance @ (x.T @ y) / 0.49, covariance.diagonal().sqrt()
    drawn = posterior["w"].flatten(0, 1)
    assert ((drawn.mean(0) - mean).abs() < 0.15 * sd).all()  # 1024 draws, each worth a half or so
    assert ((drawn.std(0) / sd - 1).abs() < 0.1).all()
    marginal = dist.MultivariateNormal(torch.zeros(20).double(), 0.49 * torch.eye(20) + 4 * x @ x.T)
    assert within(posterior, float(marginal.log_prob(y)))
    assert posterior.shape == (8, 128) and posterior.extra["temperatures"][-1] == 1
    torch.testing.assert_close(posterior.stats["lp"][0], LogDensity.of(posterior.program)(posterior.unconstrained[0]))
    assert not posterior.alarms


def coin(heads: float, throws: int) -> None:
    p = pyro.sample("p", dist.Beta(2.0, 3.0))
    pyro.sample("heads", dist.Binomial(throws, p), obs=torch.as_tensor(heads))


def counts(y: Tensor) -> None:
    rate = pyro.sample("rate", dist.Gamma(2.0, 0.5))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Poisson(rate), obs=y)


def test_evidence_and_moments_on_bounded_supports() -> None:
    """The Jacobians of the logit and of the logarithm belong to the prior: beta-binomial and gamma-Poisson."""
    posterior = smc(coin, {"heads": 9.0, "throws": 12}, particles=1024, progress=False)
    assert within(posterior, float(stats.betabinom(12, 2, 3).logpmf(9)))
    truth = stats.beta(11, 6)
    assert posterior["p"].mean().item() == pytest.approx(truth.mean(), abs=0.15 * truth.std())
    y = torch.tensor([3.0, 5, 4, 8, 2], dtype=torch.float64)
    posterior = smc(counts, {"y": y}, particles=1024, progress=False)
    total = float(y.sum())
    closed = 2 * math.log(0.5) - (2 + total) * math.log(5.5) + special.gammaln(2 + total)
    assert within(posterior, closed - special.gammaln(2) - float(special.gammaln(y.numpy() + 1).sum()))
    truth = stats.gamma(2 + total, scale=1 / 5.5)
    assert posterior["rate"].mean().item() == pytest.approx(truth.mean(), abs=0.15 * truth.std())
    assert posterior["rate"].std().item() == pytest.approx(truth.std(), rel=0.1)


def square_root(y: Tensor) -> None:
    root = pyro.sample("root", dist.Normal(0.3, 3.0))
    pyro.sample("y", dist.Normal(root**2, 0.5), obs=y)


def test_both_modes_are_found_in_proportion_to_their_mass() -> None:
    """x^2 near 16 leaves x near 4 and near -4, of masses that quadrature gives."""
    posterior = smc(square_root, torch.tensor(16.0), particles=2048, progress=False)

    def joint(x: float) -> float:
        return float(stats.norm(0.3, 3).pdf(x) * stats.norm(x**2, 0.5).pdf(16))

    above, below = integrate.quad(joint, 3, 5)[0], integrate.quad(joint, -5, -3)[0]
    assert within(posterior, math.log(above + below))
    shares = (posterior["root"] > 0).double().mean(1)
    assert shares.mean().item() == pytest.approx(above / (above + below), abs=4 * float(shares.std()) / math.sqrt(8))
    assert shares.std() < 0.1
    assert posterior["root"].abs().mean().item() == pytest.approx(4, abs=0.01)


def switched(y: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    which = pyro.sample("which", dist.Bernoulli(0.25), infer={"enumerate": "parallel"})
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean + 3 * which, 1.0), obs=y)


def test_enumerated_latents_are_summed_out_of_the_evidence() -> None:
    y = torch.tensor([2.0, 1.0, 2.5], dtype=torch.float64)
    posterior = smc(switched, {"y": y}, particles=1024, progress=False)
    marginal = stats.multivariate_normal(np.zeros(3), np.eye(3) + 1)
    parts = [math.log(0.75) + marginal.logpdf(y.numpy()), math.log(0.25) + marginal.logpdf(y.numpy() - 3)]
    assert within(posterior, float(special.logsumexp(parts)))


class Product(Target):
    """A Gaussian prior times a Gaussian likelihood: log Z is that of their overlap."""

    def __init__(self, prior: Gaussian, likelihood: Gaussian) -> None:
        self.prior, self.likelihood, self.dim = prior, likelihood, prior.dim

    def __call__(self, q: Tensor) -> Tensor:
        return self.prior(q) + self.likelihood(q)


def overlap() -> tuple[Gaussian, Product, float]:
    prior = Gaussian(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0])))
    likelihood = Gaussian(torch.tensor([1.5, 0.0]), torch.tensor([[0.1, 0.05], [0.05, 0.2]]))
    both = prior.distribution.covariance_matrix + likelihood.distribution.covariance_matrix
    truth = dist.MultivariateNormal(prior.distribution.mean, both).log_prob(likelihood.distribution.mean)
    return prior, Product(prior, likelihood), float(truth)


def test_the_evidence_is_unbiased_and_its_error_honest() -> None:
    """Over 120 repetitions of 4 populations of 64: the mean of Z, and how far off the mean is by the error stated."""
    torch.manual_seed(1)
    prior, joint, truth = overlap()
    ratios, scores = [], []
    for _ in range(120):
        found = annealed(
            prior, joint, prior.draw(256).view(4, 64, 2), RandomWalk(), share=0.5, limit=6, report=lambda _: None
        )
        z = (found.log_evidence - truth).exp()
        ratios.append(z)
        scores.append((z.mean() - 1) / (z.std() / 2))
    z = torch.stack(ratios)
    assert abs(float(z.mean()) - 1) < 4 * float(z.std()) / math.sqrt(z.numel())
    # of Student's t with three degrees: 0.39 of it lies beyond 1, and 0.14 beyond 2
    t = torch.stack(scores).abs()
    assert (t > 1).double().mean().item() == pytest.approx(0.391, abs=0.15)
    assert (t > 2).double().mean().item() == pytest.approx(0.139, abs=0.1)


def test_the_path_leads_from_the_prior_to_the_joint() -> None:
    prior, joint, _ = overlap()
    q = torch.randn(5, 2, dtype=torch.float64)
    for beta in (0.0, 0.3, 1.0):
        value, slope = Tempered(prior, joint, beta).value_and_grad(q)
        at = q.clone().requires_grad_()
        wanted = prior(at) + beta * joint.likelihood(at)
        torch.testing.assert_close(value, wanted.detach())
        torch.testing.assert_close(Tempered(prior, joint, beta)(q), wanted.detach())
        torch.testing.assert_close(slope, torch.autograd.grad(wanted.sum(), at)[0])
    torch.testing.assert_close(Tempered(prior, joint, 0.5).log_likelihood(q), joint.likelihood(q))


def test_the_next_temperature_leaves_the_weights_their_worth() -> None:
    torch.manual_seed(2)
    log_likelihood = 50 * torch.randn(3, 200, dtype=torch.float64)
    beta = next_temperature(log_likelihood, 0.1, 0.7)
    weights = ((beta - 0.1) * log_likelihood).exp()
    worth = weights.sum(1).square() / weights.square().sum(1) / 200
    torch.testing.assert_close(conditional_ess(log_likelihood, beta - 0.1), worth)
    assert worth.mean().item() == pytest.approx(0.7, abs=1e-6)
    assert next_temperature(log_likelihood / 1e4, 0.1, 0.7) == 1
    log_likelihood[:, :150] = -math.inf  # impossible particles do not count among those that weights are worth of
    beta = next_temperature(log_likelihood, 0.1, 0.7)
    assert conditional_ess(log_likelihood, beta - 0.1).mean().item() == pytest.approx(0.7, abs=1e-6)


def test_resampling_is_systematic() -> None:
    torch.manual_seed(3)
    weights = torch.rand(4, 50, dtype=torch.float64).softmax(1)
    weights[0, :30] = 0
    weights = weights / weights.sum(1, keepdim=True)
    times = torch.stack(
        [
            torch.stack([row.bincount(minlength=50) for row in systematic(weights, torch.rand_like(weights[:, :1]))])
            for _ in range(2000)
        ]
    )
    expected = 50 * weights
    assert ((times >= expected.floor() - 1e-9) & (times <= expected.ceil() + 1e-9)).all()
    assert ((times.double().mean(0) - expected).abs() < 4.5 * 0.5 / math.sqrt(2000)).all()


def improper(y: Tensor) -> None:
    level = pyro.sample("level", dist.ImproperUniform(dist.constraints.real, (), ()))
    pyro.sample("y", dist.Normal(level, 1.0), obs=y)


def masked(y: Tensor) -> None:
    level = pyro.sample("level", dist.Normal(0.0, 1.0).mask(False))
    pyro.sample("y", dist.Normal(level, 1.0), obs=y)


def scaled(y: Tensor) -> None:
    with poutine.scale(scale=0.5):
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(level, 1.0), obs=y)


@pytest.mark.parametrize(
    ("model", "fault"), [(improper, "is improper"), (masked, "is masked"), (scaled, r"is scaled by 0\.5")]
)
def test_priors_that_do_not_integrate_to_one_are_refused(model: Callable[..., Any], fault: str) -> None:
    with pytest.raises(ValueError, match=f"the prior of 'level' {fault}, so that there is no evidence"):
        smc(model, torch.tensor(1.0), progress=False)


def unreachable(y: Tensor) -> None:
    level = pyro.sample("level", dist.Uniform(0.0, 1.0))
    pyro.sample("y", dist.Uniform(level, level + 1.0), obs=y)


def test_data_that_no_particle_reaches_are_refused() -> None:
    with pytest.raises(ValueError, match="unreachable: the likelihood of the site 'y' is zero at every start tried"):
        smc(unreachable, torch.tensor(5.0), particles=64, progress=False)


def test_populations_that_all_die_out_are_refused() -> None:
    log_likelihood = torch.full((3, 4), -torch.inf)
    log_likelihood[0, 1] = 0.0
    with pytest.raises(ValueError, match=r"in 2 of 3 populations no particle at temperature 0.5 has a finite"):
        check_reached(log_likelihood, 0.5)


@pytest.mark.parametrize(("particles", "populations"), [(100, 8), (32, 8), (64, 1)])
def test_particles_must_fill_the_populations(particles: int, populations: int) -> None:
    with pytest.raises(ValueError, match=f"not {particles} in {populations}"):
        smc(counts, {"y": torch.ones(2)}, particles=particles, populations=populations)


def test_a_seed_is_a_result_and_the_callers_noise_is_left_alone() -> None:
    before = torch.get_rng_state()
    one, other, third = (
        smc(coin, {"heads": 3.0, "throws": 5}, particles=64, seed=s, progress=False) for s in (1, 1, 2)
    )
    assert torch.equal(one["p"], other["p"]) and not torch.equal(one["p"], third["p"])
    assert torch.equal(before, torch.get_rng_state())


def test_the_prior_of_a_program_is_normalised() -> None:
    density = LogDensity.of(Program.of(counts, {"y": torch.ones(3)}))
    prior = prior_of(density)
    grid = torch.linspace(-15, 6, 20_001, dtype=torch.float64)
    assert torch.trapezoid(prior(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-6)
    rate = density.constrain(grid[:, None])["rate"]
    torch.testing.assert_close(
        density(grid[:, None]) - prior(grid[:, None]), 3 * dist.Poisson(rate).log_prob(torch.ones(()))
    )
