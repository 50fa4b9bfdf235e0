"""An outbreak that moves by chance: its reports are the outbreak's own, and its likelihood is the exact one."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import inference
from zoo.spread import Compartments, Course, Transition, binomial_chain, gillespie, master_equation, ode
from zoo.spread.changing import Piecewise
from zoo.spread.hidden_course import HiddenCourse
from zoo.spread.outbreak import Outbreak
from zoo.spread.reporting import NegativeBinomial, Poisson

SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
TWO = Compartments(
    "SIR", SIR.transitions, groups=("young", "old"), contacts=[[1.0, 0.4], [0.4, 0.8]], travel=[[0, 0.1], [0.2, 0]]
)
WIDE = dist.LogNormal(torch.tensor(0.0, dtype=torch.float64), 1.0)
PRIORS = {"beta": WIDE, "gamma": WIDE}


def tensors(**values: Any) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}


exactly = partial(ode, step=0.02)


def certain(model: Compartments, rates: Any, start: Tensor, times: Any, *, seed: int) -> Course:
    """What a chain is, without chance: the rate equations, in steps too short to matter."""
    return exactly(model, rates, start, times)


# ---- the same reports as the outbreak's


@pytest.mark.parametrize(
    ("model", "start", "settings", "values"),
    [
        (SIR, {"S": 90, "I": 10}, {"observes": "I", "times": [0.5, 2.0, 3.25]}, {}),
        (SIR, {"S": 90, "I": 10}, {"observes": ("S", "I"), "times": [1.0, 2.5, 3.0]}, {}),
        (SIR, {"I": 10}, {"observes": ("S", "I"), "times": range(3, 9), "begin": 2.0, "population": 100}, {}),
        (SIR, {"S": 90, "I": 10}, {"observes": ("S", "I"), "times": [1, 2, 4, 7, 8], "delay": [0.2, 0.5, 0.3]}, {}),
        (SIR, {"S": 90, "I": 10}, {"observes": ("S", "I"), "times": [1, 4, 5], "delay": [0.3, 0.7]},
         {"beta": Piecewise(WIDE, [1.4, 4.0])}),
        (TWO, {"S": [40, 50], "I": [5, 0]}, {"observes": "I", "times": [1.0, 2.0]}, {}),
        (TWO, {"S": [40, 50], "I": [5, 0]}, {"observes": ("S", "I"), "times": [1, 3], "delay": [0.5, 0.25, 0.25]}, {}),
    ],
)  # fmt: skip
def test_what_is_due_is_what_the_outbreak_expects(
    model: Compartments, start: dict[str, Any], settings: dict[str, Any], values: dict[str, Any]
) -> None:
    start = {name: torch.as_tensor(heads, dtype=torch.float64) for name, heads in start.items()}
    outbreak = Outbreak(model, start, {**PRIORS, **values}, reporting=Poisson(), run=exactly, **settings)
    hidden = HiddenCourse(outbreak, run=certain)
    beta = [[2.0, 0.5, 1.0], [1.0, 1.0, 3.0]] if values else [2.0, 1.0]
    rates = tensors(beta=beta, gamma=[0.5, 0.3])
    state, now, due = hidden.draw_start(rates, 4), outbreak.begin, []
    assert state.shape[:2] == (2, 4)
    for t in outbreak.times.tolist():
        state, now = hidden.advance(rates, state, now, t), t
        due.append(hidden._apart(state)[1][:, :, 0])
    for row in range(2):
        alone = {**outbreak.reporting.given(), **{name: value[row] for name, value in rates.items()}}
        alone |= {f"{name}0": heads for name, heads in start.items()}
        wanted = outbreak.expected(outbreak.course(alone)).reshape(len(due), -1)
        for particle in (0, 3):
            found = torch.stack([each[row, particle] for each in due])
            assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_reports_are_scored_by_the_outbreaks_reporting() -> None:
    start = {name: torch.tensor(heads, dtype=torch.float64) for name, heads in {"S": [40, 50], "I": [5, 2]}.items()}
    two = Outbreak(TWO, start, PRIORS, observes="I", times=[1.0], reporting=NegativeBinomial())
    hidden = HiddenCourse(two, run=certain)
    values = tensors(beta=[2.0, 1.0, 3.0], gamma=[0.5, 0.3, 0.1], phi_inv=[0.1, 0.2, 0.7])
    state = hidden.advance(values, hidden.draw_start(values, 2), 0.0, 1.0)
    cases = torch.tensor([7.0, 3.0], dtype=torch.float64)
    found = hidden.log_observation(values, state, cases)
    heads = state[..., : TWO.size].unflatten(-1, (2, 3))[..., 1]
    total, phi = 1 / values["phi_inv"][:, None, None], values["phi_inv"][:, None, None]
    each = torch.distributions.NegativeBinomial(total, logits=(heads * phi).log()).log_prob(cases)
    assert torch.allclose(found, each.sum(-1))
    half = hidden.log_observation(values, state, torch.tensor([7.0, torch.nan]))
    assert torch.allclose(half, each[..., 0])
    assert hidden.draw_observation(values, state).shape == (3, 2, 2)


# ---- the likelihood


def exact(rates: dict[str, float], start: Tensor, times: list[float], seen: list[float | None], new: bool) -> float:
    """p(cases) by the forward recursion over all states of SIR, which reach each other as the master equation says."""
    law = master_equation(SIR, rates, start, [0.0, 1e-9])
    states = law.states
    places = {tuple(row): n for n, row in enumerate(states.tolist())}
    forward = torch.zeros(len(states), dtype=torch.float64)
    forward[places[tuple(start.tolist())]] = 1
    for (begin, end), cases in zip(itertools.pairwise([0.0, *times]), seen, strict=True):
        moves = torch.zeros(len(states), len(states), dtype=torch.float64)
        for row, state in enumerate(states):
            after = master_equation(SIR, rates, state, [begin, end])
            moves[row, [places[tuple(each)] for each in after.states.tolist()]] = after.probabilities[1]
        expected = states[:, None, 0] - states[None, :, 0] if new else states[None, :, 1].expand_as(moves)
        if cases is not None:
            moves = moves * torch.distributions.Poisson(expected.clamp(min=1e-10)).log_prob(torch.tensor(cases)).exp()
        forward = forward @ moves
    return float(forward.sum())


@pytest.mark.parametrize("observes", ["I", ("S", "I")])
def test_its_likelihood_by_particles_is_the_exact_one(observes: Any) -> None:
    times, cases = [0.5, 1.0, 2.0], [1.0, None, 2.0]
    outbreak = Outbreak(SIR, {"S": 5, "I": 2}, PRIORS, observes=observes, times=times, reporting=Poisson())
    wanted = exact({"beta": 2.0, "gamma": 0.5}, SIR.state(S=5, I=2), times, cases, isinstance(observes, tuple))
    data = torch.tensor([torch.nan if each is None else each for each in cases], dtype=torch.float64)
    rates = tensors(beta=[2.0] * 100, gamma=[0.5] * 100)
    hidden = HiddenCourse(outbreak, run=gillespie)
    found = inference.particle_filter(hidden, rates, data, times, begin=0.0, particles=100, seed=1).log_likelihood.exp()
    assert float(found.std()) < 0.3 * wanted
    assert abs(float(found.mean()) - wanted) < 3.5 * float(found.std()) / 10


def test_a_start_of_a_prior_is_whole_and_adds_up() -> None:
    outbreak = Outbreak(SIR, {"I": WIDE}, PRIORS, observes="I", times=[1.0], population=100, reporting=Poisson())
    values = tensors(beta=[1.0, 1.0], gamma=[1.0, 1.0], I0=[2.6, 3.5])
    heads = HiddenCourse(outbreak).draw_start(values, 1)[:, 0, :3]
    assert heads.tolist() == [[97.0, 3.0, 0.0], [96.0, 4.0, 0.0]]


def test_the_posterior_by_particles() -> None:
    """Deaths alone, all seen: of 60 ill, by the rate g, binomials; by quadrature."""
    model = Compartments("AB", [Transition("A", "B", "gamma")])
    prior = dist.Gamma(torch.tensor(2.0, dtype=torch.float64), 2.0)
    outbreak = Outbreak(model, {"A": 60}, {"gamma": prior}, observes="A", times=[1.0, 2.0], reporting=Poisson())
    hidden = HiddenCourse(outbreak, run=partial(binomial_chain, step=1.0))
    cases = torch.tensor([torch.nan, 12.0], dtype=torch.float64)
    grid = torch.linspace(0.005, 5, 1000, dtype=torch.float64)
    left = torch.arange(61, dtype=torch.float64)
    stay = torch.distributions.Binomial(60, (-2 * grid).exp()[:, None]).log_prob(left)
    seen = torch.distributions.Poisson(left.clamp(min=1e-10)).log_prob(torch.tensor(12.0))
    weights = torch.softmax(prior.log_prob(grid) + (stay + seen).logsumexp(-1), 0)
    mean = float(weights @ grid)
    sd = float(weights @ (grid - mean).square()) ** 0.5
    program = hidden.program(inference.StateSpaceData, particles=100)
    found = inference.particle_mcmc(
        program, {"cases": cases}, chains=32, warmup=100, draws=300, until=inference.Ess(800), seed=2, progress=False
    )
    draws = found.draws["gamma"].double()
    assert float(draws.mean()) == pytest.approx(mean, abs=0.15 * sd)
    assert float(draws.std()) == pytest.approx(sd, rel=0.15)


def test_a_start_of_more_than_all_leaves_nobody_in_the_first_compartment() -> None:
    outbreak = Outbreak(SIR, {"I": WIDE}, PRIORS, observes="I", times=[1.0], population=100, reporting=Poisson())
    heads = HiddenCourse(outbreak).draw_start(tensors(beta=[1.0], gamma=[1.0], I0=[130.2]), 1)[0, 0, :3]
    assert heads.tolist() == [0.0, 130.0, 0.0]


def test_what_is_given_wrong() -> None:
    outbreak = Outbreak(SIR, {"S": 5, "I": 2}, PRIORS, observes="I", times=[1.0], reporting=Poisson())
    with pytest.raises(ValueError, match="the parameter 'gamma' is missing"):
        HiddenCourse(outbreak).draw_start(tensors(beta=[1.0]), 3)
    with pytest.raises(ValueError, match="no parameter 'bta'; did you mean beta"):
        HiddenCourse(outbreak).draw_start(tensors(beta=[1.0], gamma=[1.0], bta=[1.0]), 3)
    with pytest.raises(ValueError, match=r"nothing is observed at the begin of an outbreak: give begin=0 "):
        inference.particle_filter(HiddenCourse(outbreak), tensors(beta=[1.0], gamma=[1.0]), torch.ones(1), [1.0])
    program = HiddenCourse(outbreak).program(inference.StateSpaceData, particles=8)
    with pytest.raises(ValueError, match="an observation of 8 is larger than the population of 7"):
        inference.particle_mcmc(program, {"cases": torch.tensor([8.0])}, progress=False)
    with pytest.raises(ValueError, match=r"cases are \[1\], one for each of the times, not \[2\]"):
        inference.particle_mcmc(program, {"cases": torch.ones(2)}, progress=False)
