"""Compartments by their rate equations: scipy's solver, closed forms, eigenvalues, transcendental equations."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import lambertw
from torch import Tensor

from zoo.spread import (
    Compartments,
    Transition,
    bass,
    daley_kendall,
    effective_reproduction,
    final_size,
    growth_rate,
    maki_thompson,
    ode,
    reproduction_number,
    seir,
    si,
    sir,
    sirs,
    sis,
)
from zoo.spread.rate_equations import Plan, by_torch

TIMES = torch.tensor([0.0, 0.7, 2.0, 5.5, 6.0, 14.0], dtype=torch.float64)
MIXING = [[3.0, 1.0], [0.5, 2.0]]
MOVING = [[9.0, 0.2], [0.05, 9.0]]


def solved(equations: Any, start: list[float]) -> Tensor:
    """Heads [T, K] by scipy, from the equations written out."""
    found = solve_ivp(equations, (0, 14), start, t_eval=TIMES.numpy(), rtol=1e-11, atol=1e-11, method="DOP853")
    return torch.as_tensor(found.y.T)


def sir_equations(t: float, y: Any) -> list[float]:
    s, i, _ = y
    return [-1.7 * s * i / 763, 1.7 * s * i / 763 - 0.5 * i, 0.5 * i]


def seasonal_seir_with_births(t: float, y: Any) -> list[float]:
    s, e, i, r = y
    n, beta = s + e + i + r, 1.2 * (1 + 0.5 * math.cos(t))
    met = beta * s * i / n
    return [0.1 * n - met - 0.1 * s, met - 0.9 * e, 0.8 * e - 0.5 * i, 0.4 * i - 0.1 * r]


def vaccinated_sirs(t: float, y: Any) -> list[float]:
    s, i, r, v = y
    met = 1.2 * s * i / (s + i + r + v)
    return [-met + 0.3 * r - 0.1 * s, met - 0.5 * i, 0.5 * i - 0.3 * r, 0.1 * s]


def two_groups(t: float, y: Any) -> list[float]:
    s, i, _ = np.reshape(y, (2, 3)).T
    met = 0.6 * s * (np.array(MIXING) @ (i / np.array([600.0, 200.0])))
    return np.stack([-met, met - 0.8 * i, 0.8 * i], -1).ravel().tolist()


def two_regions(t: float, y: Any) -> list[float]:
    heads = np.reshape(y, (2, 2))
    s, i = heads.T
    met = 1.5 * s * i / (s + i)
    local = np.stack([-met + 0.4 * i, met - 0.4 * i], -1)
    flux = heads * [[0.2], [0.05]]
    return (local - flux + flux[::-1]).ravel().tolist()


def rumour(t: float, y: Any) -> list[float]:
    x, s, z = y
    n = x + s + z
    return [-1.3 * x * s / n, 1.3 * x * s / n - 0.7 * s * (s + z) / n, 0.7 * s * (s + z) / n]


def infection_alone(t: float, y: Any) -> list[float]:
    return [-1.1 * y[0] * y[1] / 100, 1.1 * y[0] * y[1] / 100]


def seasonal(time: float) -> float:
    return 1.2 * (1 + 0.5 * math.cos(time))


CASES: dict[str, tuple[Compartments, dict[str, Any], dict[str, Any], Any]] = {
    "si": (si(), {"beta": 1.1}, {"S": 97, "I": 3}, infection_alone),
    "sir": (sir(), {"beta": 1.7, "gamma": 0.5}, {"S": 762, "I": 1}, sir_equations),
    "seir, born and seasonal": (
        seir(births_and_deaths=True),
        {"beta": seasonal, "sigma": 0.8, "gamma": 0.4, "mu": 0.1},
        {"S": 90, "E": 4, "I": 6},
        seasonal_seir_with_births,
    ),
    "sirs, vaccinated": (
        sirs(vaccination=True),
        {"beta": 1.2, "gamma": 0.5, "xi": 0.3, "nu": 0.1},
        {"S": 95, "I": 5},
        vaccinated_sirs,
    ),
    "groups": (
        sir(groups=("young", "old"), contacts=MIXING),
        {"beta": 0.6, "gamma": 0.8},
        {"S": [599, 200], "I": [1, 0]},
        two_groups,
    ),
    "travel": (
        sis(groups=("here", "there"), travel=MOVING),
        {"beta": 1.5, "gamma": 0.4},
        {"S": [90, 50], "I": [10, 0]},
        two_regions,
    ),
    "daley-kendall": (daley_kendall(), {"beta": 1.3, "gamma": 0.7}, {"ignorant": 99, "spreader": 1}, rumour),
    "maki-thompson": (maki_thompson(), {"beta": 1.3, "gamma": 0.7}, {"ignorant": 99, "spreader": 1}, rumour),
}


@pytest.mark.parametrize("name", CASES)
def test_the_course_is_that_of_scipys_solver(name: str) -> None:
    model, rates, heads, equations = CASES[name]
    start = model.state(**heads)
    course = ode(model, rates, start, TIMES, step=0.02)
    truth = solved(equations, start.tolist())
    torch.testing.assert_close(course.heads, truth, rtol=1e-6, atol=1e-6 * float(start.sum()))
    torch.testing.assert_close(course.heads, start + course.happened @ model.change, rtol=1e-10, atol=1e-9)


def test_the_error_falls_with_the_fourth_power_of_the_step() -> None:
    model, rates, heads, equations = CASES["sir"]
    truth = solved(equations, model.state(**heads).tolist())
    errors = [float((ode(model, rates, model.state(**heads), TIMES, step=s).heads - truth).norm()) for s in (0.05, 0.1)]
    assert 14 < errors[1] / errors[0] < 18


def test_bass_is_its_closed_form() -> None:
    p, q, t = 0.03, 0.38, torch.linspace(0, 20, 11, dtype=torch.float64)
    course = ode(bass(), {"p": p, "q": q}, bass().state(potential=500), t)
    gone = torch.exp(-(p + q) * t)
    torch.testing.assert_close(course["adopter"], 500 * (1 - gone) / (1 + q / p * gone), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(course.new("potential", "adopter").sum(), course["adopter"][-1], rtol=1e-9, atol=0)


def test_a_fifth_never_hears_of_a_rumour() -> None:
    for model in (daley_kendall(), maki_thompson()):
        course = ode(model, {"beta": 1.0, "gamma": 1.0}, model.state(ignorant=1e7, spreader=1), [0, 100])
        assert float(course["ignorant"][-1]) / 1e7 == pytest.approx(0.20318787, abs=1e-6)
    assert 1 - float(final_size(2.0)) == pytest.approx(0.20318787, abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([name for name in CASES if name != "travel"]),
    st.lists(st.floats(0, 5), min_size=4, max_size=4),
    st.lists(st.floats(0, 100), min_size=8, max_size=8),
)
def test_heads_are_kept(name: str, numbers: list[float], heads: list[float]) -> None:
    """Whatever the rates and the start: nobody is lost, and no number is negative."""
    model = CASES[name][0]
    rates = dict(zip(model.parameters, numbers, strict=False))
    start = torch.tensor(heads[: model.size], dtype=torch.float64)
    course = ode(model, rates, start, [0.0, 0.3, 1.0], step=0.1)
    assert course.heads.isfinite().all() and (course.heads >= -1e-9).all()
    torch.testing.assert_close(course.heads, start + course.happened @ model.change, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.sizes(course.heads), model.sizes(start).expand(3, -1), rtol=1e-9, atol=1e-9)


# ---- slopes and batches


@pytest.mark.parametrize("name", ["seir, born and seasonal", "sirs, vaccinated", "groups", "travel", "daley-kendall"])
def test_slopes_are_those_of_differences(name: str) -> None:
    model, rates, heads, _ = CASES[name]
    constant = {key: 0.9 if callable(rate) else rate for key, rate in rates.items()}

    def end(start: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        course = ode(model, dict(zip(constant, values, strict=True)), start, [0.0, 1.0, 1.5], step=0.5)
        return course.heads, course.happened

    free = [torch.tensor(rate, dtype=torch.float64, requires_grad=True) for rate in constant.values()]
    start = (model.state(**heads) / 10).requires_grad_()
    assert torch.autograd.gradcheck(end, (start, *free))


def test_a_rate_that_changes_in_time_is_differentiable() -> None:
    def total(level: Tensor) -> Tensor:
        rates = {"beta": lambda t: level * (1 + 0.3 * math.sin(t)), "gamma": torch.tensor(0.5, dtype=torch.float64)}
        return ode(sir(), rates, sir().state(S=9, I=1), [0.0, 2.0], step=0.5)["R"]

    assert torch.autograd.gradcheck(total, (torch.tensor(1.1, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("name", ["sir", "groups", "travel"])
def test_a_batch_is_its_members_one_by_one(name: str) -> None:
    model, _, heads, _ = CASES[name]
    beta = torch.tensor([[0.5], [1.5], [2.5]], dtype=torch.float64)
    start = torch.stack([model.state(**heads), 2 * model.state(**heads) + 1])
    course = ode(model, {"beta": beta, "gamma": 0.4}, start, TIMES)
    assert course.heads.shape == (3, 2, 6, model.size) and course.happened.shape == (3, 2, 6, len(model.events))
    for a in range(3):
        for b in range(2):
            alone = ode(model, {"beta": float(beta[a, 0]), "gamma": 0.4}, start[b], TIMES)
            torch.testing.assert_close(course.heads[a, b], alone.heads, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(course.happened[a, b], alone.happened, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sir", "groups", "travel"])
def test_vmap_and_grad_see_what_a_batch_sees(name: str) -> None:
    model, _, heads, _ = CASES[name]
    beta, first = torch.tensor([0.5, 1.5], dtype=torch.float64), model.state(**heads)

    def peak(b: Tensor, start: Tensor) -> Tensor:
        return ode(model, {"beta": b, "gamma": 0.4}, start, TIMES, step=0.7)["I"].square().sum()

    start = torch.stack([first, first + 1])
    slopes = torch.func.vmap(torch.func.grad(peak, (0, 1)))(beta, start)
    free = beta.clone().requires_grad_(), start.clone().requires_grad_()
    every = ode(model, {"beta": free[0], "gamma": 0.4}, free[1], TIMES, step=0.7)["I"].square().sum()
    for one, other in zip(slopes, torch.autograd.grad(every, free), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


# ---- loops in the place of torch's operations


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [1, 3, 259])
def test_loops_are_torchs_operations(name: str, rows: int) -> None:
    """Values and slopes, of batches narrower and wider than what is run at a time."""
    pytest.importorskip("numba", reason="loops are compiled by numba, the extra `compiled`")
    from zoo.spread.compiled_equations import by_loops

    model, rates, heads, _ = CASES[name]
    plan = Plan.of(model, [0.0, 0.4, 2.0], 0.3)
    noise = torch.Generator().manual_seed(rows)
    times = plan.stages(0.0) if any(callable(rate) for rate in rates.values()) else [0.0]
    paces = torch.stack([model.paces(model.rates(rates, t)) for t in times])
    paces = (paces * (0.5 + torch.rand(rows, *paces.shape, generator=noise))).requires_grad_()
    start = (model.state(**heads) + torch.rand(rows, model.size, generator=noise)).requires_grad_()
    weights = [torch.randn(rows, 3, n, generator=noise, dtype=torch.float64) for n in (model.size, len(model.events))]
    found = []
    for solve in (by_torch, by_loops):
        both = solve(start, paces, plan)
        total = sum((x * w).sum() for x, w in zip(both, weights, strict=True))
        found.append((*both, *torch.autograd.grad(total, (start, paces))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)


def test_curvature_is_that_of_torchs_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    def level(q: Tensor) -> Tensor:
        rates = {"beta": q[0].exp(), "sigma": 1.0, "gamma": q[1].exp(), "mu": 0.1}
        model = seir(births_and_deaths=True)
        return ode(model, rates, model.state(S=90, I=q[2].exp()), [0.0, 1.0, 2.0], step=0.5)["I"].log().sum()

    q = torch.tensor([0.3, -0.5, 0.7], dtype=torch.float64)
    found = torch.func.jacrev(torch.func.grad(level))(q)
    monkeypatch.setattr(
        importlib.import_module("zoo.spread.ode"), "find_spec", lambda name: None
    )  # as where numba is not installed
    torch.testing.assert_close(found, torch.func.jacrev(torch.func.grad(level))(q), rtol=1e-9, atol=1e-9)


def test_a_third_derivative_is_refused() -> None:
    beta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    found = ode(sir(), {"beta": beta, "gamma": 0.5}, sir().state(S=9, I=1), [0, 1])["I"][-1]
    for _ in range(2):
        (found,) = torch.autograd.grad(found, beta, create_graph=True)
    with pytest.raises(NotImplementedError, match="two derivatives here, not three"):
        torch.autograd.grad(found, beta)


# ---- thresholds


def test_r0_is_the_textbooks() -> None:
    rates = {"beta": 0.6, "sigma": 0.2, "gamma": 0.25, "mu": 0.01}
    model = seir(births_and_deaths=True)
    r0 = reproduction_number(model, rates, model.state(S=1000))
    assert float(r0) == pytest.approx(0.6 * 0.2 / ((0.2 + 0.01) * (0.25 + 0.01)), rel=1e-12)
    many = reproduction_number(sis(), {"beta": torch.tensor([0.5, 3.0]), "gamma": 0.4}, sis().state(S=[10, 20]))
    torch.testing.assert_close(many, torch.tensor([1.25, 7.5], dtype=torch.float64), rtol=1e-7, atol=0)
    assert float(reproduction_number(si(), {"beta": 1.0}, si().state(S=10))) == math.inf


def test_r0_where_meeting_others_ends_it_and_where_nothing_does() -> None:
    """Stiflers end it: beta S / N over gamma Z / N. Who is hurried on by a meeting is no new infection."""
    rumour, rates = maki_thompson(), {"beta": 2.0, "gamma": 0.5}
    at = rumour.state(ignorant=60, stifler=40)
    assert float(reproduction_number(rumour, rates, at)) == pytest.approx(2.0 * 0.6 / (0.5 * 0.4))
    assert float(growth_rate(rumour, rates, at)) == pytest.approx(2.0 * 0.6 - 0.5 * 0.4)
    moves = [Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")]
    hurried = Compartments("SEIR", [*moves, Transition("E", "I", "hurry", by="I")])
    found = reproduction_number(hurried, {**rates, "sigma": 0.3, "hurry": 5.0}, hurried.state(S=60, E=10, I=20, R=10))
    assert float(found) == pytest.approx(2.0 * 0.6 / 0.5)
    both = si(groups="ab", contacts=[[2, 1], [1, 1]])
    assert torch.isinf(reproduction_number(both, {"beta": 1.0}, both.state(S=[5, 5])))


def test_r0_of_groups_is_the_spectral_radius_of_who_infects_whom() -> None:
    model = sir(groups=("young", "old"), contacts=MIXING)
    at, rates = model.state(S=[600, 200]), {"beta": 0.6, "gamma": 0.8}
    whom = np.array([[0.6 / 0.8 * MIXING[g][h] * n for h in range(2)] for g, n in enumerate((600, 200))]) / [600, 200]
    assert float(reproduction_number(model, rates, at)) == pytest.approx(max(abs(np.linalg.eigvals(whom))), rel=1e-12)


@pytest.mark.parametrize("beta", [0.1, 0.9])
def test_r0_and_growth_agree_about_the_threshold(beta: float) -> None:
    model = seir(groups="ab", contacts=MIXING, travel=MOVING, births_and_deaths=True)
    at, rates = model.state(S=[600, 200]), {"beta": beta, "sigma": 0.5, "gamma": 1.0, "mu": 0.02}
    above = float(reproduction_number(model, rates, at)) > 1
    assert above == (float(growth_rate(model, rates, at)) > 0) == (beta == 0.9)
    at_threshold = {**rates, "beta": beta / float(reproduction_number(model, rates, at))}
    assert float(reproduction_number(model, at_threshold, at)) == pytest.approx(1, rel=1e-9)
    assert float(growth_rate(model, at_threshold, at)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["seir", "groups"])
def test_early_growth_is_the_leading_eigenvalue(name: str) -> None:
    model = seir() if name == "seir" else seir(groups="ab", contacts=MIXING)
    rates = {"beta": 1.2, "sigma": 0.8, "gamma": 0.4}
    many = 1e12 if name == "seir" else [1e12, 3e11]
    one = 1 if name == "seir" else [1, 0]
    course = ode(model, rates, model.state(S=many, I=one), [0.0, 12.0, 14.0], step=0.05)
    infectious = course["I"] if name == "seir" else course["I"].sum(-1)
    found = float((infectious[2] / infectious[1]).log()) / 2
    rate = float(growth_rate(model, rates, model.state(S=many)))
    assert found == pytest.approx(rate, rel=1e-4)
    if name == "seir":  # (r + sigma)(r + gamma) = beta sigma
        assert (rate + 0.8) * (rate + 0.4) == pytest.approx(1.2 * 0.8, rel=1e-10)


def test_the_effective_number_falls_with_the_susceptible_and_is_one_at_the_peak() -> None:
    rates = {"beta": 1.7, "gamma": 0.5}
    course = ode(sir(), rates, sir().state(S=762, I=1), torch.arange(0, 14, 0.05, dtype=torch.float64))
    found = effective_reproduction(course, rates)
    torch.testing.assert_close(found, 3.4 * course["S"] / 763)
    assert float(found[course["I"].argmax()]) == pytest.approx(1, abs=0.05)
    falling = {"beta": lambda t: 1.7 * math.exp(-t), "gamma": 0.5}
    changed = effective_reproduction(course, falling)
    torch.testing.assert_close(changed, found * torch.exp(-course.times))


# ---- final size


def test_final_size_is_lamberts() -> None:
    r0 = torch.tensor([0.3, 0.99, 1.01, 1.5, 3.0, 15.0], dtype=torch.float64)
    truth = 1 + np.real(lambertw(-r0.numpy() * np.exp(-r0.numpy()))) / r0.numpy()
    np.testing.assert_allclose(final_size(r0).numpy(), truth, atol=1e-11)
    assert float(final_size(1.0)) == pytest.approx(0, abs=1e-6)
    s, i = 0.7, 0.02
    truth = s + float(np.real(lambertw(-2.5 * s * math.exp(-2.5 * (s + i))))) / 2.5
    assert float(final_size(2.5, susceptible=s, infected=i)) == pytest.approx(truth, abs=1e-12)


def test_final_size_is_where_the_course_ends() -> None:
    model = sir(groups="ab", contacts=MIXING)
    start = model.state(S=[590, 150], I=[10, 0], R=[0, 50])
    course = ode(model, {"beta": 0.6, "gamma": 0.8}, start, [0, 400])
    shares = {"susceptible": [590 / 600, 150 / 200], "infected": [10 / 600, 0.0]}
    found = final_size(0.6 / 0.8, contacts=MIXING, **shares)
    gone = (course["S"][0] - course["S"][-1]) / torch.tensor([600, 200])
    torch.testing.assert_close(found, gone, rtol=1e-5, atol=0)
    latent = ode(seir(), {"beta": 1.0, "sigma": 0.3, "gamma": 0.5}, seir().state(S=1e9, E=1), [0, 400])
    assert float(latent["R"][-1]) / 1e9 == pytest.approx(float(final_size(2.0)), rel=1e-4)


def test_final_size_and_r0_are_differentiable() -> None:
    r0 = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: final_size(r, contacts=MIXING, infected=0.01, susceptible=0.9), (r0,))
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    model = sir(groups="ab", contacts=MIXING)
    at = model.state(S=[600, 200])
    for found in (reproduction_number, growth_rate):
        assert torch.autograd.gradcheck(lambda b, f=found: f(model, {"beta": b, "gamma": 0.5}, at), (beta,))


# ---- what is given wrong

NAN, START = math.nan, sir().state(S=9, I=1)
GOOD: dict[str, Any] = {"beta": 1.0, "gamma": 0.5}


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ({**GOOD, "beta": -1.0}, r"the rate 'beta' at time 0 must be finite and not negative, but there is -1$"),
        ({**GOOD, "beta": torch.tensor([1.0, -2.0])}, "but there is -2"),
        ({**GOOD, "gamma": NAN}, "the rate 'gamma' .* there is nan"),
        ({**GOOD, "gamma": lambda t: 1 - t}, r"the rate 'gamma' at time 1\.05 must be .*, but there is -0\.05"),
        ({"beta": 1.0}, "the rate 'gamma' is missing"),
        ({**GOOD, "bta": 1.0}, "no rate 'bta'; did you mean beta"),
        ({"beta": torch.ones(3), "gamma": torch.ones(2)}, r"one batch: beta \[3\], gamma \[2\]"),
    ],
)
def test_wrong_rates_are_told(rates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ode(sir(), rates, START, [0, 1, 2], step=0.1)


def test_wrong_starts_are_told() -> None:
    with pytest.raises(ValueError, match="add up to 701, but the population is 763"):
        sir().state(S=700, I=1, population=763)
    with pytest.raises(ValueError, match="add up to 12, but the population is 10"):
        sir(groups="ab").state(S=[9, 9], I=[1, 3], population=10)
    assert torch.equal(sir().state(S=762, I=1, population=763), torch.tensor([762.0, 1, 0], dtype=torch.float64))
    with pytest.raises(ValueError, match="heads of S must be finite and not negative, but there is -1"):
        sir().state(S=-1)
    with pytest.raises(ValueError, match="no compartment 'X'; there are S, I, R"):
        sir().state(X=1)
    with pytest.raises(TypeError, match="heads of S must be numbers, not 'many'"):
        sir().state(S="many")
    with pytest.raises(ValueError, match=r"a start must be \[..., 3\]"):
        ode(sir(), GOOD, torch.ones(4), [0, 1])
    with pytest.raises(ValueError, match="heads of a start must be finite and not negative, but there is nan"):
        ode(sir(), GOOD, torch.tensor([1, NAN, 0]), [0, 1])
    with pytest.raises(TypeError, match="a tensor of heads, as `state` makes it, not dict"):
        ode(sir(), GOOD, {"S": 9}, [0, 1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one batch: rates \[2\], a start \[3\]"):
        ode(sir(), {**GOOD, "beta": torch.ones(2)}, START.expand(3, 3), [0, 1])


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ([0, 2, 1], "times must increase, but 1 comes after 2"),
        ([0, 0], "times must increase, but 0 comes after 0"),
        ([0, NAN], "a time is not finite"),
        ([], "times are a list of numbers"),
    ],
)
def test_wrong_times_are_told(times: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ode(sir(), GOOD, START, times)


def test_other_wrongs_are_told() -> None:
    with pytest.raises(ValueError, match="a step must be a time above 0, not 0"):
        ode(sir(), GOOD, START, [0, 1], step=0)
    with pytest.raises(ValueError, match=r"contacts of 2 groups is \[2, 2\], not \[1, 2\]"):
        sir(groups="ab", contacts=[[1, 2]])
    with pytest.raises(ValueError, match="travel must be finite and not negative, but there is -1"):
        sir(groups="ab", travel=[[0, -1], [1, 0]])
    with pytest.raises(ValueError, match="S -> X names 'X', which is no compartment"):
        Compartments("SI", [Transition("S", "X", "beta")])
    with pytest.raises(ValueError, match="birth -> death has no source: births need a target"):
        Transition(None, None, "mu")
    with pytest.raises(ValueError, match=r"birth -> S has no source: births .* are `by` no one"):
        Transition(None, "S", "mu", by="S")
    with pytest.raises(ValueError, match="I -> R pairs of I move, so that by='I'"):
        Transition("I", "R", "gamma", by="R", pairs=True)
    with pytest.raises(TypeError, match=r"rates are given by name, \{name: rate\}, and not by a list"):
        ode(sir(), [1.0, 0.5], START, [0, 1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no transition from S to R; there are S -> I, I -> R"):
        ode(sir(), GOOD, START, [0, 1]).new("S", "R")
    with pytest.raises(ValueError, match="there is no threshold"):
        growth_rate(bass(), {"p": 0.1, "q": 0.2}, bass().state(potential=5))
    with pytest.raises(ValueError, match="R0 must be finite and not negative, but there is -2"):
        final_size(-2.0)
    with pytest.raises(ValueError, match="make more than 1"):
        final_size(2.0, infected=0.1)
