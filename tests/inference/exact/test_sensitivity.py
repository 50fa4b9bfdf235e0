"""Sensitivities held to finite differences of the engine's answers, and to its answers on tables that were changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference import sensitivity
from inference.exact import Engine
from inference.exact.factors import Factors
from tests.inference.exact.enumeration import Network, bayesian_networks, sample
from zoo.bayesian_network import BayesianNetwork

torch.set_num_threads(1)

STEP = 1e-6


def factors(network: Network) -> Factors:
    names = tuple(f"v{v}" for v in range(len(network.cards)))
    states = {name: [f"s{i}" for i in range(card)] for name, card in zip(names, network.cards, strict=True)}
    return Factors(names, states, network.structure, tuple(map(torch.from_numpy, network.tables)))


def with_table(graph: Factors, v: int, table: np.ndarray) -> Engine:
    tables = list(graph.tables)
    tables[v] = torch.from_numpy(table)
    return Engine(replace(graph, tables=tuple(tables)), executor="torch")


def given_way(table: np.ndarray, place: tuple[int, ...], change: float) -> np.ndarray:
    """The table with an entry moved, the others of its column in proportion; evenly where they are all zero."""
    moved = table.copy()
    column = moved[place[:-1]]
    rest = np.arange(len(column)) != place[-1]
    value = column[place[-1]]
    if rest.any():
        left = column[rest].sum()
        column[rest] = column[rest] * (1 - (value + change)) / left if left > 0 else -change / rest.sum()
        column[place[-1]] = value + change
    return moved


@st.composite
def questions(draw, told: int = 0) -> tuple[Factors, dict, dict, dict]:
    """A network, an event of one or two variables, evidence and interventions, at least `told` of them together."""
    network = draw(bayesian_networks(largest=5))
    n = len(network.cards)
    assume(n > told)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    world = sample(network, random, 1)[0]
    parts = ["event"] * draw(st.integers(1, min(2, n - told)))
    parts += [draw(st.sampled_from(("given", "do"))) for _ in range(told)]
    parts += [draw(st.sampled_from(("given", "do", "", ""))) for _ in range(n - len(parts))]
    parts = draw(st.permutations(parts))
    event = {f"v{v}": f"s{random.integers(network.cards[v])}" for v in range(n) if parts[v] == "event"}
    known = {f"v{v}": f"s{world[v]}" for v in range(n) if parts[v] == "given"}
    done = {f"v{v}": f"s{world[v]}" for v in range(n) if parts[v] == "do"}
    return factors(network), event, known, done


def probability(engine: Engine, event: dict, known: dict, done: dict) -> float:
    found = engine.joint(known, tuple(event), done or None)
    return float(found.values[(0, *(int(state[1:]) for state in event.values()))])


@settings(max_examples=40, deadline=None)
@given(questions())
def test_derivatives_are_finite_differences_of_the_engines_answers(question) -> None:
    graph, event, known, done = question
    found = sensitivity(graph, event, given=known, do=done)
    assert found.answer == pytest.approx(probability(Engine(graph), event, known, done), abs=1e-12)
    for v, name in enumerate(graph.variables):
        table = graph.tables[v].numpy()
        for place in np.ndindex(table.shape):
            alone, way = [], []
            for change in (-STEP, STEP):
                moved = table.copy()
                moved[place] += change
                alone.append(probability(with_table(graph, v, moved), event, known, done))
                way.append(probability(with_table(graph, v, given_way(table, place, change)), event, known, done))
            scale = 1e-4 * max(1.0, np.abs(found.raw[name].values).max() ** 2)
            assert found.raw[name].values[place] == pytest.approx((alone[1] - alone[0]) / 2 / STEP, abs=scale)
            assert found.derivative[name].values[place] == pytest.approx((way[1] - way[0]) / 2 / STEP, abs=scale)


@settings(max_examples=40, deadline=None)
@given(questions(told=1), st.floats(0, 1))
def test_what_is_said_of_large_changes_is_what_the_engine_answers(question, to) -> None:
    graph, event, known, done = question
    found = sensitivity(graph, event, given=known, do=done)
    evidence = sensitivity(graph, given=known, do=done)
    assert evidence.answer == pytest.approx(float(Engine(graph).log_evidence(known or None, done or None)), abs=1e-12)
    for v, name in enumerate(graph.variables):
        table = graph.tables[v].numpy()
        change = to - table
        moved, logs = found.moved(name, change), evidence.moved(name, change)
        for place in np.ndindex(table.shape):
            engine = with_table(graph, v, given_way(table, place, change[place]))
            log_evidence = float(engine.log_evidence(known or None, done or None, impossible="allow"))
            if table.shape[-1] == 1:
                continue
            if log_evidence < -30:  # the evidence can't be any more, or but for rounding
                assert logs[place] < -29 or np.isnan(logs[place])
                continue
            assert logs[place] == pytest.approx(log_evidence, abs=1e-6)
            assert moved[place] == pytest.approx(probability(engine, event, known, done), abs=1e-6)


def test_of_an_answer_worked_out_by_hand() -> None:
    """P(lung = yes | smoke = yes) is the entry itself; its complement gives way by as much."""
    asia = BayesianNetwork.from_name("asia")
    found = sensitivity(asia, "lung", state="yes", given={"smoke": "yes"})
    assert found.answer == pytest.approx(0.1) and "P(lung = yes | smoke)" in repr(found)
    slope = found.derivative["lung"]
    assert slope.dims == ("smoke", "lung") and list(slope.coords["lung"].values) == asia.states["lung"]
    assert slope.sel(smoke="yes", lung="yes").item() == pytest.approx(1)
    assert slope.sel(smoke="yes", lung="no").item() == pytest.approx(-1)
    assert found.raw["lung"].sel(smoke="yes", lung="yes").item() == pytest.approx(0.9)  # P is normalised by the column
    assert abs(slope.sel(smoke="no")).max() == 0 and all(abs(found.derivative[v]).max() == 0 for v in ("asia", "xray"))
    torch.testing.assert_close(
        torch.tensor(found.tables["lung"].values), asia.probabilities()[asia.variables.index("lung")].detach()
    )


def test_the_tornado_ranks_entries_by_how_far_the_answer_moves() -> None:
    asia = BayesianNetwork.from_name("asia")
    known = {"xray": "yes", "dysp": "yes"}
    found = sensitivity(asia, "lung", state="yes", given=known)
    whole = found.tornado(None)
    assert len(whole) == sum(p.numel() for p in asia.probabilities()) and len(found.tornado()) == 10
    assert (whole.swing.diff().dropna() <= 0).all()
    np.testing.assert_allclose(whole.swing, (whole.high - whole.low).abs())
    first = whole.iloc[0]
    for odds, column in ((0.5, "low"), (2.0, "high")):
        graph = asia.graph.copy()
        cpd = graph.get_cpds(first.variable)
        where = dict(part.split(" = ") for part in first.given.split(", ") if part) | {first.variable: first.state}
        place = tuple(cpd.state_names[v].index(where[v]) for v in cpd.variables)
        p = odds * first.value / (odds * first.value + 1 - first.value)
        cpd.values[(slice(None), *place[1:])] *= (1 - p) / (1 - first.value)
        cpd.values[place] = p
        answer = Engine(graph).marginals(known, ["lung"]).values["lung"][0, asia.states["lung"].index("yes")]
        assert float(answer) == pytest.approx(first[column], abs=1e-9)
    certain = whole[whole.value.isin([0.0, 1.0])]
    assert len(certain) and (certain.swing == 0).all() and (certain.derivative != 0).any()


def test_likelihoods_as_evidence() -> None:
    asia = BayesianNetwork.from_name("asia")
    seen = np.array([[0.7, 0.2]])
    found = sensitivity(asia, "lung", state="yes", given={"xray": seen, "smoke": None})
    expected = Engine(asia).marginals({"xray": seen}, ["lung"]).values["lung"][0, asia.states["lung"].index("yes")]
    assert found.answer == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a target, or evidence"),
        ({"target": "lung"}, "give the state of 'lung', yes or no"),
        ({"target": "lnug", "state": "yes"}, "no variable 'lnug'.*near: lung"),
        ({"target": "lung", "state": "maybe"}, "'lung' has no state 'maybe'"),
        ({"target": "lung", "state": "yes", "given": {"lung": "yes"}}, "both a target and given"),
        (
            {"target": "lung", "state": "yes", "given": {"lung": "yes"}, "do": {"smoke": "no"}},
            "both a target and given",
        ),
        ({"target": "lung", "state": "yes", "do": {"lung": "yes"}}, "both a target and given"),
        ({"target": "lung", "state": "yes", "given": {"smoke": ["yes", "no"]}}, "one row of evidence, not 2"),
        ({"target": "xray", "state": "yes", "given": {"lung": "yes", "either": "no"}}, "probability zero"),
        ({"given": {"smokes": "yes"}}, "no variable 'smokes'|network no such variable"),
    ],
)
def test_questions_that_make_no_sense_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        sensitivity(BayesianNetwork.from_name("asia"), **options)


def test_what_has_no_columns_is_refused_and_so_are_odd_changes() -> None:
    asia = BayesianNetwork.from_name("asia")
    with pytest.raises(ValueError, match="needs a directed network"):
        sensitivity(asia.graph.to_markov_model(), "lung", state="yes")
    found = sensitivity(asia, "lung", state="yes")
    with pytest.raises(ValueError, match="a factor above 1"):
        found.tornado(odds=1.0)
    with pytest.raises(ValueError, match="no variable 'lnug'; near: lung"):
        found.moved("lnug", 0.1)


def entropy(p: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(p).sum()


@pytest.mark.parametrize("target", ["either", ("lung", "bronc")])
def test_of_numbers_made_of_a_distribution(target) -> None:
    asia = BayesianNetwork.from_name("asia")
    known = {"xray": "yes", "smoke": "yes"}
    found = sensitivity(asia, target, of=entropy, given=known)
    graph = Engine(asia.graph).factors
    several = target if isinstance(target, tuple) else (target,)

    def answer(v: int, table: np.ndarray) -> float:
        return float(entropy(with_table(graph, v, table).joint(known, several).values[0]))

    assert found.answer == pytest.approx(answer(0, graph.tables[0].numpy()), abs=1e-12) and found.answer > 0
    for v, name in enumerate(graph.variables):
        table = graph.tables[v].numpy()
        if ((table == 0) | (table == 1)).any():
            continue
        far = found.moved(name, 0.3 - table)
        for place in np.ndindex(table.shape):
            above, below = (answer(v, given_way(table, place, change)) for change in (STEP, -STEP))
            slope = (above - below) / 2 / STEP
            assert found.derivative[name].values[place] == pytest.approx(slope, abs=1e-5 * max(1, abs(slope)))
            assert far[place] == pytest.approx(answer(v, given_way(table, place, 0.3 - table[place])), abs=1e-9)
    assert found.tornado().swing.iloc[0] > 0.05


def test_the_axes_of_a_joint_target_are_in_the_order_given() -> None:
    asia = BayesianNetwork.from_name("asia")
    joint = Engine(asia).joint(None, ("bronc", "lung")).values[0]
    assert float(joint[1, 0]) != pytest.approx(float(joint[0, 1]), abs=1e-3)
    for several, expected in ((("bronc", "lung"), joint[1, 0]), (("lung", "bronc"), joint[0, 1])):
        found = sensitivity(asia, several, of=lambda p: p[1, 0])
        assert found.answer == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "lung", "state": "yes", "of": entropy}, ValueError, "a state or of, not both"),
        ({"of": entropy, "given": {"smoke": "yes"}}, ValueError, "about a target"),
        ({"target": "lung", "of": lambda p: p}, TypeError, "of must give one number"),
        ({"target": "lung", "of": lambda p: 3.0}, TypeError, "of must give one number"),
    ],
)
def test_what_is_no_number_is_refused(options, error, message) -> None:
    with pytest.raises(error, match=message):
        sensitivity(BayesianNetwork.from_name("asia"), **options)
