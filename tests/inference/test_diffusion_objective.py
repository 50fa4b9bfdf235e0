"""The one-timestep bound against the chain's, and likelihoods against those of normal data."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from inference.diagnostics import diagnose, findings
from inference.fit import fit
from inference.importance import NUMBERS
from inference.likelihood import ElboBound, Exact, log_likelihood
from inference.objectives import Elbo, OneTimestep, default_objective
from inference.objectives.diffusion import bound, independent, low_discrepancy, simple
from inference.timesteps import ProbabilityFlow, TimestepBound, _edges, _strata
from tests.zoo.exact_diffusion import LOC, SCALE, exact_diffusion
from tests.zoo.shaking import shaken
from zoo.diffusion import Diffusion
from zoo.discretised import DiscretisedNormal
from zoo.noise_schedules import Learned

SMALL = {"kind": "mlp", "width": 8, "blocks": 1}
MILD = {"kind": "learned", "first": 3.0, "last": -3.0}


def small(**kwargs) -> Diffusion:
    return shaken(Diffusion((3,), network=SMALL, **{"steps": 5, **kwargs}), 0.15)


def exact_rows(n: int = 300) -> torch.Tensor:
    return LOC + SCALE * torch.randn(n, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


# ---- the loss


def test_it_is_the_default_and_takes_the_bound_where_the_schedule_is_learned() -> None:
    assert isinstance(default_objective(small()), OneTimestep)
    for schedule, weighting in (("cosine", simple), ("learned", bound)):
        model, x = small(schedule=schedule), torch.randn(6, 3, dtype=torch.float64)
        losses = []
        for each in (None, weighting):
            torch.manual_seed(1)
            losses.append(OneTimestep(each)(model, x).value)
        assert torch.equal(*losses)
    with pytest.raises(ValueError, match="take the weighting bound"):
        fit(small(schedule="learned"), torch.randn(6, 3), OneTimestep(simple), steps=2, progress=False)


@pytest.mark.parametrize("times", [independent, low_discrepancy])
def test_steps_are_uniform(times) -> None:
    torch.manual_seed(0)
    t = torch.stack([times(8, 5, torch.device("cpu")) for _ in range(4000)])
    assert (t.min(), t.max()) == (1, 5)
    counts = torch.stack([(t == step).double().mean() for step in range(1, 6)])
    torch.testing.assert_close(counts, torch.full((5,), 0.2).double(), atol=0.015, rtol=0)


def test_low_discrepancy_takes_every_step_as_often() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        assert torch.equal(low_discrepancy(10, 5, torch.device("cpu")).bincount(), torch.tensor([0, 2, 2, 2, 2, 2]))
        assert low_discrepancy(3, 1000, torch.device("cpu")).diff().abs().max() in (333, 334, 666, 667)


@pytest.mark.parametrize("kwargs", [{"levels": 4}, {"variance": "learned", "schedule": MILD}])
def test_the_bound_at_one_step_is_the_chains_in_expectation(kwargs) -> None:
    model, n = small(**kwargs).double().requires_grad_(False), 20_000
    row = torch.tensor([[0, 3, 1]]) if "levels" in kwargs else torch.tensor([[0.3, -1.2, 0.8]]).double()
    x = row.expand(n, 3)
    chain = torch.stack([Elbo()(model, part).value for part in x.split(200)])
    for times in (independent, low_discrepancy):
        one = torch.stack([OneTimestep(bound, times)(model, part).value for part in x.split(200)])
        error = math.hypot(float(chain.std()), float(one.std())) / math.sqrt(len(one))
        assert float(one.mean()) == pytest.approx(float(chain.mean()), abs=4 * error)
        assert error < 0.25


def test_over_all_steps_with_the_same_noise_it_is_their_sum() -> None:
    model, x = small(levels=4).double(), torch.randint(0, 4, (6, 3))
    means = []
    for t in range(1, 6):
        torch.manual_seed(7)
        means.append(OneTimestep(bound, lambda rows, steps, device, t=t: torch.full((rows,), t))(model, x).value)
    torch.manual_seed(7)
    noise, total = torch.randn(6, 3, dtype=torch.float64), model.settled(x)
    for t in range(1, 6):
        total = total + model.step(x, torch.full((6,), t), noise=noise).divergence()
    torch.testing.assert_close(torch.stack(means).mean(), total.mean())


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
def test_simple_is_the_square_error_of_the_noise(predicts: str) -> None:
    model, x = small(predicts=predicts, steps=20).double(), torch.randn(40, 3).double()
    t, noise, at = torch.randint(1, 21, (40,)), torch.randn(40, 3).double(), model.noise_levels()
    alpha, sigma = at.alpha[t - 1].unsqueeze(1), at.sigma[t - 1].unsqueeze(1)
    z = alpha * x + sigma * noise
    told = model.network(z, t.double() / 20)[:, 0]
    guess = {"epsilon": told, "x0": (z - alpha * told) / sigma, "v": sigma * z + alpha * told}[predicts]
    torch.testing.assert_close(simple(model.step(x, t, noise=noise)), (guess - noise).square().mean(1))


def test_learned_variances_are_taught_by_a_thousandth_of_the_bound_a_number() -> None:
    model, x = small(variance="learned", steps=7), torch.randn(8, 3).double()
    step = model.step(x, torch.arange(8) % 7 + 1)
    torch.testing.assert_close(simple(step), step.error() + 0.001 * 7 / 3 * step.divergence())


def test_a_share_of_the_rows_is_not_told_its_context() -> None:
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, z, time, context=None, given=None):
            seen.append(given)
            return (self.scale * z).unsqueeze(1)

    x, context = torch.randn(4000, 3), torch.randn(4000, 2)
    for untold in (0.25, 0.0):
        model = Diffusion((3,), context_shape=2, untold=untold, network=Spy())
        torch.manual_seed(0)
        OneTimestep()(model, x, context)
    assert float(seen[0].double().mean()) == pytest.approx(0.75, abs=0.03)
    assert seen[1] is None


def test_a_learned_schedule_is_taught_by_the_bound() -> None:
    """With the network known exactly, what is lost of the likelihood by few steps is the schedule's."""
    x = exact_rows(1000)
    model = exact_diffusion(6, Learned(first=8.0, last=-5.0), variance="posterior")
    before, ends = log_likelihood(model, x), [p.detach().clone() for p in model.schedule.parameters()]
    fit(model, x, steps=100, batch_size=250, lr=0.05, seed=0, progress=False)
    after, exact = log_likelihood(model, x), float(Normal(LOC, SCALE).log_prob(x).sum(1).mean())
    assert all(not torch.equal(a, b) for a, b in zip(ends, model.schedule.parameters(), strict=True))
    assert before.mean + 1 < after.mean < exact + 3 * after.mean_error
    assert (model.schedule(torch.linspace(0, 1, 50).double()).diff() < 0).all()


# ---- likelihoods


def test_a_diffusions_likelihood_is_a_bound_by_timesteps() -> None:
    told = log_likelihood(exact_diffusion(30), exact_rows(20))
    assert (told.kind, told.measure) == ("lower bound", "density")
    assert "30 of 30 timesteps" in told.method
    assert told.standard_error is not None
    assert log_likelihood(small(levels=4), torch.randint(0, 4, (2, 3))).measure == "mass"
    with pytest.raises(TypeError, match="no exact likelihood"):
        log_likelihood(exact_diffusion(3), exact_rows(2), method=Exact())


@pytest.mark.parametrize("variance", ["posterior", "noise"])
def test_each_steps_divergence_is_what_normal_data_make_of_it(variance: str) -> None:
    """E KL(q(z_s | z_t, x) || p(z_s | z_t)) in closed form, p of the variance declared and of the mean E[z_s | z_t]."""
    model, x = exact_diffusion(9, variance=variance), exact_rows(8000)
    at = model.noise_levels()
    for k in range(1, 9):
        small, declared = at.log_small[k].exp(), (at.log_small if variance == "posterior" else at.log_large)[k].exp()
        doubt = 1 / (SCALE**-2 + at.log_snr[k].exp())
        told = (declared / small).log() - 1 + (small + at.pull[k] ** 2 * doubt) / declared  # of two numbers, halved
        found = model.step(x, torch.full((len(x),), k + 1)).divergence()
        assert float(found.mean()) == pytest.approx(float(told), abs=4 * float(found.std()) / math.sqrt(len(x)))


def test_with_many_steps_the_bound_is_the_exact_likelihood() -> None:
    x = exact_rows(1000)
    bounds = log_likelihood(exact_diffusion(400, "linear"), x, method=TimestepBound(200, draws=8))
    gaps = Normal(LOC, SCALE).log_prob(x).sum(1) - bounds.values
    assert -3 * float(gaps.std()) / math.sqrt(len(x)) < float(gaps.mean()) < 0.06


@pytest.mark.parametrize("predicts", ["epsilon", "x0"])
def test_parameterisations_of_the_same_guess_have_the_same_bound(predicts: str) -> None:
    x = exact_rows(20)
    told = [log_likelihood(exact_diffusion(30, predicts=each), x, seed=2).values for each in ("v", predicts)]
    torch.testing.assert_close(*told)


def test_strata_are_unbiased_and_their_error_is_what_it_says() -> None:
    model, x = small(levels=4, steps=50).double(), torch.randint(0, 4, (12, 3))
    whole = log_likelihood(model, x, method=TimestepBound(None, draws=40))
    part = log_likelihood(model, x, method=TimestepBound(9, draws=200))
    chains = log_likelihood(model, x, method=ElboBound(200))
    assert "8 of 50 timesteps" in part.method
    for one in (part, chains):
        scores = (one.values - whole.values) / torch.hypot(one.standard_error, whole.standard_error)
        assert float(scores.abs().max()) < 4.5
        assert 0.6 < float(scores.std()) < 1.5
    again = log_likelihood(model, x, method=TimestepBound(9, draws=200))
    assert torch.equal(part.values, again.values)


def test_strata_stand_for_each_of_their_steps_alike() -> None:
    torch.manual_seed(0)
    steps = torch.arange(1, 51).double()
    for power in (1, 3):
        total = torch.zeros(20_000).double()
        for t, weight in _strata(_edges(50, 9), 20_000, 4):
            total += (weight * t**power).sum(0)
        error = float(total.std()) / math.sqrt(len(total))
        assert float(total.mean()) == pytest.approx(float((steps**power).sum()), abs=4 * error)


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
def test_the_flow_has_the_likelihood_of_normal_data(predicts: str) -> None:
    model, x = exact_diffusion(4000, predicts=predicts), exact_rows(40)
    exact = Normal(LOC, SCALE).log_prob(x).sum(1)
    told = log_likelihood(model, x, method=ProbabilityFlow(steps=120, probes=4))
    assert told.kind == "estimate"
    assert told.standard_error is not None
    torch.testing.assert_close(told.values, exact, atol=2e-3, rtol=0)
    assert float(told.standard_error.max()) < 0.02


@pytest.mark.parametrize("levels", [None, 5])
def test_the_flow_begins_at_z_1_whose_density_is_that_of_x_over_its_volume(levels: int | None) -> None:
    model = exact_diffusion(3, levels=levels)
    alpha = float(model.noise_levels().alpha[0])
    assert alpha < 0.95
    x = exact_rows(4) if levels is None else torch.tensor([[0, 4], [2, 3], [1, 1], [4, 4]])
    z, log_volume = model.flow_path(2).enter(x)
    gap = 0.0 if levels is None else 0.5
    assert ((z / alpha - model.scaled(x)).abs() <= gap / 2 + 1e-12).all()
    told = 2 * math.log(alpha * (gap or 1.0))
    torch.testing.assert_close(log_volume, torch.full((4,), told).double())


def test_the_error_of_the_flow_has_that_of_its_steps_in_it() -> None:
    """Here the numbers do not depend on each other, so that each probe's divergence is exact."""
    x = exact_rows(40)
    told = log_likelihood(exact_diffusion(4000), x, method=ProbabilityFlow(steps=12, probes=2))
    missed = (told.values - Normal(LOC, SCALE).log_prob(x).sum(1)).abs()
    assert told.standard_error is not None
    assert (missed < 2 * told.standard_error + 0.02).all()
    assert float(missed.max()) > 0.04


@pytest.mark.parametrize("method", [TimestepBound(None, 2), ProbabilityFlow(60, 2)])
def test_each_row_is_scored_by_its_own_context_in_blocks_too(method, monkeypatch) -> None:
    """Another's costs 44 nats."""
    monkeypatch.setitem(NUMBERS, "cpu", 8)  # four rows at a time
    context = 4 * torch.arange(6).double().view(6, 1).expand(6, 2)
    x = context + 0.5
    found = log_likelihood(exact_diffusion(80, context_shape=(2,)), {"x": x, "context": context}, method=method)
    torch.testing.assert_close(found.values, Normal(context, SCALE).log_prob(x).sum(1), atol=4, rtol=0)


def test_the_flow_of_codes_estimates_their_mass_and_the_bound_is_beneath() -> None:
    torch.manual_seed(0)
    model = exact_diffusion(400, scale=0.2, levels=65, variance="noise")
    cut = DiscretisedNormal(torch.full((1, 2), LOC).double(), torch.full((1, 2), 0.2).double().log(), 65, 1)
    x = cut.sample((150,))[:, 0]
    exact = cut.log_prob(x)
    lower, told = log_likelihood(model, x), log_likelihood(model, x, method=ProbabilityFlow(60))
    assert (told.measure, told.kind) == ("mass", "estimate")
    torch.testing.assert_close(told.values, exact, atol=0.1, rtol=0)
    assert told.mean == pytest.approx(float(exact.mean()), abs=0.01)
    assert float(exact.mean()) - 2 < lower.mean < float(exact.mean())
    with pytest.raises(ValueError, match="probes must be at least 2"):
        ProbabilityFlow(probes=1)
    with pytest.raises(TypeError, match="no probability flow"):
        ProbabilityFlow()(torch.nn.Linear(2, 2), x, None, 0)


@pytest.mark.parametrize(("weighting", "unit"), [(None, "weighted square error a number"), (bound, "nats a row")])
def test_what_the_loss_counts_is_said(weighting: Any, unit: str) -> None:
    model = Diffusion(2, steps=8, network=SMALL)
    data = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    found = fit(model, data, OneTimestep(weighting), steps=60, every=5, lr=1e-2, progress=False)
    assert found.history.attrs["unit"] == unit
    told = findings.on_history(found.history.assign(loss=np.linspace(9, 1, 12)))
    assert f"by 2.2 {unit} over the last quarter" in told[0]
    assert diagnose(found, data, draws=5).plots()["history"].axes[0].get_ylabel() == unit
