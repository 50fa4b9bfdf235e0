"""The transition of ChEES-HMC against Hamilton's equations and Gaussian targets, and the climb before it."""

import math

import pytest
import torch

from inference.sampling.adaptation import Dense, Diagonal
from inference.sampling.approach import Climb, regathered
from inference.sampling.chees import RAREST, Chees
from inference.sampling.kernel import Chains
from inference.sampling.loop import Walk
from inference.sampling.stopping import Ess
from tests.inference.sampling.gaussians import Gaussian, Quartic, TwoModes, skewed


def started(density, chains=64, seed=0, **options):
    torch.manual_seed(seed)
    kernel = Chees(**options)
    return kernel, kernel.begin(density, 2 * torch.randn(chains, density.dim, dtype=torch.float64))


def walked(density, rule, chains=64, seed=0, warmup=40, limit=1000, **options):
    torch.manual_seed(seed)
    names = [str(i) for i in range(density.dim)]
    walk = Walk(Chees(**options), density, rule, values=lambda q: q, names=names, warmup=warmup, limit=limit)
    walk.begin(2 * torch.randn(chains, density.dim, dtype=torch.float64))
    for _ in walk.run():
        pass
    return walk


def test_paths_run_back():
    kernel, chains = started(Quartic())
    u = torch.randn_like(chains.q)
    there, v = kernel.path(chains, u, 9, 0.11)
    back, w = kernel.path(there, -v, 9, 0.11)
    torch.testing.assert_close(back.q, chains.q, rtol=0, atol=1e-12)
    torch.testing.assert_close(w, -u, rtol=0, atol=1e-12)


def test_paths_keep_volume():
    kernel, chains = started(Quartic())
    one = chains.take(torch.tensor([0]))

    def moved(both):
        value, slope = kernel.density.value_and_grad(both[None, :3])
        there, v = kernel.path(Chains(both[None, :3], value, slope), both[None, 3:], 4, 0.2)
        return torch.cat([there.q[0], v[0]])

    both = torch.cat([one.q[0], torch.randn(3, dtype=torch.float64)])
    jacobian = torch.autograd.functional.jacobian(moved, both)
    assert jacobian.det().item() == pytest.approx(1, abs=1e-12)


def test_energy_error_falls_with_the_square_of_the_step():
    kernel, chains = started(Quartic())
    u = torch.randn_like(chains.q)

    def error(steps):
        there, v = kernel.path(chains, u, steps, 0.4 / steps)
        return (v.square().sum(1) / 2 - there.log_density - u.square().sum(1) / 2 + chains.log_density).abs().mean()

    assert error(20) / error(40) == pytest.approx(4, rel=0.02)


def test_criterion_slope_is_the_derivative_of_chees():
    density = skewed(3, 10.0)
    kernel, chains = started(density)
    u, rate = torch.randn_like(chains.q), torch.ones(64, dtype=torch.float64)

    def after(time):
        steps = 1000
        there, v = kernel.path(chains, u, steps, time / steps)
        start, end = (kernel.metric.white(q - q.mean(0)).square().sum(1) for q in (chains.q, there.q))
        return (end - start).square().mean() / 4, there, v

    (low, _, _), (_, there, v), (high, _, _) = after(0.799), after(0.8), after(0.801)
    assert kernel.criterion_slope(chains.q, there.q, v, rate) == pytest.approx(float(high - low) / 0.002, rel=1e-3)


def test_criterion_leaves_out_chains_whose_path_was_lost():
    kernel, chains = started(skewed(3, 10.0))
    u = torch.randn_like(chains.q)
    there, v = kernel.path(chains, u, 4, 0.2)
    rate = torch.ones(64, dtype=torch.float64)
    rate[5], there.q[5], v[5] = 0.0, torch.nan, torch.nan
    assert math.isfinite(kernel.criterion_slope(chains.q, there.q, v, rate))


def test_one_transition_leaves_a_density_as_it_is():
    """Draws of the target itself, moved by a step far too long to be exact: still draws of the target."""
    target = Gaussian(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    kernel, _ = started(target)
    kernel.metric.begin(torch.zeros(1, 2, dtype=torch.float64))
    kernel._step_size.restart(1.6)
    kernel._length.log_mean = math.log(3.0)
    torch.manual_seed(1)
    q = torch.randn(200_000, 2, dtype=torch.float64)
    chains, stats = kernel.step(Chains.of(target, q), None)
    assert 0.3 < stats["acceptance_rate"].mean() < 0.97
    moments = chains.q.square()
    assert moments.mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / 400_000))
    assert moments.square().mean().item() == pytest.approx(3, abs=4 * math.sqrt(96 / 400_000))
    assert stats["energy"].mean().item() == pytest.approx(2, abs=0.02)


def test_fifty_dimensions_of_condition_ten_thousand():
    target = skewed(50, 1e4)
    walk = walked(target, Ess(1000), chains=128, limit=200)
    assert walk.met and target.evaluations < 1200
    white = torch.linalg.solve(
        torch.linalg.cholesky(target.covariance), (walk.window.of(walk.seen[0]) - target.mean).mT
    ).mT
    draws = white.flatten(0, 1)
    assert draws.mean(0).abs().max() < 5 / math.sqrt(1000)
    assert (draws.std(0) - 1).abs().max() < 5 / math.sqrt(2000)


def test_step_size_brings_the_harmonic_mean_of_the_rates_to_the_target():
    walk = walked(skewed(20, 100.0), Ess(2000), warmup=80, limit=60, target=0.8)
    rates = torch.stack([s["acceptance_rate"] for s in walk.stats])
    harmonic = 1 / (1 / rates.clamp(min=RAREST)).mean()
    assert harmonic.item() == pytest.approx(0.8, abs=0.1)


def test_diagonal_metric_where_it_is_asked_for_or_dense_does_not_pay():
    assert isinstance(started(skewed(6, 3.0), metric=Diagonal())[0].metric, Diagonal)
    assert isinstance(started(skewed(6, 3.0))[0].metric, Dense)
    assert isinstance(started(skewed(6, 3.0), chains=8)[0].metric, Diagonal)


def test_a_wall_is_a_divergence_and_the_chain_stays():
    class Wall(Gaussian):
        def value_and_grad(self, q):
            value, slope = super().value_and_grad(q)
            return torch.where(q[:, 0] > 1, -torch.inf, value), torch.where(q[:, :1] > 1, torch.nan, slope)

    walled = Wall(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    torch.manual_seed(0)
    kernel = Chees()
    chains = kernel.begin(walled, -torch.rand(64, 2, dtype=torch.float64))
    for _ in range(20):
        before = chains
        chains, stats = kernel.step(chains, None)
        lost = stats["diverging"]
        assert torch.equal(chains.q[lost], before.q[lost])
    assert lost.any() and chains.q[:, 0].max() <= 1 and chains.slope.isfinite().all()


def test_climb_comes_to_the_bulk_and_not_to_the_mode():
    target = skewed(10, 1e4)
    torch.manual_seed(0)
    metric, q = Dense(), 100 * torch.randn(64, 10, dtype=torch.float64)
    metric.begin(q)
    chains = Climb(target, q, metric).run()
    assert target.evaluations < 40
    assert chains.log_density.min() > -20 and chains.log_density.max() < -1e-6
    torch.testing.assert_close(metric.factor @ metric.factor.mT, target.covariance, rtol=1e-2, atol=1e-5)


def test_climb_leaves_a_mode_that_has_no_weight():
    torch.manual_seed(0)
    q = torch.cat([torch.randn(20, 2, dtype=torch.float64), 30 + torch.randn(12, 2, dtype=torch.float64)])
    metric = Dense()
    metric.begin(q)
    climb = Climb(TwoModes(), q, metric)
    assert climb.run().q.max() < 10 and climb.lost == 12


def test_lost_chains():
    value = torch.tensor([0.0, -30.0, -41.0, math.nan, -math.inf], dtype=torch.float64)
    there = regathered(value, dim=2)
    assert there[:2].tolist() == [0, 1] and set(there[2:].tolist()) <= {0, 1}


def test_refusals():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Chees(target=1.5)
    with pytest.raises(ValueError, match="needs 4"):
        started(skewed(3, 1.0), chains=2)
