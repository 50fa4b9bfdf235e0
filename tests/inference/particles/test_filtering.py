"""Particles against Kalman's filter and smoother, an enumerated hidden chain, an outbreak's forward algorithm."""

import math

import pytest
import torch

from inference import Alarm, particle_filter
from tests.inference.particles.state_spaces import Chain, Noisy, Outbreak

TIMES = [0.5, 1.0, 2.5, 3.0, 3.2, 5.0, 6.0, 7.5]
SEEN = torch.tensor([1.2, 0.3, math.nan, -0.4, -1.6, math.nan, -0.9, -1.4], dtype=torch.float64)
PULL, NOISE = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
MOVES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
SHOWS = torch.tensor([[0.8, 0.2], [0.3, 0.7], [0.05, 0.95]], dtype=torch.float64)
CODES = torch.tensor([0.0, 1.0, math.nan, 1.0, 0.0, 1.0], dtype=torch.float64)
CASES, DAYS = torch.tensor([1.0, 2.0, math.nan, 1.0, 0.0], dtype=torch.float64), [1.0, 2.0, 3.0, 4.5, 5.0]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def repeated(count, **parameters):
    """The same parameters so many times, as a batch of independent runs."""
    return {name: value.expand(count, *value.shape) for name, value in parameters.items()}


def is_one(ratios, sharp):
    """The mean of the ratios is one within its error, which is small enough to tell."""
    mean, error = ratios.mean(), ratios.std() / len(ratios) ** 0.5
    assert error < sharp
    assert abs(mean - 1) < 4 * error


def test_the_likelihood_is_unbiased_against_kalman_with_gaps_and_irregular_times():
    truth, _ = Noisy().kalman(PULL, NOISE, SEEN, TIMES, begin=0.0)
    parameters = repeated(4000, pull=PULL, noise=NOISE)
    found = particle_filter(Noisy(), parameters, SEEN, TIMES, begin=0.0, particles=40, seed=1)
    assert (found.ess < 20).any(), "weights that are never drawn anew would not test it"
    is_one((found.log_likelihood - truth).exp(), 0.02)


def test_the_start_is_at_the_first_time_unless_told():
    truth, _ = Noisy().kalman(PULL, NOISE, SEEN, TIMES)
    other, _ = Noisy().kalman(PULL, NOISE, SEEN, TIMES, begin=0.0)
    assert abs(truth - other) > 0.1
    parameters = repeated(4000, pull=PULL, noise=NOISE)
    found = particle_filter(Noisy(), parameters, SEEN, TIMES, particles=40, seed=2)
    is_one((found.log_likelihood - truth).exp(), 0.02)


def test_means_are_kalmans_and_smoothed_ones_those_of_the_rts_smoother():
    parameters = repeated(32, pull=PULL, noise=NOISE)
    found = particle_filter(Noisy(), parameters, SEEN, TIMES, begin=0.0, particles=500, seed=3)
    _, (mean, variance, _, _) = Noisy().kalman(PULL, NOISE, SEEN, TIMES, begin=0.0)
    smooth, spread = Noisy().smoother(PULL, NOISE, SEEN, TIMES, begin=0.0)
    assert (smooth - mean).abs().max() > 0.1
    torch.testing.assert_close(found.mean().mean(0), mean, atol=0.025, rtol=0)
    square = found.mean(torch.square).mean(0) - found.mean().mean(0).square()
    torch.testing.assert_close(square, variance, atol=0.03, rtol=0)
    torch.testing.assert_close(found.smoothed().mean(0), smooth, atol=0.04, rtol=0)
    paths = found.paths(100, seed=4).flatten(0, 1)
    torch.testing.assert_close(paths.mean(0), smooth, atol=0.06, rtol=0)
    torch.testing.assert_close(paths.var(0), spread, atol=0.06, rtol=0)
    torch.testing.assert_close(found.draws(100, seed=5).flatten(0, 1).mean(0), mean, atol=0.06, rtol=0)


def test_paths_are_courses_that_particles_took():
    class Walk(Noisy):
        """Whose steps are one up or one down: no path may do otherwise."""

        def advance(self, parameters, state, t, t_next):
            return state + 2.0 * torch.randint_like(state, 2) - 1

    found = particle_filter(Walk(), repeated(3, pull=PULL, noise=NOISE), SEEN, TIMES, particles=30, seed=6)
    assert (found.ess < 15).any()
    paths = found.paths(50)
    torch.testing.assert_close(paths.diff(dim=-1).abs(), torch.ones(3, 50, 7, dtype=torch.float64))


def test_a_hidden_chain_is_as_enumerated():
    total, probabilities = Chain.enumerated(MOVES, SHOWS, CODES)
    parameters = repeated(3000, moves=MOVES, shows=SHOWS)
    found = particle_filter(Chain(), parameters, CODES, range(6), particles=30, seed=7)
    is_one((found.log_likelihood - total.log()).exp(), 0.02)
    some = particle_filter(Chain(), repeated(30, moves=MOVES, shows=SHOWS), CODES, range(6), particles=1000, seed=8)
    for k in range(3):
        torch.testing.assert_close(
            some.smoothed(lambda state, k=k: (state == k).double()).mean(0), probabilities[:, k], atol=0.02, rtol=0
        )
    last = torch.stack([some.mean(lambda state, k=k: (state == k).double()).mean(0)[-1] for k in range(3)])
    torch.testing.assert_close(last, probabilities[-1], atol=0.015, rtol=0)


def test_many_values_of_the_parameters_are_one_batch():
    pull = torch.linspace(0.2, 2.0, 6, dtype=torch.float64)
    truth, _ = Noisy().kalman(pull, NOISE, SEEN, TIMES)
    found = particle_filter(Noisy(), {"pull": pull, "noise": 0.5}, SEEN, TIMES, particles=20_000, seed=9)
    torch.testing.assert_close(found.log_likelihood, truth, atol=0.08, rtol=0)
    assert found.log_likelihood.shape == (6,)
    assert found.ess.shape == (6, 8)


def test_an_outbreak_among_eight_is_as_the_forward_algorithm_says():
    outbreak = Outbreak()
    beta = torch.tensor([0.8, 2.0], dtype=torch.float64)
    gamma = torch.tensor([0.5, 1.0], dtype=torch.float64)
    truth = outbreak.forward(beta, gamma, CASES, DAYS, 0.0)
    rates = {"beta": beta.repeat(1000), "gamma": gamma.repeat(1000)}
    found = particle_filter(outbreak, rates, CASES, DAYS, begin=0.0, particles=60, seed=10)
    for i in range(2):
        is_one((found.log_likelihood[i::2] - truth[i]).exp(), 0.04)


@pytest.mark.filterwarnings("ignore::inference.Alarm")
def test_runs_whose_particles_all_fail_count_as_zero():
    outbreak, cases = Outbreak(), torch.tensor([3.0, 4.0], dtype=torch.float64)
    beta, gamma = torch.tensor(1.2, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    truth = outbreak.forward(beta, gamma, cases, [1.0, 2.0], 0.0)
    found = particle_filter(outbreak, repeated(8000, beta=beta, gamma=gamma), cases, [1, 2], begin=0, particles=20)
    assert 0.2 < (found.log_likelihood == -math.inf).double().mean() < 0.95
    is_one((found.log_likelihood - truth).exp(), 0.03)


def test_data_that_no_particle_could_make_are_told_by_their_time():
    rates = {"beta": torch.tensor([1.0, 0.0], dtype=torch.float64), "gamma": 0.5}
    with pytest.warns(Alarm, match="1 of 2 parameter values .* at time 2 ") as told:
        found = particle_filter(Outbreak(), rates, torch.tensor([0.0, 1.0, 0.0]), [1, 2, 3], begin=0, seed=11)
    assert told[0].filename == __file__
    assert found.log_likelihood[1] == -math.inf
    assert found.log_likelihood[0].isfinite()
    assert found.lost[1] == 2
    assert found.lost[0].isnan()
    assert (found.ess[1, 1:] == 0).all()
    assert found.ess[1, 0] > 0
    assert found.mean()[1, 1:].isnan().all()
    assert found.smoothed()[1].isnan().all()
    assert found.paths(3)[1].isnan().all()


def test_a_seed_gives_the_same_and_the_callers_random_state_stays():
    parameters = {"pull": 0.6, "noise": 0.5}
    before = torch.get_rng_state()
    one, same, other = (particle_filter(Noisy(), parameters, SEEN, TIMES, seed=seed) for seed in (1, 1, 2))
    one.paths(3)
    one.draws(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.log_likelihood, same.log_likelihood)
    assert not torch.equal(one.log_likelihood, other.log_likelihood)
    assert repr(one).startswith(
        f"1000 particles at 8 times for 1 parameter value: log likelihood {float(one.log_likelihood):.2f} nats, at"
    )
    several = particle_filter(Noisy(), {"pull": torch.tensor([0.2, 0.9]), "noise": 0.5}, SEEN, TIMES, begin=0.0)
    low, high = several.log_likelihood.sort().values.tolist()
    assert f"for 2 parameter values: log likelihood {low:.2f} to {high:.2f} nats" in repr(several)


class Misshapen(Noisy):
    def log_observation(self, parameters, state, y_t):
        return super().log_observation(parameters, state, y_t).sum(1)


class Nan(Noisy):
    def log_observation(self, parameters, state, y_t):
        return state * math.nan


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"times": TIMES[:-1]}, ValueError, "the 7 times are not those of data"),
        ({"times": TIMES[::-1]}, ValueError, "times must be finite and grow"),
        ({"begin": 2.0}, ValueError, "the start, at 2, must not be after the first time, 0.5"),
        ({"particles": 1}, ValueError, "particles is 1"),
        ({"model": Misshapen()}, ValueError, r"Misshapen: log_observation gives \[1\], not \[1, 1000\]"),
        ({"model": Nan()}, ValueError, "Nan: log_observation is NaN at time 0.5"),
        ({"model": object()}, TypeError, "no state-space model: it has no advance, draw_start, log_observation"),
        ({"parameters": {"pull": torch.ones(2), "noise": torch.ones(3)}}, ValueError, "not of one batch: pull 2"),
    ],
)
def test_what_does_not_fit_is_told(change, error, sentence):
    asked = {"model": Noisy(), "parameters": {"pull": 0.6, "noise": 0.5}, "data": SEEN, "times": TIMES, **change}
    with pytest.raises(error, match=sentence):
        particle_filter(**asked)
