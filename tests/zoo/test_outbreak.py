"""Outbreaks as programs: their density by hand, delays, missing data, rates that change, what is refused."""

from functools import partial

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import binom, expon, nbinom, norm, poisson

import inference
from inference.predictive_draws import predict
from inference.program import Program
from inference.sampling import Ess, Independent, LogDensity
from zoo import programs
from zoo.spread import (
    Binomial,
    NegativeBinomial,
    Normal,
    Outbreak,
    Piecewise,
    Poisson,
    PositiveNormal,
    RandomWalk,
    bass,
    daley_kendall,
    in_bed,
    influenza,
    ode,
    sir,
    sis,
    tau_leaping,
)

fine = partial(ode, step=0.05)


def exponential(rate: float) -> dist.Exponential:
    return dist.Exponential(torch.tensor(rate, dtype=torch.float64))


def heads(beta, gamma, start, times):
    """S, I, R by scipy, beta a function of time; [3, T]."""

    def slope(t, y):
        new, gone = beta(t) * y[0] * y[1] / sum(start), gamma * y[1]
        return [-new, new - gone, gone]

    return solve_ivp(slope, (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-10).y


def log_joint(outbreak, cases, **values):
    given = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}
    return float(Program.of(outbreak, {"cases": torch.as_tensor(cases, dtype=torch.float64)}).log_joint(given))


def a_positive_normal(x, mean, sd):
    return norm.logpdf(x, mean, sd) - norm.logcdf(mean / sd)


def test_the_density_of_the_flu_is_that_by_hand():
    beta, gamma, phi_inv = 1.7, 0.5, 0.2
    mean = heads(lambda t: beta, gamma, [762, 1, 0], np.arange(1, 15))[1]
    phi = 1 / phi_inv
    by_hand = nbinom.logpmf(in_bed().numpy(), phi, phi / (phi + mean)).sum()
    by_hand += a_positive_normal(beta, 2, 1) + a_positive_normal(gamma, 0.4, 0.5) + expon.logpdf(phi_inv, scale=1 / 5)
    found = log_joint(influenza(), in_bed(), beta=beta, gamma=gamma, phi_inv=phi_inv)
    assert found == pytest.approx(by_hand, abs=2e-3)  # the solver's step is 0.2 days


def test_the_positive_normal_draws_what_its_density_says():
    found = PositiveNormal(0.4, 0.5).sample((200_000,))
    grid = torch.linspace(1e-4, 6, 60_001, dtype=torch.float64)
    density = PositiveNormal(0.4, 0.5).log_prob(grid).exp()
    assert torch.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    assert found.min() > 0
    assert found.mean() == pytest.approx(float(torch.trapezoid(grid * density, grid)), abs=0.005)
    assert PositiveNormal(0.4, 0.5).log_prob(torch.tensor([-0.1, 0.0])).tolist() == [-np.inf, -np.inf]


def test_a_positive_normal_far_below_zero_is_about_exponential():
    """N+(-20, 1) has the density of phi(20 + x) / Phi(-20): the mean is phi / Phi - 20."""
    found = PositiveNormal(-20.0, 1.0).sample((200_000,))
    wanted = np.exp(norm.logpdf(20) - norm.logcdf(-20)) - 20
    assert found.min() > 0
    assert found.mean() == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(
    ("reporting", "by_hand"),
    [
        (Poisson(share=0.3), lambda y, mean: poisson.logpmf(y, 0.3 * mean)),
        (Binomial(share=0.3), lambda y, mean: binom.logpmf(y, 100, 0.3 * mean / 100)),
        (Normal(share=0.3, sd=2.0), lambda y, mean: norm.logpdf(y, 0.3 * mean, 2.0)),
        (NegativeBinomial(share=0.3, phi_inv=0.5), lambda y, mean: nbinom.logpmf(y, 2, 2 / (2 + 0.3 * mean))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_new_events_are_reported_as_said(reporting, by_hand):
    times = np.array([1.0, 2.5, 6.0])  # irregular
    priors = {"beta": exponential(1.0), "gamma": 0.4}
    outbreak = Outbreak(
        sir(), {"S": 97, "I": 3}, priors, observes=("S", "I"), times=times, reporting=reporting, run=fine
    )
    s = heads(lambda t: 1.2, 0.4, [97, 3, 0], times)[0]
    new = -np.diff(s, prepend=97)
    y = np.array([1.0, 4.0, 20.0])
    wanted = by_hand(y, new).sum() + expon.logpdf(1.2)
    assert log_joint(outbreak, y, beta=1.2) == pytest.approx(wanted, abs=1e-5)


def test_a_delay_is_a_convolution_and_reports_add_up_between_times():
    shares = [0.5, 0.3, 0.2]
    outbreak = Outbreak(
        sir(), {"S": 97, "I": 3}, {"beta": exponential(1.0), "gamma": 0.4}, observes=("S", "I"), times=[1, 2, 5, 6],
        reporting=Poisson(), delay=shares, run=fine,
    )  # fmt: skip
    new = -np.diff(heads(lambda t: 1.2, 0.4, [97, 3, 0], np.arange(7))[0])
    late = np.convolve(new, shares)[:6]
    wanted = [late[0], late[1], late[2:5].sum(), late[5]]
    found = outbreak.expected(outbreak.course({"beta": torch.tensor(1.2), "gamma": 0.4, "S0": 97, "I0": 3}))
    assert found.numpy() == pytest.approx(wanted, rel=1e-5)


def test_missing_cases_say_nothing_and_are_predicted():
    cases = in_bed().clone()
    cases[7:] = torch.nan
    short = influenza(times=range(1, 8))
    values = {"beta": 1.7, "gamma": 0.5, "phi_inv": 0.2}
    assert log_joint(influenza(), cases, **values) == pytest.approx(log_joint(short, in_bed()[:7], **values), abs=1e-9)
    program = Program.of(influenza(), {"cases": cases})
    assert LogDensity.of(program).value_and_grad(torch.zeros(2, 3, dtype=torch.float64))[1].isfinite().all()
    draws = {name: torch.full((400,), value, dtype=torch.float64) for name, value in values.items()}
    drawn = predict(program, draws, seed=1)["cases"]
    mean = heads(lambda t: 1.7, 0.5, [762, 1, 0], np.arange(1, 15))[1]
    assert drawn.mean(0).numpy() == pytest.approx(mean, rel=0.15, abs=0.5)
    assert drawn[:, 8].std() == pytest.approx(np.sqrt(mean[8] + 0.2 * mean[8] ** 2), rel=0.2)


def test_a_rate_in_pieces_changes_when_it_is_said_to():
    changed = Piecewise(exponential(1.0), at=[3.0])
    outbreak = Outbreak(
        sir(), {"S": 97, "I": 3}, {"beta": changed, "gamma": 0.4}, observes="I", times=[2, 5, 8], run=fine
    )
    values = {"beta": torch.tensor([[1.5, 0.3], [1.0, 1.0]]), "gamma": 0.4, "S0": 97, "I0": 3}
    course = outbreak.course(values)
    first = heads(lambda t: 1.5, 0.4, [97, 3, 0], [2, 3])[:, 1]
    at_two = heads(lambda t: 1.5, 0.4, [97, 3, 0], [1, 2])[1, 1]
    later = heads(lambda t: 0.3, 0.4, list(first), [2, 5])[1]
    assert course["I"][0, 1:].numpy() == pytest.approx([at_two, *later], rel=1e-5)
    assert course.happened[0, -1, 0] == pytest.approx(float(97 - course["S"][0, -1]), rel=1e-9)
    same = ode(sir(), {"beta": 1.0, "gamma": 0.4}, sir().state(S=97, I=3), [0, 2, 5, 8], step=0.05)
    assert torch.allclose(course.heads[1], same.heads, rtol=1e-6)


def test_a_random_walk_is_of_the_logarithm():
    outbreak = Outbreak(
        sir(), {"I": exponential(0.5)}, {"beta": RandomWalk(exponential(1.0), 0.1, at=[2, 4]), "gamma": 0.4},
        observes="I", times=range(1, 7), population=100,
    )  # fmt: skip
    program = Program.of(outbreak, {"cases": torch.tensor([3.0, 4, 5, 6, 7, 8])})
    assert set(program.latents) == {"beta_first", "beta_steps", "I0", "phi_inv"}
    values = {"beta_first": 1.2, "beta_steps": [1.0, -2.0], "I0": 3.0, "phi_inv": 0.1}
    trace = program.trace({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
    told = {name: node["value"] for name, node in trace.nodes.items() if node["type"] == "sample"}
    assert told["beta"].tolist() == pytest.approx([1.2, 1.2 * np.exp(0.1), 1.2 * np.exp(-0.1)])
    assert told["R0"] == pytest.approx(1.2 / 0.4)
    susceptible = outbreak.course({"beta": told["beta"], "gamma": 0.4, "I0": 3.0})["S"][1:]
    rates = told["beta"][[0, 1, 1, 2, 2, 2]]
    assert told["R"].tolist() == pytest.approx((rates / 0.4 * susceptible / 100).tolist())


def test_what_is_derived_is_of_the_curve():
    program = Program.of(influenza(), {"cases": in_bed()})
    values = {"beta": 1.7, "gamma": 0.5, "phi_inv": 0.2}
    nodes = program.trace({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}).nodes
    s, i, _ = heads(lambda t: 1.7, 0.5, [762, 1, 0], np.arange(1, 15))
    assert nodes["peak"]["value"] == pytest.approx(i.max(), rel=1e-4)
    assert nodes["peak_time"]["value"] == 1 + i.argmax()
    assert nodes["total"]["value"] == pytest.approx(762 - s[-1], rel=1e-4)
    assert nodes["R0"]["value"] == pytest.approx(1.7 / 0.5)


def derived(outbreak, times, **values):
    program = Program.of(outbreak, {"cases": torch.ones(len(times))})
    nodes = program.trace({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}).nodes
    return {name: node["value"] for name, node in nodes.items() if node["type"] == "sample"}


def test_the_total_of_a_rumour_is_of_those_who_heard_it():
    """Not of the meetings at which spreaders were stifled, which are contacts as well."""
    start, times = {"ignorant": 97, "spreader": 3}, [1.0, 30.0]
    one = exponential(1.0)
    rumour = Outbreak(daley_kendall(), start, {"beta": one, "gamma": one}, observes="spreader", times=times)
    told = derived(rumour, times, beta=1.0, gamma=1.0, phi_inv=0.1)
    course = ode(daley_kendall(), {"beta": 1.0, "gamma": 1.0}, daley_kendall().state(**start), [0.0, *times])
    assert told["total"] == pytest.approx(97 - float(course["ignorant"][-1]))
    assert told["total"] == pytest.approx(0.8 * 97, rel=0.15)


def test_what_begins_without_a_meeting_has_no_reproduction_number():
    times, slow = [1.0, 4.0], exponential(1.0)
    product = Outbreak(
        bass(), {"potential": 100}, {"p": slow, "q": slow}, observes=("potential", "adopter"), times=times,
        reporting=Poisson(),
    )  # fmt: skip
    told = derived(product, times, p=0.03, q=0.38)
    assert set(told) >= {"curve", "peak", "peak_time"}
    assert not set(told) & {"R0", "R", "total"}
    share = (1 - np.exp(-0.41 * np.array([0, 1, 4]))) / (1 + 0.38 / 0.03 * np.exp(-0.41 * np.array([0, 1, 4])))
    assert told["curve"].numpy() == pytest.approx(100 * np.diff(share), rel=1e-3)


@pytest.mark.parametrize("start", [{"S": [50.0, 40.0], "I": [1.0, 0.0]}, {"S": [50, 40], "I": torch.tensor([1, 0])}])
def test_groups_are_counted_each(start):
    model = sir(groups=("young", "old"), contacts=[[3.0, 1.0], [1.0, 2.0]])
    outbreak = Outbreak(
        model, start, {"beta": exponential(1.0), "gamma": 0.4}, observes="I",
        times=[1, 2, 3], reporting=Poisson(),
    )  # fmt: skip
    mean = ode(model, {"beta": 0.5, "gamma": 0.4}, model.state(S=[50.0, 40.0], I=[1.0, 0.0]), [0, 1, 2, 3])["I"][1:]
    y = np.array([[1, 0], [2, 1], [3, 1]])
    wanted = poisson.logpmf(y, mean.numpy()).sum() + expon.logpdf(0.5)
    assert log_joint(outbreak, y, beta=0.5) == pytest.approx(wanted, abs=1e-8)


def school(**changed):
    given = {
        "compartments": sir(), "start": {"S": 762, "I": 1}, "priors": {"beta": exponential(1.0), "gamma": 0.4},
        "observes": "I", "times": [1, 2, 3],
    } | changed  # fmt: skip
    return Outbreak(given.pop("compartments"), given.pop("start"), given.pop("priors"), **given)


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ([3.0, 900.0, 5.0], "an observation of 900 is larger than the population of 763"),
        ([3.0, -1.0, 5.0], "cases are numbers from 0 on .*, not -1"),
        ([3.0, 4.0], r"cases are \[3\], one for each of the times, not \[2\]"),
        ([3.0, 4.5, 5.0], "NegativeBinomial reports whole numbers, not 4.5"),
        ([3.0, torch.inf, 5.0], "an observation of inf is larger than the population"),
    ],
)
def test_cases_that_none_can_be_are_refused(cases, sentence):
    with pytest.raises(ValueError, match=sentence):
        inference.mcmc(school(), {"cases": torch.tensor(cases)}, progress=False)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"observes": "Q"}, "no compartment 'Q'"),
        ({"observes": ("S", "R")}, "no transition from S to R; there are S -> I, I -> R"),
        ({"start": {"S": 762, "J": 1}}, "no compartment 'J'"),
        ({"start": {"S": 762, "I": -1}}, "heads of I at the start is a number from 0 on, not -1"),
        ({"start": {"S": 762, "I": [1, 2]}}, r"heads of I at the start are a number, not \[1.0, 2.0\]"),
        ({"run": partial(tau_leaping, step=0.5)}, "by a seed.* HiddenCourse"),
        ({"start": {"I": 900}, "population": 763}, "the start has 900 heads, more than the population of 763"),
        ({"population": 763}, "the population gives how many heads are in S, and so does start"),
        ({"priors": {"beta": 1.0, "gama": 0.4}}, "no rate 'gama'; did you mean gamma"),
        ({"priors": {"beta": 1.0}}, "the rate 'gamma' has no prior"),
        ({"priors": {"beta": -1.0, "gamma": 0.4}}, "beta.*-1"),
        ({"times": [1, 3, 2]}, "times are numbers that increase"),
        ({"times": [0, 1]}, "from after the begin, 0"),
        ({"delay": [0.5, 0.5]}, "a delay is of events"),
        ({"delay": [0.5, 0.2], "observes": ("S", "I")}, "shares reported .* of sum 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        school(**changed).model(torch.tensor([3.0, 4.0, 5.0]))


TWO = sir(groups=("young", "old"))
APART = {"compartments": TWO, "start": {"I": [9, 0]}, "population": [10, 90], "reporting": Poisson()}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"priors": {"beta": dist.Normal(2.0, 1.0), "gamma": 0.4}}, "the rate 'beta' is a number from 0 on.* Normal"),
        ({"priors": {"beta": dist.Uniform(-1.0, -0.5), "gamma": 0.4}}, "the rate 'beta' is .* Uniform, draws others"),
        ({"priors": {"beta": Piecewise(dist.Normal(2.0, 1.0), at=[2]), "gamma": 0.4}}, "the rate 'beta' .* Normal"),
        ({"priors": {"beta": RandomWalk(dist.Normal(2.0, 1.0), 0.1, at=[2]), "gamma": 0.4}}, "the rate 'beta' .* Nor"),
        ({"start": {"S": 700, "I": dist.Normal(5.0, 1.0)}}, "a number of heads of I at the start is .* Normal"),
        ({"start": {"S": 700, "I": torch.nan}}, "a number of heads of I at the start is .*, not nan"),
        (APART | {"population": 100}, r"the population is a number for each of young, old, not 100"),
        (APART | {"population": [10, 20, 30]}, r"a number for each of young, old, not \[10.0, 20.0, 30.0\]"),
        (APART | {"start": {"I": [11, 0]}}, "the start has 11 heads, more than the population of 10"),
        ({"start": {"I": 1}, "population": -763}, "the population must be .* not negative, but there is -763"),
        ({"start": {"I": 1}, "population": [763]}, r"the population is a number, not \[763.0\]"),
    ],
)
def test_what_can_be_no_outbreak_is_refused_when_it_is_declared(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        school(**changed)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Poisson(share=-0.1), "share of Poisson is a share from 0 to 1, not -0.1"),
        (lambda: Poisson(share=1.1), "share of Poisson is a share from 0 to 1, not 1.1"),
        (lambda: Binomial(share=exponential(1.0)), "share of Binomial is a share .* Exponential, draws others too"),
        (lambda: NegativeBinomial(phi_inv=0.0), "phi_inv of NegativeBinomial is a number above 0, not 0.0"),
        (lambda: NegativeBinomial(phi_inv=dist.Normal(0.0, 1.0)), "phi_inv of .* Normal, draws others too"),
        (lambda: Normal(sd=-1.0), "sd of Normal is a number above 0, not -1"),
        (lambda: PositiveNormal(1.0, 0.0), "the sd of a PositiveNormal is above 0, not 0.0"),
        (lambda: Piecewise(exponential(1.0), at=[3, 2]), r"must increase, and are \[3, 2\]"),
        (lambda: RandomWalk(exponential(1.0), 0.1, at=[]), "a random walk changes at one time at least"),
    ],
)
def test_parts_of_an_outbreak_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_priors_of_what_may_be_pass():
    assert Poisson(share=dist.Beta(1.0, 1.0)).given()["share"].mean == 0.5
    assert Normal(sd=dist.HalfNormal(1.0)).sd.scale == 1
    school(priors={"beta": dist.Uniform(0.0, 2.0), "gamma": dist.LogNormal(0.0, 1.0)})
    school(priors={"beta": Piecewise(dist.Gamma(2.0, 1.0), at=[2]), "gamma": dist.HalfNormal(1.0)})


def test_a_rate_below_zero_within_vmap_is_told_by_a_density_of_nan():
    def end(beta):
        return ode(sir(), {"beta": beta, "gamma": 0.4}, sir().state(S=762, I=1), [0, 3]).heads[-1]

    beta = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    found = torch.vmap(end)(beta)
    assert found[0].isnan().all()
    assert torch.allclose(found[1], end(0.5), rtol=1e-12)
    both = torch.func.grad_and_value(lambda rate: end(rate)[1])
    assert both(beta[0])[1].isnan()
    assert both(beta[1])[0] > 0
    with pytest.raises(ValueError, match=r"the rate 'beta' .* not negative, but there is -0.5"):
        end(beta)


def test_the_population_of_each_group_is_its_own():
    apart = school(**APART)
    assert apart.start_heads({"I0": apart.start["I"]}).tolist() == [1, 9, 0, 90, 0, 0]
    with pytest.raises(ValueError, match="an observation of 11 is larger than the population of 10"):
        apart.model(torch.tensor([[1.0, 50.0], [11.0, 2.0], [1.0, torch.nan]]))
    moving = school(**APART | {"compartments": sir(groups=("young", "old"), travel=[[0, 1], [1, 0]])})
    fine = {"beta": 0.5, "phi_inv": 0.1}
    assert np.isfinite(log_joint(moving, [[1.0, 50.0], [11.0, 2.0], [1.0, 3.0]], **fine))
    with pytest.raises(ValueError, match="an observation of 101 is larger than the population of 100"):
        moving.model(torch.tensor([[1.0, 50.0], [11.0, 101.0], [1.0, 3.0]]))


def test_who_falls_ill_again_may_be_counted_more_than_once():
    again = school(compartments=sis(), observes=("S", "I"))
    assert np.isfinite(log_joint(again, [3.0, 900.0, 5.0], beta=1.0, phi_inv=0.1))
    with pytest.raises(ValueError, match="an observation of 900 is larger than the population of 763"):
        school(compartments=sis()).model(torch.tensor([3.0, 900.0, 5.0]))
    with pytest.raises(ValueError, match="an observation of 900 is larger than the population of 763"):
        school(observes=("S", "I")).model(torch.tensor([3.0, 900.0, 5.0]))


def test_times_at_which_no_rate_changes_are_refused():
    with pytest.raises(ValueError, match=r"a rate changes must increase, and are \[3, 2\]"):
        Piecewise(exponential(1.0), at=[3, 2])
    with pytest.raises(ValueError, match="changes at one time at least"):
        RandomWalk(exponential(1.0), 0.1, at=[])


def test_it_is_among_the_programs():
    values = {name: torch.tensor(0.5, dtype=torch.float64) for name in ("beta", "gamma", "phi_inv")}
    one = Program.of(programs.PROGRAMS["influenza"], programs.data("influenza")).log_joint(values)
    assert one == Program.of(influenza(), {"cases": in_bed()}).log_joint(values)


@pytest.mark.slow
def test_the_posterior_of_the_flu_is_the_published_one():
    data = {"cases": in_bed()}
    near = inference.laplace(influenza(), data)
    posterior = inference.mcmc(
        influenza(), data, kernel=Independent(), until=Ess(10_000), start=near, progress=False, seed=1
    )
    told = {name: (float(posterior[name].mean()), float(posterior[name].std())) for name in ("beta", "gamma", "R0")}
    assert told["beta"] == pytest.approx((1.735, 0.053), abs=0.005)
    assert told["gamma"] == pytest.approx((0.541, 0.045), abs=0.005)
    assert told["R0"] == pytest.approx((3.23, 0.28), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    "by", [partial(inference.smc, particles=1000), partial(inference.variational, steps=1000)], ids=["smc", "guide"]
)
def test_other_ways_find_the_posterior_of_the_flu(by):
    posterior = by(influenza(), {"cases": in_bed()}, seed=1, progress=False)
    weights = posterior.weights / posterior.weights.sum()
    told = {name: float((weights * posterior[name]).sum()) for name in ("beta", "gamma", "R0")}
    assert told["beta"] == pytest.approx(1.735, abs=0.02)
    assert told["gamma"] == pytest.approx(0.541, abs=0.02)
    assert told["R0"] == pytest.approx(3.23, abs=0.15)
