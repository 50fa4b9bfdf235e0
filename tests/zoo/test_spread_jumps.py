"""Chains of a spread against the master equation, against one step written out, and against the rate equations."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zoo.spread import Compartments, Transition, binomial_chain, gillespie, master_equation, ode, tau_leaping

SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
SIS = Compartments("SI", [Transition("S", "I", "beta", by="I"), Transition("I", "S", "gamma")])
OPEN = Compartments(
    "SIR",
    [
        Transition("S", "I", "beta", by="I"),
        Transition("I", "R", "gamma"),
        Transition(None, "S", "mu"),
        *(Transition(name, None, "mu") for name in "SIR"),
    ],
)
RUMOUR = Compartments(
    ("ignorant", "spreader", "stifler"),
    [
        Transition("ignorant", "spreader", "beta", by="spreader"),
        Transition("spreader", "stifler", "beta", by="spreader", pairs=True),
        Transition("spreader", "stifler", "beta", by="stifler"),
    ],
)
TWO = Compartments(
    "SI",
    [Transition("S", "I", "beta", by="I"), Transition("I", "S", "gamma")],
    groups=("young", "old"),
    contacts=[[1.0, 0.5], [0.2, 0.7]],
    travel=[[0.0, 0.3], [0.1, 0.0]],
)
CASES: dict[str, tuple[Compartments, dict[str, float], Tensor, int | None]] = {
    "SIR": (SIR, {"beta": 2.0, "gamma": 1.0}, SIR.state(S=8, I=2), None),
    "SIS": (SIS, {"beta": 1.5, "gamma": 1.0}, SIS.state(S=8, I=3), None),
    "births and deaths": (OPEN, {"beta": 2.0, "gamma": 1.0, "mu": 0.3}, OPEN.state(S=4, I=2), 24),
    "rumour": (RUMOUR, {"beta": 1.5}, RUMOUR.state(ignorant=6, spreader=3), None),
    "two groups": (TWO, {"beta": 2.0, "gamma": 1.0}, TWO.state(S=[3, 2], I=[1, 0]), None),
}
CHAINS: dict[str, Callable[..., Any]] = {"binomial": binomial_chain, "leaps": tau_leaping, "gillespie": gillespie}


def surprise(drawn: list[tuple[int, ...]], wanted: dict[tuple[int, ...], float]) -> float:
    """The p-value of Pearson's chi-square, cells of fewer than five put together."""
    counts = Counter(drawn)
    assert not (set(counts) - {state for state, p in wanted.items() if p > 0}), "a state that cannot be"
    large = [state for state, p in wanted.items() if p * len(drawn) >= 5]
    found, expected = [counts[s] for s in large], [wanted[s] * len(drawn) for s in large]
    if (rest := len(drawn) - sum(expected)) >= 5:
        found, expected = [*found, len(drawn) - sum(found)], [*expected, rest]
    share = sum(found) / sum(expected)
    return float(scipy.stats.chisquare(found, [e * share for e in expected]).pvalue)


def rows(heads: Tensor) -> list[tuple[int, ...]]:
    return [tuple(row) for row in heads.long().tolist()]


# ---- Gillespie: exact


@pytest.mark.parametrize("name", CASES)
def test_events_have_the_law_of_the_master_equation(name: str) -> None:
    model, rates, start, most = CASES[name]
    times, replicates = [0.0, 0.5, 2.0], 20_000
    law = master_equation(model, rates, start, times, at_most=most)
    assert law.beyond.max() < 1e-5
    heads = gillespie(model, rates, start, times, replicates=replicates, seed=1).heads
    assert heads.shape == (replicates, 3, model.size)
    assert (heads[:, 0] == start).all()
    variance = law.probabilities @ law.states.square() - law.mean().square()
    z = (heads.mean(0) - law.mean())[1:] / (variance[1:] / replicates).sqrt()
    assert z.abs().max() < 3.8
    for moment in (1, 2):
        wanted = dict(zip(rows(law.states), law.probabilities[moment].tolist(), strict=True))
        assert surprise(rows(heads[:, moment]), wanted) > 1e-3


def test_a_chain_goes_on_from_where_it_was() -> None:
    rates, start = {"beta": 2.0, "gamma": 1.0}, SIR.state(S=2, I=1)
    wanted = {}
    early = master_equation(SIR, rates, start, [0.0, 0.6])
    for state, p in zip(early.states, early.probabilities[1], strict=True):
        late = master_equation(SIR, rates, state, [0.6, 1.5])
        for after, q in zip(rows(late.states), late.probabilities[1].tolist(), strict=True):
            wanted[*rows(state[None])[0], *after] = float(p) * q
    heads = gillespie(SIR, rates, start, [0.0, 0.6, 1.5], replicates=20_000, seed=2).heads
    assert surprise(rows(heads[:, 1:].flatten(1)), wanted) > 1e-3


def test_each_of_a_batch_has_its_own_rates_and_start() -> None:
    rates = {"beta": torch.tensor([0.5, 3.0, 2.0]), "gamma": torch.tensor([1.0, 0.2, 1.0])}
    start = torch.stack([SIR.state(S=8, I=2), SIR.state(S=8, I=2), SIR.state(S=3, I=3)])
    law = master_equation(SIR, rates, start, [0.0, 1.0])
    heads = gillespie(SIR, rates, start, [0.0, 1.0], replicates=4000, seed=3).heads
    assert heads.shape == (4000, 3, 2, 3)
    deviation = heads.std(0).clamp(min=1e-9) / 4000**0.5
    assert ((heads.mean(0) - law.mean()) / deviation)[:, 1].abs().max() < 3.8


def test_nothing_happens_where_nothing_can() -> None:
    for chain in CHAINS.values():
        course = chain(SIR, {"beta": 2.0, "gamma": 1.0}, SIR.state(S=5), [0.0, 1.0, 20.0], replicates=3)
        assert (course.heads == SIR.state(S=5)).all()
        assert chain(SIR, {"beta": 2.0, "gamma": 1.0}, SIR.state(S=0), [2.0]).heads.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_begins_at_the_first_of_its_times(chain: str) -> None:
    rates, start = {"beta": 2.0, "gamma": 1.0}, SIR.state(S=8, I=2)
    early, late = (
        CHAINS[chain](SIR, rates, start, [begin, begin + 0.5, begin + 2], replicates=100, seed=4).heads
        for begin in (0.0, 8.0)
    )
    assert torch.equal(early, late)
    assert (early[:, 1] != early[:, 0]).any()


# ---- one step in discrete time, by enumeration


def one_step(model: Compartments, rates: dict[str, float], start: Tensor, step: float, seed: int) -> list[Any]:
    course = binomial_chain(model, rates, start, [0.0, step], step=step, replicates=20_000, seed=seed)
    return rows(course.happened[:, 1])


def test_one_step_is_multinomial_over_the_exits() -> None:
    model = Compartments(
        "SIRV", [Transition("S", "I", "beta", by="I"), Transition("S", "V", "nu"), Transition("I", "R", "gamma")]
    )
    rates, step = {"beta": 1.2, "nu": 0.7, "gamma": 0.9}, 0.8
    to_i, to_v, leave = 1.2 * 2 / 6, 0.7, 0.9
    out = 1 - math.exp(-(to_i + to_v) * step)
    chances = [out * to_i / (to_i + to_v), out * to_v / (to_i + to_v), 1 - out]
    wanted = {
        (i, v, r): scipy.stats.multinomial(4, chances).pmf([i, v, 4 - i - v])
        * scipy.stats.binom(2, 1 - math.exp(-leave * step)).pmf(r)
        for i, v, r in itertools.product(range(5), range(5), range(3))
        if i + v <= 4
    }
    assert sum(wanted.values()) == pytest.approx(1)
    assert surprise(one_step(model, rates, model.state(S=4, I=2), step, 4), wanted) > 1e-3


def test_one_step_of_births_is_poisson() -> None:
    rates = {"beta": 0.0, "gamma": 0.0, "mu": 0.5}
    drawn = [(row[2],) for row in one_step(OPEN, rates, OPEN.state(S=3, I=1), 0.6, 5)]
    wanted = {(n,): float(scipy.stats.poisson(0.5 * 4 * 0.6).pmf(n)) for n in range(40)}
    assert surprise(drawn, wanted) > 1e-3


def test_one_step_of_pairs_head_by_head() -> None:
    """Three spreaders and a stifler of five: each draws by itself, and a coin decides on an odd one out."""
    step, n = 0.7, 5
    meets, stifled = 1.5 * 2 / n, 1.5 * 1 / n  # a spreader's hazards: of the two others, and of the stifler
    out = 1 - math.exp(-(meets + stifled) * step)
    chances = (1 - out, out * meets / (meets + stifled), out * stifled / (meets + stifled))
    spread = scipy.stats.binom(1, 1 - math.exp(-1.5 * 3 / n * step))
    wanted: dict[tuple[int, ...], float] = {}
    for heads in itertools.product(range(3), repeat=3):
        p = math.prod(chances[each] for each in heads)
        stay, in_pairs, alone = (heads.count(each) for each in range(3))
        up = (in_pairs + 1) // 2 if stay else in_pairs // 2
        for (pairs, share), more in itertools.product(((up, 0.5), (in_pairs // 2, 0.5)), range(2)):
            key = (more, pairs, alone)
            wanted[key] = wanted.get(key, 0.0) + p * share * float(spread.pmf(more))
    assert sum(wanted.values()) == pytest.approx(1)
    start = RUMOUR.state(ignorant=1, spreader=3, stifler=1)
    assert surprise(one_step(RUMOUR, {"beta": 1.5}, start, step, 6), wanted) > 1e-3


def test_two_kinds_of_pairs_of_one_compartment_never_take_more_than_there_are() -> None:
    moves = [Transition("A", to, rate, by="A", pairs=True) for to, rate in (("B", "one"), ("C", "two"))]
    model = Compartments("ABC", moves)
    course = binomial_chain(model, {"one": 1.0, "two": 1.0}, model.state(A=3), [0, 1], replicates=2000)
    assert (course.heads >= 0).all() and (course.heads.sum(-1) == 3).all()


def test_one_leap_is_binomial_by_the_hazards_half_a_leap_on() -> None:
    step, (s, i, n) = 0.3, (6.0, 2.0, 8.0)
    caught, recovered = s * (1 - math.exp(-2.0 * i / n * step / 2)), i * (1 - math.exp(-1.0 * step / 2))
    halfway = i + caught - recovered
    ill = scipy.stats.binom(6, 1 - math.exp(-2.0 * halfway / n * step))
    leave = 1 - math.exp(-1.0 * step) + 2 * caught / i * (1 - math.exp(-1.0 * step / 2))
    well = scipy.stats.binom(2, leave)
    wanted = {(a, b): float(ill.pmf(a) * well.pmf(b)) for a, b in itertools.product(range(7), range(3))}
    course = tau_leaping(
        SIR, {"beta": 2.0, "gamma": 1.0}, SIR.state(S=6, I=2), [0, 0.3], step=0.3, replicates=20_000, seed=7
    )
    assert surprise(rows(course.happened[:, 1]), wanted) > 1e-3


def test_a_leap_has_the_rates_half_a_leap_on() -> None:
    alone = Compartments("AB", [Transition("A", "B", "rate")])
    start = alone.state(A=200_000)
    course = tau_leaping(alone, {"rate": lambda t: t}, start, [1.0, 2.0], step=1.0, seed=3)
    chance = 1 - math.exp(-1.5)
    assert float(course["B"][-1]) == pytest.approx(200_000 * chance, abs=4 * math.sqrt(200_000 * chance * (1 - chance)))


@pytest.mark.parametrize("chain", [binomial_chain, tau_leaping])
def test_a_step_too_long_still_shares_heads_by_the_hazards(chain: Callable[..., Any]) -> None:
    model = Compartments("ABC", [Transition("A", "B", "fast"), Transition("A", "C", "slow")])
    heads = chain(model, {"fast": 30.0, "slow": 10.0}, model.state(A=100_000), [0.0, 5.0], step=5.0).heads[-1]
    assert heads[0] == 0
    assert heads[1:].tolist() == pytest.approx([75_000, 25_000], abs=600)


def test_steps_are_equal_and_none_is_longer_than_asked() -> None:
    """1.5 by steps of 1 is two steps of 0.75: the law of those who stay ill is that of two binomials."""
    model = Compartments("AB", [Transition("A", "B", "gamma", by="B")])
    course = binomial_chain(model, {"gamma": 1.0}, model.state(A=2, B=1), [0.0, 1.5], replicates=20_000, seed=8)
    wanted = Counter[tuple[int, ...]]()
    for first in range(3):
        p = scipy.stats.binom(2, 1 - math.exp(-1 / 3 * 0.75)).pmf(first)
        for second in range(3 - first):
            q = scipy.stats.binom(2 - first, 1 - math.exp(-(1 + first) / 3 * 0.75)).pmf(second)
            wanted[(first + second,)] += float(p * q)
    assert surprise(rows(course.happened[:, 1]), dict(wanted)) > 1e-3


# ---- to the limits


@pytest.mark.parametrize("chain", [tau_leaping, binomial_chain])
@pytest.mark.parametrize("name", ["SIR", "births and deaths", "rumour", "two groups"])
def test_short_steps_come_to_the_master_equation(name: str, chain: Callable[..., Any]) -> None:
    model, rates, start, most = CASES[name]
    truth = master_equation(model, rates, start, [0.0, 1.5], at_most=most).mean()[1]
    off, noise = [], []
    for step, replicates in ((0.75, 5_000), (0.05, 5_000)):
        heads = chain(model, rates, start, [0.0, 1.5], step=step, replicates=replicates, seed=9).heads[:, 1]
        off.append((heads.mean(0) - truth).abs())
        noise.append(heads.std(0) / replicates**0.5)
    assert (off[1] < 4 * noise[1] + 0.05).all()
    assert (off[1].max() < off[0].max() / 2) or (chain is tau_leaping and (off[0] < 0.1).all())


def test_the_error_of_a_leap_falls_as_the_square_of_its_length() -> None:
    rates, start = {"beta": 2.0, "gamma": 1.0}, SIR.state(S=900_000, I=100_000)
    truth = ode(SIR, rates, start, [0.0, 2.0], step=0.01).heads[-1] / 1e6
    for chain, order in ((tau_leaping, 2), (binomial_chain, 1)):
        long, short = (
            chain(SIR, rates, start, [0.0, 2.0], step=step, replicates=100).heads[:, 1].mean(0) / 1e6 - truth
            for step in (0.25, 0.125)
        )
        assert math.log2(float(long.abs().max() / short.abs().max())) == pytest.approx(order, abs=0.4)


@pytest.mark.parametrize("name", ["SIR", "births and deaths", "rumour", "two groups"])
@pytest.mark.parametrize("chain", CHAINS)
def test_many_heads_follow_the_rate_equations(name: str, chain: str) -> None:
    model, rates, start, _ = CASES[name]
    size = 100.0 if chain == "gillespie" else 1e6
    step = {} if chain == "gillespie" else {"step": 0.05 if chain == "leaps" else 0.005}
    times = [0.0, 0.5, 1.5]
    heads = CHAINS[chain](model, rates, start * size, times, seed=10, **step).heads
    wanted = ode(model, rates, start * size, times, step=0.02).heads
    share = (heads - wanted).abs() / wanted.sum(-1, keepdim=True)
    assert share.max() < 3.0 / float(start.sum() * size) ** 0.5 + (0 if chain == "gillespie" else 1.5e-3)


def test_rates_that_change_in_time() -> None:
    for chain in (binomial_chain, tau_leaping):
        times, rates = [0.0, 1.0, 2.0, 3.0], {"beta": lambda t: 0.5 if t < 2 else 0.0, "gamma": 0.1}
        new = chain(SIR, rates, SIR.state(S=500, I=50), times, step=0.5, replicates=50).new("S", "I")
        assert (new[:, :2] > 0).all()
        assert (new[:, 2] == 0).all()
        ramp = {"beta": 0.0, "gamma": lambda t: 0.4 * t + torch.tensor([0.0, 1.0])}
        left = chain(SIR, ramp, SIR.state(I=100_000), [0.0, 2.0], step=0.01)["I"][:, 1] / 100_000
        assert left.tolist() == pytest.approx([math.exp(-0.8), math.exp(-2.8)], abs=0.007)


# ---- numbers of heads


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(CASES)),
    chain=st.sampled_from(sorted(CHAINS)),
    pace=st.floats(0.0, 30.0),
    heads=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_heads_are_whole_never_negative_and_accounted_for(
    name: str, chain: str, pace: float, heads: list[int], seed: int
) -> None:
    model, rates, _, most = CASES[name]
    start = torch.tensor(heads[: model.size], dtype=torch.float64)
    pace = min(pace, 1.0) if most else pace
    course = CHAINS[chain](
        model, {n: r * pace for n, r in rates.items()}, start, [0, 0.9, 2.5], replicates=5, seed=seed
    )
    assert (course.heads >= 0).all()
    assert (course.heads == course.heads.round()).all()
    assert (course.happened.diff(dim=1) >= 0).all()
    assert (course.happened == course.happened.round()).all()
    assert torch.equal(course.heads, start + course.happened @ model.change)
    if not most:
        assert (course.heads.sum(-1) == start.sum()).all()


# ---- seeds, shapes and what is given wrong


@pytest.mark.parametrize("chain", CHAINS)
def test_seeds_and_shapes(chain: str) -> None:
    run, start = CHAINS[chain], SIR.state(S=60, I=5)
    rates = {"beta": torch.tensor([[2.0], [1.0]], requires_grad=True), "gamma": torch.tensor([0.2, 0.5, 1.0])}
    state = torch.get_rng_state()
    course = run(SIR, rates, start, [0, 1, 2, 4], replicates=5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert course.heads.shape == (5, 2, 3, 4, 3)
    assert course.happened.shape == (5, 2, 3, 4, 2)
    assert not course.heads.requires_grad
    assert torch.equal(run(SIR, rates, start, [0, 1, 2, 4], replicates=5, seed=3).heads, course.heads)
    assert not torch.equal(run(SIR, rates, start, [0, 1, 2, 4], replicates=5, seed=4).heads, course.heads)
    assert len(course.heads[:, 0, 0, 2].unique(dim=0)) > 1
    assert run(SIR, {"beta": 2, "gamma": 1}, start, [0, 1]).heads.shape == (2, 3)


GOOD = {"beta": 2.0, "gamma": 1.0}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("the rate 'beta' .* must be finite and not negative, but there is -1", {"rates": {"beta": -1.0, "gamma": 1.0}}),
    ("the rate 'beta' .* there is -2",
     {"rates": {"beta": torch.tensor([1.0, -2.0], requires_grad=True), "gamma": 1.0}}),
    ("the rate 'gamma' .* there is nan", {"rates": {"beta": 1.0, "gamma": torch.tensor([1.0, math.nan])}}),
    ("the rate 'beta' at time 1 .* there is -0.5",
     {"rates": {"beta": lambda t: 0.5 - t, "gamma": 1.0}, "times": [1.0, 2.0]}),
    ("there is no rate 'betta'; did you mean beta", {"rates": {"betta": 1.0, "gamma": 1.0}}),
    ("the rate 'gamma' is missing", {"rates": {"beta": 1.0}}),
    ("whole heads, and the start has 2.5", {"start": torch.tensor([5.0, 2.5, 0.0])}),
    ("heads of a start must be finite and not negative, but there is -2", {"start": torch.tensor([5.0, -2.0, 0.0])}),
    (r"a start must be \[..., 3\].* not \[2\]", {"start": torch.tensor([5.0, 2.0])}),
    (r"one batch: the rates \[2\], the start's heads \[3\]",
     {"start": torch.ones(3, 3), "rates": {"beta": torch.ones(2), "gamma": 1.0}}),
    ("times must increase", {"times": [0.0, 2.0, 1.0]}),
    ("a time is not finite", {"times": [0.0, math.inf]}),
    ("replicates are a number from 1 on, or None, not 0", {"replicates": 0}),
]  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(("message", "given"), WRONG)
def test_what_is_given_wrong(chain: str, message: str, given: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"rates": GOOD, "start": SIR.state(S=5, I=2), "times": [0.0, 1.0], **given}
    with pytest.raises(ValueError, match=message):
        CHAINS[chain](SIR, asked.pop("rates"), asked.pop("start"), asked.pop("times"), **asked)


def test_what_one_chain_refuses() -> None:
    start = SIR.state(S=5, I=2)
    with pytest.raises(ValueError, match="'beta' is a function of time: use tau_leaping"):
        gillespie(SIR, {"beta": lambda t: 1.0, "gamma": 1.0}, start, [0, 1])
    with pytest.raises(ValueError, match="the step is a time above 0, not 0"):
        tau_leaping(SIR, GOOD, start, [0, 1], step=0.0)
    with pytest.raises(ValueError, match=r"the rate 'beta' at time 1 must be .* there is -1"):
        binomial_chain(SIR, {"beta": lambda t: 1.0 - 2 * t, "gamma": 1.0}, start, [0, 1, 2])
