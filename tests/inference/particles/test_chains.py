"""Draws by estimated likelihoods against posteriors that are known on a grid, and calibrated on a small outbreak."""

import math
import re
import warnings
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import Alarm, Ess, RHat, StateSpaceData, calibration, diagnose, mcmc, particle_mcmc
from inference.particles.forecasting import Forecast, forecast
from inference.posterior import Posterior
from inference.program import Program
from inference.sampling.random_walk import RandomWalk
from tests.inference.particles.state_spaces import Noisy, Outbreak, Rumoured
from tests.inference.particles.test_filtering import SEEN, TIMES

CASES, DAYS = torch.tensor([1.0, 3.0, 2.0, math.nan, 0.0], dtype=torch.float64), [1.0, 2.0, 3.0, 4.0, 5.5]
PRIORS = {"pull": dist.LogNormal(-0.5, 0.7), "noise": dist.LogNormal(-0.7, 0.4)}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def noisy(particles):
    def program(y=None):
        parameters = {name: pyro.sample(name, prior) for name, prior in PRIORS.items()}
        pyro.sample("y", StateSpaceData(Noisy(), parameters, TIMES, begin=0.0, particles=particles), obs=y)

    return program


EIGHT = Outbreak()


def outbreak(cases=None):
    beta = pyro.sample("beta", dist.LogNormal(0.0, 0.5))
    told = StateSpaceData(EIGHT, {"beta": beta, "gamma": 0.5}, DAYS, begin=0.0, particles=50)
    pyro.sample("cases", told, obs=cases)


def agrees(draws, mean, deviation):
    """Mean and deviation of chains' draws [chains, draws] are the true ones, within the error of the chains' means."""
    scaled = (draws - mean) / deviation
    for found, truth, sharp in ((scaled, 0.0, 0.06), (scaled.square(), 1.0, 0.15)):
        error = found.mean(1).std() / len(found) ** 0.5
        assert error < sharp
        assert abs(found.mean() - truth) < 4 * error


def drawn(program, data=None, **settings):
    """So many draws, whatever they know: the tests judge that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ draws of", Alarm)
        return particle_mcmc(program, data, until=RHat(1.0001), progress=False, **settings)


@pytest.fixture(scope="module")
def posterior():
    torch.set_num_threads(1)
    return drawn(noisy(20), {"y": SEEN}, chains=64, warmup=100, draws=150)


@pytest.fixture(scope="module")
def grid():
    """Points [G, 2] of the parameters, and their posterior weights [G]."""
    logs = [torch.linspace(at - 6 * width, at + 6 * width, 150).double() for at, width in ((-0.5, 0.7), (-0.7, 0.4))]
    points = torch.cartesian_prod(*logs)
    prior = dist.Normal(-0.5, 0.7).log_prob(points[:, 0]) + dist.Normal(-0.7, 0.4).log_prob(points[:, 1])
    exact, _ = Noisy().kalman(*points.exp().unbind(-1), SEEN, TIMES, begin=0.0)
    return points.exp(), (prior + exact).softmax(0)


def test_the_posterior_is_exact_though_the_likelihood_is_not(posterior, grid):
    points, weights = grid
    assert posterior.extra["noise"] > 0.5, "an estimate without noise would not test it"
    assert "noise" not in posterior.alarms
    for i, name in enumerate(PRIORS):
        mean = weights @ points[:, i].log()
        agrees(posterior[name].log(), mean, (weights @ (points[:, i].log() - mean).square()).sqrt())


def test_a_forecast_is_that_of_all_parameters_and_courses(posterior, grid):
    points, weights = grid
    _, (mean, variance, _, _) = Noisy().kalman(*points.unbind(-1), SEEN, TIMES, begin=0.0)
    ahead = posterior.forecast([8.0, 10.0], draws=1000, particles=300)
    assert ahead.states.shape == (1000, 8)
    assert ahead.times.tolist() == TIMES
    for i, t in enumerate([8.0, 10.0]):
        shrink, added = Noisy().step(points[:, 0], t - TIMES[-1])
        expected = shrink * mean[-1]
        spread = shrink.square() * variance[-1] + added
        centre = weights @ expected
        for values, more in ((ahead.later, 0.0), (ahead.data, points[:, 1].square())):
            wide = (weights @ (spread + more + (expected - centre).square())).sqrt()
            assert abs(values[:, i].mean() - centre) < 0.12 * wide
            assert abs(values[:, i].std() / wide - 1) < 0.1
    smooth = weights @ torch.stack(Noisy().smoother(*points.unbind(-1), SEEN, TIMES, begin=0.0)[:1])[0].T
    torch.testing.assert_close(ahead.states.mean(0), smooth, atol=0.08, rtol=0)
    low, high = ahead.interval(0.9)
    inside = ((ahead.data >= low) & (ahead.data <= high)).double().mean(0)
    torch.testing.assert_close(inside, torch.full((2,), 0.9, dtype=torch.float64), atol=0.01, rtol=0)


def test_a_forecast_prints_as_a_small_table():
    days, courses = torch.arange(4.0, 14.0), torch.arange(101.0, dtype=torch.float64)[:, None]
    data = courses + 10 * torch.arange(10)  # the mean of [0, 100] is 50, and nine tenths of it are within 5 and 95
    found = Forecast({}, torch.arange(3.0), torch.zeros(101, 3), days, torch.zeros(101, 10), data)
    lines = str(found).splitlines()
    assert lines[0].startswith("101 courses at 3 times")
    assert [line.split() for line in lines[1:4]] == [
        ["time", "mean", "low", "high"],
        ["4", "50", "5", "95"],
        ["5", "60", "15", "105"],
    ]
    assert lines[-1].strip() == "... of 10"
    assert len(lines) == 11
    pairs = replace(found, data=torch.stack([data[:, :2], -data[:, :2]], -1), ahead=days[:2]).to_frame()
    assert pairs[["time", "place", "mean"]].to_numpy().tolist() == [
        [4.0, (0,), 50.0],
        [4.0, (1,), -50.0],
        [5.0, (0,), 60.0],
        [5.0, (1,), -60.0],
    ]


def test_arviz_has_all_groups(posterior):
    groups = posterior.to_idata()
    for name in ("posterior", "sample_stats", "log_likelihood", "observed_data", "posterior_predictive", "prior"):
        assert hasattr(groups, name), name
    assert groups.posterior_predictive["y"].shape == (64, 150, 8)
    kept = torch.as_tensor(groups.log_likelihood["y"].values)
    torch.testing.assert_close(kept, posterior.stats["log_likelihood"])
    exact, _ = Noisy().kalman(posterior["pull"], posterior["noise"], SEEN, TIMES, begin=0.0)
    # what a draw was kept by is weighed by itself: by as much as the variance's half above, where a fresh one is below
    assert 0 < (kept - exact).mean() < 1.0


def test_a_noisy_estimate_is_told():
    with pytest.warns(Alarm) as told:
        found = particle_mcmc(noisy(4), {"y": SEEN}, chains=16, warmup=30, draws=20, progress=False)
    assert found.extra["noise"] > 3
    assert set(found.alarms) == {"not converged", "noise"}
    assert re.search(r"variance of .* times the particles=", found.alarms["noise"])
    assert [str(each.message) for each in told] == list(found.alarms.values())
    assert {each.filename for each in told} == {__file__}, "each points at the line that asked, not at ours"


def test_rates_of_a_small_outbreak_are_as_by_the_forward_algorithm():
    found = drawn(outbreak, {"cases": CASES}, chains=64, warmup=60, draws=80, seed=1)
    log_beta = torch.linspace(-3, 3, 200, dtype=torch.float64)
    exact = EIGHT.forward(log_beta.exp(), torch.tensor(0.5, dtype=torch.float64), CASES, DAYS, 0.0)
    weights = (dist.Normal(0.0, 0.5).log_prob(log_beta) + exact).softmax(0)
    mean = weights @ log_beta
    assert abs(mean) > 0.1, "the prior would not do"
    agrees(found["beta"].log(), mean, (weights @ (log_beta - mean).square()).sqrt())


def test_a_seed_gives_the_same_and_another_kernel_may_move():
    settings = {"chains": 8, "warmup": 10, "draws": 8}
    before = torch.get_rng_state()
    one, same = (drawn(outbreak, {"cases": CASES}, seed=3, **settings) for _ in range(2))
    other = drawn(outbreak, {"cases": CASES}, seed=3, kernel=RandomWalk(), **settings)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one["beta"], same["beta"])
    assert not torch.equal(one["beta"], other["beta"])
    assert one.method == "particle marginal Metropolis-Hastings"


def test_what_cannot_be_is_told(posterior):
    with pytest.raises(ValueError, match="no slope, which this asks for: use particle_mcmc"):
        mcmc(outbreak, {"cases": CASES}, progress=False)
    with pytest.raises(ValueError, match="the likelihood of the site 'cases' is zero at every start tried"):
        particle_mcmc(outbreak, {"cases": torch.tensor([8.0, 8.0, 0.0, 0.0, 0.0])}, chains=8, progress=False)
    with pytest.raises(ValueError, match=r"after the last datum's, 7.5, not \[7.0\]"):
        posterior.forecast([7.0])
    with pytest.raises(ValueError, match="observes 0 sites of StateSpaceData, and a forecast is of one"):
        forecast(mcmc(plain, {"y": SEEN[:2]}, chains=4, warmup=4, draws=8, until=RHat(99.0), progress=False), [9.0])
    with pytest.raises(ValueError, match=r"are \[3\], and its distribution \[5\]"):
        particle_mcmc(outbreak, {"cases": CASES[:3]}, progress=False)


def plain(y=None):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([2]).to_event(1), obs=y)


def test_draws_whose_particles_fail_are_told():
    """All eight fall ill in one day: few of two particles do."""

    def sudden(cases=None):
        beta = pyro.sample("beta", dist.LogNormal(0.0, 0.5))
        told = StateSpaceData(EIGHT, {"beta": beta, "gamma": 0.5}, [1.0, 2.0], begin=0.0, particles=50)
        pyro.sample("cases", told, obs=cases)

    program = Program.of(sudden, {"cases": torch.tensor([4.0, 1.0], dtype=torch.float64)})
    known = Posterior("known", program, {"beta": torch.full((2, 50), 2.0, dtype=torch.float64)}, {}, "by hand")
    with pytest.warns(Alarm, match="the particles of [0-9]+ of 100 draws failed, and the forecast is without"):
        found = forecast(known, [3.0], draws=100, particles=4)
    assert 0 < len(found.data) < 100
    assert len(found.parameters["beta"]) == len(found.data)
    never = Program.of(sudden, {"cases": torch.tensor([8.0, 8.0], dtype=torch.float64)})
    with pytest.raises(ValueError, match="the particles of all 100 draws failed; more particles= might find one"):
        forecast(replace(known, program=never), [3.0], draws=100, particles=4)


def test_parameters_are_as_precise_as_the_most_precise():
    half = torch.tensor(0.7, dtype=torch.float64)
    found = StateSpaceData(Noisy(), {"pull": 0.3, "noise": half}, TIMES).parameters
    assert found["pull"].dtype == torch.float64
    assert float(found["pull"]) == 0.3


def test_a_model_that_draws_no_data_says_so():
    class Silent:
        draw_start, advance, log_observation = Noisy.draw_start, Noisy.advance, Noisy.log_observation
        step = staticmethod(Noisy.step)

    with pytest.raises(TypeError, match="a Silent has no draw_observation"):
        StateSpaceData(Silent(), {"pull": 0.3, "noise": 0.7}, TIMES).sample()


def test_missing_data_do_not_count_against_the_program():
    found = drawn(outbreak, {"cases": CASES}, chains=16, warmup=20, draws=20, seed=1)
    told = str(diagnose(found))
    assert "nan" not in told
    assert "Data drawn from the fitted program are like the data" in told


def rumoured(cases=None):
    beta = pyro.sample("beta", dist.LogNormal(0.0, 0.5))
    gamma = pyro.sample("gamma", dist.LogNormal(-0.7, 0.3))
    told = StateSpaceData(RUMOURED, {"beta": beta, "gamma": gamma}, DAYS, begin=0.0, particles=40)
    pyro.sample("cases", told, obs=cases)


RUMOURED = Rumoured()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_posterior_is_calibrated():
    def by(program, data, *, seed):
        return particle_mcmc(program, chains=32, until=Ess(400), seed=seed, progress=False)

    cases = torch.zeros(5, dtype=torch.float64)
    found = calibration(rumoured, {"cases": cases}, by=by, simulations=50, draws=40, progress=False, seed=1)
    print(found)
    assert not found.alarms, found
