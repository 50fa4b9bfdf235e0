"""Outcomes of spreads with interventions: against enumeration on tiny graphs, and against solved rate equations."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import solve_ivp

from inference import query
from inference.posterior import Posterior
from inference.program import Program
from inference.spread.live_draws import uniform
from inference.spread.live_edges import Contacts, Live
from inference.spread.live_runs import counts, forward
from inference.spread.measures import statistics
from inference.spread.outcome import outcome
from tests.inference.spread_enumeration import mean, outcomes
from zoo.spread.compartments import Compartments, Transition
from zoo.spread.graph import Graph
from zoo.spread.jumps import binomial_chain
from zoo.spread.on_graph import GraphSpread
from zoo.spread.outbreak import Outbreak
from zoo.spread.rumours import linear_threshold

MET = Transition("S", "I", "beta", by="I")
SIR = Compartments("SIR", [MET, Transition("I", "R", "gamma")])
SIS = Compartments("SI", [MET, Transition("I", "S", "gamma")])
SEIR = Compartments(
    "SEIR", [Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")]
)
KITE = Graph.of([(0, 1), (1, 2), (2, 0), (2, 3)], weights=[1.0, 0.5, 2.0, 1.5])
ROUND = Graph.of([(0, 1), (1, 2), (2, 0), (0, 2)], directed=True)
STEPS = 5


def spread(model: Compartments, graph: Graph, **more: Any) -> GraphSpread:
    rates = {"beta": 0.5, "gamma": 0.4, "sigma": 0.6}
    return GraphSpread(model, graph, {name: rates[name] for name in model.parameters}, step=0.8)


def figures(answer: Any, target: str) -> dict[str, float]:
    return {str(name): float(answer[target].sel(statistic=name)) for name in answer[target]["statistic"].values}


TARGETS = {
    "total": lambda state, peak, when, reached: len(reached),
    "peak": lambda state, peak, when, reached: peak,
    "peak_step": lambda state, peak, when, reached: when,
    "I": lambda state, peak, when, reached: state.count("I"),
}
DONE = {
    "nothing": ({}, {}),
    "vaccinated": ({"vaccinate": [2]}, {"closed": [2]}),
    "cut": ({"cut": [(0, 2)]}, {"cut": [(0, 2)]}),
    "halved": ({"contacts": 0.5}, {"contacts": lambda step: 0.5}),
    "later": ({"contacts": {1: 0.0, 3: 2.0}}, {"contacts": lambda step: 1.0 if step < 1 else 0.0 if step < 3 else 2.0}),
}


@pytest.mark.parametrize("done", DONE)
@pytest.mark.parametrize("model", [SIR, SIS, SEIR], ids=["SIR", "SIS", "SEIR"])
def test_outcomes_are_those_of_enumeration(model: Compartments, done: str) -> None:
    asked, told = DONE[done]
    kite = spread(model, KITE)
    law = outcomes(kite, {"I": [0]}, STEPS, **told)
    answer = query(kite, list(TARGETS), {"I": [0], "steps": STEPS}, asked, draws=4000)
    assert answer.kind == "estimate"
    for target, figure in TARGETS.items():
        found, truth = figures(answer, target), mean(law, figure)
        sd = (mean(law, lambda *what, f=figure, m=truth: (f(*what) - m) ** 2)) ** 0.5
        assert abs(found["mean"] - truth) < 4 * sd / 4000**0.5 + 1e-9
        assert found["error"] == pytest.approx(sd / 4000**0.5, rel=0.12, abs=1e-3)
        inside = sum(p for what, p in law.items() if found["low"] <= figure(*what) <= found["high"])
        assert inside > 0.88


def test_directed_edges_are_passed_one_way() -> None:
    """And cutting one of two ways in a directed graph cuts no more than that."""
    loop = spread(SIR, ROUND)
    law = outcomes(loop, {"I": [1]}, STEPS)
    assert figures(outcome(loop, "total", {"I": [1], "steps": STEPS}, draws=4000), "total")["mean"] == pytest.approx(
        mean(law, TARGETS["total"]), abs=0.05
    )
    answer = outcome(loop, "total", {"I": [1], "steps": STEPS}, {"cut": [(1, 2)]})
    assert figures(answer, "total")["high"] == 1


def test_saved_is_the_difference_run_by_run() -> None:
    kite, given = spread(SIR, KITE), {"I": [0], "steps": STEPS}
    truth = mean(outcomes(kite, {"I": [0]}, STEPS), TARGETS["total"])
    truth -= mean(outcomes(kite, {"I": [0]}, STEPS, closed=[1]), TARGETS["total"])
    saved = figures(outcome(kite, "saved", given, {"vaccinate": [1]}, draws=4000), "saved")
    assert abs(saved["mean"] - truth) < 4 * saved["error"]
    assert saved["low"] >= 0  # nobody is reached because somebody was vaccinated
    apart = [
        figures(outcome(kite, "total", given, do, draws=4000), "total")["error"] for do in ({}, {"vaccinate": [1]})
    ]
    assert saved["error"] < 0.75 * float(np.hypot(*apart))
    nothing = figures(outcome(kite, "saved", given, {"contacts": 1.0}), "saved")
    assert nothing["mean"] == nothing["sd"] == 0


def test_whoever_begins_it_at_random() -> None:
    """Each of the nodes as often as any other, those who were vaccinated too: then it does not begin."""
    kite = spread(SIR, KITE)
    laws = [outcomes(kite, {"I": [v]}, STEPS, closed=[2]) for v in (0, 1, 3)]
    truth = sum(mean(law, TARGETS["total"]) for law in laws) / 4
    found = figures(outcome(kite, "total", {"I": 1, "steps": STEPS}, {"vaccinate": [2]}, draws=4000), "total")
    assert abs(found["mean"] - truth) < 4 * found["error"]


def test_it_is_followed_to_its_end() -> None:
    kite = spread(SIR, KITE)
    answer = query(kite, ["I", "total", "R"], {"I": [0]})
    assert figures(answer, "I")["mean"] == 0
    assert figures(answer, "R")["mean"] == figures(answer, "total")["mean"]
    with pytest.raises(ValueError, match="no end of its own"):
        query(spread(SIS, KITE), "total", {"I": [0]})


def test_those_who_are_immune_at_the_beginning_are_not_reached() -> None:
    kite = spread(SIR, KITE)
    for model, given in ((SIR, {"I": [0], "R": [2]}), (SIR, {"I": [0], "R": [1, 2, 3]})):
        answer = outcome(spread(model, KITE), "total", given)
        law = outcomes(kite, given, 40)
        truth = mean(law, lambda state, peak, when, reached, given=given: len(reached) - len(given["R"]))
        found = figures(answer, "total")
        assert abs(found["mean"] - truth) <= 4 * found["error"] + 1e-9


def test_live_edges_are_the_steps_of_the_spread() -> None:
    """Counts after every step, of a second implementation: the simulation step by step."""
    graph = Graph.of(nx.karate_club_graph(), weights="weight")
    model = GraphSpread(SEIR, graph, {"beta": 0.06, "sigma": 0.5, "gamma": 0.3})
    runs = torch.arange(4000)
    live = Live.of(model, 3)
    assert live is not None
    begun = torch.zeros(1, graph.n, dtype=torch.uint8)
    begun[0, 0], begun[0, 5] = 2, 1
    time = forward(live, begun, runs)
    found = counts(live, begun, time, runs, 30, 4).double()
    course = model.simulate(begun[0], 30, replicates=4000, seed=1)
    error = (found.var(0) / 4000 + course.counts.double().var(0) / 4000).sqrt()
    assert ((found.mean(0) - course.counts.double().mean(0)).abs() <= 4.5 * error + 1e-9).all()
    assert (found.sum(-1) == graph.n).all()


def test_rates_one_for_each_run_make_the_interval_wider() -> None:
    known = GraphSpread(SIR, KITE, {"beta": 0.5, "gamma": 0.4})
    beta = torch.linspace(0.01, 0.99, 1000, dtype=torch.float64)[
        torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    ]
    unsure = GraphSpread(SIR, KITE, {"beta": beta, "gamma": 0.4})
    truth = np.mean(
        [
            mean(outcomes(GraphSpread(SIR, KITE, {"beta": b, "gamma": 0.4}), {"I": [0]}, 3), TARGETS["total"])
            for b in np.linspace(0.01, 0.99, 21)
        ]
    )
    found = figures(outcome(unsure, "total", {"I": [0], "steps": 3}), "total")
    assert abs(found["mean"] - truth) < 4 * found["error"]
    assert found["sd"] > figures(outcome(known, "total", {"I": [0], "steps": 3}), "total")["sd"]


def test_draws_are_uniform_and_of_their_keys_alone() -> None:
    run = torch.arange(300)[:, None].expand(300, 300)
    u = uniform(7, 1, run, torch.arange(300).expand(300, 300))
    assert abs(float(u.mean()) - 0.5) < 4 * (1 / 12 / u.numel()) ** 0.5
    assert abs(float(u.var()) - 1 / 12) < 0.001
    assert abs(float(torch.corrcoef(torch.stack([u[:, :-1].flatten(), u[:, 1:].flatten()]))[0, 1])) < 0.015
    assert abs(float(torch.corrcoef(torch.stack([u[:-1].flatten(), u[1:].flatten()]))[0, 1])) < 0.015
    assert len(u.unique()) == u.numel()
    assert uniform(7, 1, torch.tensor([5]), torch.tensor([11]))[0] == u[5, 11]
    assert uniform(7, 2, torch.tensor([5]), torch.tensor([11]))[0] != u[5, 11]


def test_contacts_add_up_over_their_pieces() -> None:
    contacts = Contacts((0.0, 2.0, 5.0), (1.0, 0.0, 0.5))
    begin = torch.tensor([0, 0, 0, 3, 6])
    needed = torch.tensor([1.5, 2.0, 2.1, 0.4, 0.6], dtype=torch.float64)
    assert contacts.until(begin, needed).tolist() == [2, 2, 6, 6, 8]
    assert contacts.until(torch.tensor([0]), torch.tensor([torch.inf], dtype=torch.float64)).tolist() == [torch.inf]


def test_figures_of_draws_that_count_differently() -> None:
    """Against numpy on draws that are repeated as often as they count."""
    x = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    often = torch.arange(40) % 4
    repeated = x.repeat_interleave(often, 0).numpy()
    found = statistics(x, often / often.sum())
    assert found[:, 0] == pytest.approx(repeated.mean(0))
    np.testing.assert_allclose(found[:, 3:].T, np.quantile(repeated, [0.05, 0.95], axis=0, method="inverted_cdf"))
    alike = statistics(x)
    assert alike[:, 1] == pytest.approx(x.numpy().std(0, ddof=1))
    assert alike[:, 2] == pytest.approx(x.numpy().std(0, ddof=1) / 40**0.5)
    np.testing.assert_allclose(alike[:, 3:].T, np.quantile(x.numpy(), [0.05, 0.95], axis=0, method="inverted_cdf"))


# ---- in a population

CASES = torch.tensor([3.0, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4], dtype=torch.float64)


def flu(beta: Any = 1.7, gamma: Any = 0.5, **more: Any) -> Outbreak:
    return Outbreak(SIR, {"S": 762, "I": 1}, {"beta": beta, "gamma": gamma}, observes="I", times=range(1, 15), **more)


def solved(beta: float, gamma: float, start: list[float], factor: float, since: float) -> np.ndarray:
    def slope(t: float, y: np.ndarray) -> list[float]:
        met = beta * (factor if t >= since else 1.0) * y[0] * y[1] / 763
        return [-met, met - gamma * y[1], gamma * y[1]]

    first = solve_ivp(slope, (0, since - 1e-12), start, rtol=1e-10, atol=1e-10).y[:, -1]
    return solve_ivp(slope, (since, 14), first, rtol=1e-10, atol=1e-10).y[:, -1]


def test_contacts_in_a_population_from_a_time_on() -> None:
    end = solved(1.7, 0.5, [762, 1, 0], 0.4, 4.3)
    answer = query(flu(), ["S", "total", "saved"], do={"contacts": {4.3: 0.4}}, draws=3)
    assert figures(answer, "S")["mean"] == pytest.approx(end[0], rel=1e-3)
    assert figures(answer, "total")["mean"] == pytest.approx(762 - end[0], rel=1e-3)
    untouched = solved(1.7, 0.5, [762, 1, 0], 1.0, 4.3)
    assert figures(answer, "saved")["mean"] == pytest.approx(end[0] - untouched[0], rel=1e-3)


def test_vaccinated_heads_are_met_and_not_infected() -> None:
    end = solved(1.7, 0.5, [562, 1, 200], 1.0, 5.0)
    answer = query(flu(), ["S", "total"], do={"vaccinate": 200}, draws=2)
    assert figures(answer, "S")["mean"] == pytest.approx(end[0], rel=1e-3)
    assert figures(answer, "total")["mean"] == pytest.approx(562 - end[0], rel=1e-3)


def test_a_posterior_holds_what_is_not_known_of_its_rates() -> None:
    outbreak = flu(dist.LogNormal(0.5, 0.1), dist.LogNormal(-0.7, 0.1))
    program = Program.of(outbreak, {"cases": CASES})
    beta = torch.tensor([[1.5, 1.7], [1.9, 2.1]], dtype=torch.float64)
    sites = {name: torch.full((2, 2), 0.5, dtype=torch.float64) for name in program.latents}
    posterior = Posterior("flu", program, {**sites, "beta": beta})
    answer = query(posterior, ["total", "peak", "curve", "peak_time"], do={"contacts": {5: 0.5}})
    alone = [query(flu(float(b)), ["total", "peak"], do={"contacts": {5: 0.5}}, draws=1) for b in beta.flatten()]
    for target in ("total", "peak"):
        each = [figures(one, target)["mean"] for one in alone]
        assert figures(answer, target)["mean"] == pytest.approx(np.mean(each))
        assert figures(answer, target)["sd"] == pytest.approx(np.std(each, ddof=1))
    assert answer["curve"].dims == ("time", "statistic") and len(answer["curve"]) == 14
    before, after = (query(posterior, "peak", do={"contacts": f}) for f in (1.0, 0.5))
    assert figures(before, "peak")["mean"] == pytest.approx(float(posterior["peak"].mean()))
    assert figures(after, "peak")["mean"] < figures(before, "peak")["mean"]


def test_a_chain_of_whole_heads_where_contacts_end() -> None:
    answer = query(flu(run=binomial_chain), ["total", "I"], do={"contacts": {2: 0.0}, "vaccinate": 10}, draws=200)
    assert figures(answer, "I")["mean"] < 1
    assert 0 < figures(answer, "total")["mean"] < 20


# ---- what is asked wrong

WRONG = [
    ({"target": "totl"}, "no 'totl'; near: total"),
    ({"target": "saved", "do": {}}, "say which, do="),
    ({"do": {"vacinate": [1]}}, "near: vaccinate"),
    ({"do": {"vaccinate": [9]}}, "no node 9"),
    ({"do": {"vaccinate": [0]}}, "0 is among those who begin it"),
    ({"do": {"cut": [(0, 3)]}}, "no edge 0 - 3"),
    ({"do": {"cut": [(0, 8)]}}, "no node 8"),
    ({"do": {"vaccinate": 1}}, r"as a list: \[1\]"),
    ({"do": {"cut": (0, 1)}}, "a list of pairs of nodes, and 0 is no pair"),
    ({"given": {"I": True}}, r"as a list: \[True\]"),
    ({"given": {"I": -1}}, "-1 nodes at random can't begin it"),
    ({"do": {"contacts": -0.5}}, "a number from 0 on, not -0.5"),
    ({"do": {"contacts": {-1: 0.5}}}, "0 or later, not -1"),
    ({"given": {}}, "say who is in I"),
    ({"given": {"R": [1]}}, "nobody begins it"),
    ({"given": {"J": [1]}}, "'J'.*no compartment"),
    ({"given": {"I": [7]}}, "no node 7"),
    ({"given": {"I": 9}}, "there are 4 to choose from"),
    ({"given": {"I": [0], "R": [0]}}, "begins in two"),
    ({"given": {"I": [0], "steps": -1}}, "steps are a whole number"),
]


@pytest.mark.parametrize(("asked", "words"), WRONG, ids=[words for _, words in WRONG])
def test_one_sentence_says_what_is_wrong(asked: dict[str, Any], words: str) -> None:
    question = {"target": "total", "given": {"I": [0]}, "do": {}, **asked}
    with pytest.raises(ValueError, match=words) as error:
        outcome(spread(SIR, KITE), question["target"], question["given"], question["do"])
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ({"cut": [(0, 1)]}, "no edges to cut"),
        ({"vaccinate": 10_000}, "10000 can't be vaccinated: there are 762"),
        ({"vaccinate": -1}, "0 or more, not -1"),
        ({"contacts": -1.0}, "from 0 on, not -1"),
        ({"vacinate": 10}, "near: vaccinate"),
    ],
)
def test_in_a_population_too(do: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        query(flu(), "total", do=do, draws=1)


def test_a_population_that_cannot_be_vaccinated_is_told() -> None:
    """None where immunity is not kept, and not in groups."""
    sis = Compartments("SI", [Transition("S", "I", "beta", by="I"), Transition("I", "S", "gamma")])
    grouped = Compartments("SIR", SIR.transitions, groups=["young", "old"])
    for model, start, words in (
        (sis, {"S": 9, "I": 1}, "none of S, I keeps the vaccinated from being infected: add one, V"),
        (grouped, {"S": [9, 9], "I": [1, 0]}, "in a population with groups is a matter of its start"),
    ):
        outbreak = Outbreak(model, start, {"beta": 1.0, "gamma": 0.5}, observes="I", times=[1, 2])
        with pytest.raises(ValueError, match=words):
            query(outbreak, "total", do={"vaccinate": 2}, draws=1)


def test_what_is_no_spread_or_given_twice_is_told() -> None:
    with pytest.raises(ValueError, match="its posterior what was seen: leave `given` empty"):
        outcome(flu(), "total", {"I": 3})
    with pytest.raises(TypeError, match="on a graph, an outbreak, or a posterior of one, not a Compartments"):
        outcome(SIR, "total", {})
    with pytest.raises(ValueError, match="a spread by thresholds has none: cut edges instead"):
        outcome(linear_threshold(Graph.of([(0, 1)])), "total", {"spreader": [0]}, {"contacts": 0.5})
