"""Spreads on graphs against the exact law of all they can do, and against each other."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from tests.zoo.exact_spread import cascade, chain, p_value, thresholds
from zoo.spread import (
    ChangingGraph,
    Compartments,
    Graph,
    GraphSpread,
    Transition,
    bass,
    binomial_chain,
    daley_kendall,
    independent_cascade,
    linear_threshold,
    maki_thompson,
    replicates,
    seir,
    si,
    sir,
    sirs,
    sis,
)

SURE = 1e-3
"""Below this a chi-square says that two laws differ: the seeds are fixed."""

PATH = {(0, 1): 1.0, (1, 0): 1.0, (1, 2): 1.0, (2, 1): 1.0}
TRIANGLE = {(a, b): 1.0 for a in range(3) for b in range(3) if a != b}
WEIGHTED = {(0, 1): 0.4, (1, 0): 0.4, (1, 2): 2.0, (2, 1): 2.0, (0, 2): 1.1, (2, 0): 1.1}
DIRECTED = {(0, 1): 0.7, (1, 2): 1.5, (2, 0): 0.3, (0, 2): 0.2, (1, 3): 1.0, (3, 0): 2.0}
TREE = {edge: 1.0 for a, b in ((0, 1), (0, 2), (2, 3), (2, 4)) for edge in ((a, b), (b, a))}

SI = [("S", "I", 0.6, "I")]
SIR = [*SI, ("I", "R", 0.5, "")]
SIS = [*SI, ("I", "S", 0.8, "")]
SEIR = [("S", "E", 0.7, "I"), ("E", "I", 0.6, ""), ("I", "R", 0.5, "")]
SIRS = [*SIR, ("R", "S", 0.4, "")]
VACCINATED = [*SIR, ("S", "R", 0.3, "")]
DYING = [*SIR, ("I", "D", 0.9, "")]
CARRIERS = [("S", "I", 0.5, "IC"), ("I", "C", 0.7, ""), ("C", "R", 0.3, "")]
RUMOUR = [("I", "S", 0.8, "S"), ("S", "R", 0.6, "SR")]
FAST = [("S", "I", 3.0, "I"), ("S", "R", 1.0, ""), ("I", "R", 0.7, ""), ("I", "D", 4.0, "")]
TWO_STRAINS = [("S", "I", 0.5, "I"), ("S", "J", 0.9, "J"), ("I", "R", 0.4, "")]

CASES = {
    "SI on a path": ("SI", SI, PATH, "ISS", 3),
    "SIR on a path": ("SIR", SIR, PATH, "SIS", 2),
    "SIR on a triangle": ("SIR", SIR, TRIANGLE, "ISS", 3),
    "SIR, weighted": ("SIR", SIR, WEIGHTED, "ISS", 3),
    "SIR, directed": ("SIR", SIR, DIRECTED, "SISS", 2),
    "SIS on a path": ("SI", SIS, PATH, "ISS", 4),
    "SEIR on a triangle": ("SEIR", SEIR, TRIANGLE, "ISE", 3),
    "SIRS on a path": ("SIR", SIRS, PATH, "ISR", 3),
    "SI on a tree": ("SI", SI, TREE, "SISSS", 3),
    "SIR on a tree": ("SIR", SIR, TREE, "SSISS", 2),
    "two ways out of S": ("SIR", VACCINATED, TRIANGLE, "ISS", 2),
    "two ways out of I": ("SIRD", DYING, PATH, "IIS", 2),
    "two who infect": ("SICR", CARRIERS, PATH, "ISS", 3),
    "a rumour": ("ISR", RUMOUR, TRIANGLE, "SII", 3),
    "a weighted rumour": ("ISR", RUMOUR, WEIGHTED, "SSI", 2),
    "two ways out, fast": ("SIRD", FAST, PATH, "SIS", 2),
    "two strains": ("SIJR", TWO_STRAINS, WEIGHTED, "SIJ", 2),
}


def graph_of(edges, n: int) -> Graph:
    pairs, weights = list(edges), list(edges.values())
    return Graph.of(np.array(pairs), weights=weights, directed=True, nodes=range(n))


def spread_of(names: str, transitions, graph, **changed) -> GraphSpread:
    moves = [Transition(a, b, f"r{k}", by=tuple(by)) for k, (a, b, _, by) in enumerate(transitions)]
    rates = {f"r{k}": rate for k, (*_, rate, _) in enumerate(transitions)} | changed
    return GraphSpread(Compartments(names, moves), graph, rates)


def ran(spread, begun: str, steps: int, count: int, seed: int = 0) -> list[tuple]:
    """(states, reached) of replicates."""
    names = spread.compartments.names
    start = torch.tensor([names.index(letter) for letter in begun], dtype=torch.uint8)
    course = spread.simulate(start, steps, replicates=count, seed=seed)
    states = ["".join(names[k] for k in row) for row in course.states.tolist()]
    return list(zip(states, map(tuple, course.reached.tolist()), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_law_of_all_that_can_happen(case):
    names, transitions, edges, begun, steps = CASES[case]
    law = chain(names, transitions, lambda t: edges, begun, steps)
    seen = ran(spread_of(names, transitions, graph_of(edges, len(begun))), begun, steps, 12_000)
    assert p_value(law, seen) > SURE


def test_a_graph_without_weights_is_one_of_weights_1():
    law = chain("SIR", SIR, lambda t: TREE, "SSISS", 3)
    plain = Graph.of([(0, 1), (0, 2), (2, 3), (2, 4)])
    assert plain.weights is None
    assert p_value(law, ran(spread_of("SIR", SIR, plain), "SSISS", 3, 12_000, seed=3)) > SURE


def test_a_graph_that_changes():
    edges = [PATH, DIRECTED, WEIGHTED]
    law = chain("SIR", SIR, lambda t: edges[min(t // 2, 2)], "ISSS", 5)
    graph = ChangingGraph([(0, graph_of(PATH, 4)), (2, graph_of(DIRECTED, 4)), (4, graph_of(WEIGHTED, 4))])
    assert p_value(law, ran(spread_of("SIR", SIR, graph), "ISSS", 5, 12_000)) > SURE


def test_rates_that_change_in_time_and_steps_of_another_length():
    spread = spread_of("SI", SI, graph_of(TRIANGLE, 3), r0=lambda time: 0.2 + 2 * time)
    spread = GraphSpread(spread.compartments, spread.graph, spread.rates, step=0.5)
    law = chain("SI", [("S", "I", 1.0, "I")], lambda t: dict.fromkeys(TRIANGLE, 0.5 * (0.2 + t)), "ISS", 3)
    assert p_value(law, ran(spread, "ISS", 3, 12_000)) > SURE


def test_rates_of_each_replicate():
    rates = torch.tensor([0.2, 2.0], dtype=torch.float64).repeat_interleave(6_000)
    spread = spread_of("SIR", DYING[:2], graph_of(WEIGHTED, 3), r0=rates, r1=rates.flip(0))
    seen = ran(spread, "ISS", 3, 12_000)
    for part, (beta, gamma) in ((seen[:6_000], (0.2, 2.0)), (seen[6_000:], (2.0, 0.2))):
        transitions = [("S", "I", beta, "I"), ("I", "R", gamma, "")]
        assert p_value(chain("SIR", transitions, lambda t: WEIGHTED, "ISS", 3), part) > SURE


def test_large_hazards_and_none():
    spread = spread_of("SIR", SIR, graph_of(PATH, 3), r0=1e3, r1=0.0)
    assert ran(spread, "ISS", 5, 3) == [("III", (0, 1, 2))] * 3
    spread = spread_of("SIR", SIR, graph_of(PATH, 3), r0=0.0, r1=1e3)
    assert ran(spread, "ISS", 5, 3) == [("RSS", (0, -1, -1))] * 3


# ---- rumours


@pytest.mark.parametrize("edges", [DIRECTED, WEIGHTED, TREE], ids=["directed", "weighted", "tree"])
def test_a_cascade_by_its_live_edges(edges):
    n = 1 + max(max(edge) for edge in edges)
    chances = {edge: w / 2.5 for edge, w in edges.items()}
    spread = independent_cascade(graph_of(chances, n))
    for steps in (1, 2, 6):
        course = spread.simulate({"spreader": [0]}, steps, replicates=12_000, seed=steps)
        assert p_value(cascade(n, chances, [0], steps), list(map(tuple, course.reached.tolist()))) > SURE


def test_a_cascade_of_one_chance():
    course = independent_cascade(Graph.of(list(TREE)), chance=0.3).simulate({"spreader": [3, 4]}, 4, replicates=12_000)
    law = cascade(5, dict.fromkeys(TREE, 0.3), [3, 4], 4)
    assert p_value(law, list(map(tuple, course.reached.tolist()))) > SURE
    sure = independent_cascade(Graph.of(list(TREE)), chance=1.0).simulate({"spreader": [3]}, 5)
    assert sure.reached.tolist() == [[2, 3, 1, 0, 2]]
    assert set(map(tuple, sure.states.tolist())) == {(2, 2, 2, 2, 2)}


@pytest.mark.parametrize("edges", [DIRECTED, WEIGHTED, TREE], ids=["directed", "weighted", "tree"])
def test_thresholds_by_their_live_edges(edges):
    n = 1 + max(max(edge) for edge in edges)
    spread = linear_threshold(graph_of(edges, n))
    for steps in (1, 2, 6):
        course = spread.simulate({"spreader": [1]}, steps, replicates=12_000, seed=steps)
        assert p_value(thresholds(n, edges, [1], steps), list(map(tuple, course.reached.tolist()))) > SURE


def test_thresholds_of_a_graph_that_changes():
    a, b = Graph.of([(0, 1)], directed=True, nodes=range(3)), Graph.of([(1, 2), (0, 2)], directed=True)
    course = linear_threshold(ChangingGraph([(0, a), (1, b)])).simulate({"spreader": [0]}, 2, replicates=50)
    assert course.reached.tolist() == [[0, 1, 2]] * 50


def test_who_has_pressed_does_not_press_twice_when_the_graph_changes():
    """One of two friends has joined, in one graph and in the same one after it: half of all thresholds are below."""
    same = [Graph.of([(0, 2), (1, 2)], directed=True) for _ in range(3)]
    course = linear_threshold(ChangingGraph(list(enumerate(same)))).simulate({"spreader": [0]}, 3, replicates=4000)
    assert abs(float((course.reached[:, 2] >= 0).double().mean()) - 0.5) < 4 * 0.5 / 4000**0.5


# ---- replicates


def contacts(n: int = 60, degree: int = 6) -> Graph:
    return Graph.of(nx.random_regular_graph(degree, n, seed=1))


def test_replicates_are_independent():
    course = spread_of("SIR", SIR, graph_of(WEIGHTED, 3)).simulate({"I": [0]}, 2, replicates=12_000)
    sizes = course["S"][:, -1].view(-1, 2)
    table = np.zeros((3, 3))
    np.add.at(table, tuple(sizes.T.numpy()), 1)
    assert chi2_contingency(table[table.sum(1) > 0]).pvalue > SURE


def test_portions_follow_the_same_law(monkeypatch):
    monkeypatch.setattr(replicates, "PORTION", 3 * 700)
    names, transitions, edges, begun, steps = CASES["SEIR on a triangle"]
    seen = ran(spread_of(names, transitions, graph_of(edges, 3)), begun, steps, 12_000)
    assert p_value(chain(names, transitions, lambda t: edges, begun, steps), seen) > SURE


def test_one_by_one_follows_the_same_law():
    spread = spread_of("SIR", SIR, graph_of(TRIANGLE, 3))
    seen = [ran(spread, "ISS", 2, 1, seed=seed)[0] for seed in range(400)]
    assert p_value(chain("SIR", SIR, lambda t: TRIANGLE, "ISS", 2), seen) > SURE


@pytest.mark.parametrize("make", [lambda g: spread_of("SIR", SIR, g, r0=0.1), linear_threshold], ids=["SIR", "LT"])
def test_a_seed_gives_the_same_course_and_its_frames(make, monkeypatch):
    monkeypatch.setattr(replicates, "PORTION", 60 * 4)
    spread, begun = make(contacts()), [0, 1, 2]
    name = spread.compartments.names[1]
    before = torch.random.get_rng_state()
    course, same = (spread.simulate({name: begun}, 12, replicates=10, seed=5) for _ in range(2))
    assert torch.equal(course.reached, same.reached) and torch.equal(course.counts, same.counts)
    assert not torch.equal(course.reached, spread.simulate({name: begun}, 12, replicates=10, seed=6).reached)
    assert len({tuple(row) for row in course.reached.tolist()}) > 5, "portions have their own draws"
    for replicate in (0, 3, 4, 9):
        frames = course.frames(range(13), replicate=replicate)
        assert torch.equal(frames[-1], course.states[replicate])
        counts = torch.stack([torch.bincount(frame, minlength=spread.compartments.size) for frame in frames])
        assert torch.equal(counts, course.counts[replicate])
        left = torch.where((frames != 0).any(0), (frames != 0).int().argmax(0), -1)
        assert torch.equal(left, course.reached[replicate].long())
    assert torch.equal(course.frames([12, 0])[1].nonzero()[:, 0], torch.tensor(begun))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_everyone_with_everyone_is_the_population():
    n, steps, model = 50, 15, Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
    rates = {"beta": 0.9, "gamma": 0.3}
    graph = Graph.of(nx.complete_graph(n)).scaled(1 / n)
    on_graph = GraphSpread(model, graph, rates).simulate({"I": range(5)}, steps, replicates=2_000)
    chain = binomial_chain(model, rates, model.state(S=n - 5, I=5), range(steps + 1), replicates=2_000, seed=1)
    a, b = on_graph.counts.double(), chain.heads.reshape(2_000, steps + 1, 3)
    error = ((a.var(0) + b.var(0)) / 2_000).sqrt().clamp(min=1e-9)
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error + 1e-9).all()
    assert ((a.std(0) / b.std(0))[1:].log().abs() < 0.1).all()


def test_a_course_can_be_gone_on_with():
    spread = spread_of("SIR", SIR, graph_of(TRIANGLE, 3))
    middle = spread.simulate({"I": [0]}, 1, replicates=12_000)
    end = spread.simulate(middle.states, 2, replicates=12_000, seed=1)
    law = {}
    for (states, _), mass in chain("SIR", SIR, lambda t: TRIANGLE, "ISS", 3).items():
        law[states] = law.get(states, 0.0) + mass
    assert p_value(law, ["".join("SIR"[k] for k in row) for row in end.states.tolist()]) > SURE


READY = {
    "si": (si(), {"beta": 0.5}, {"I": [0]}),
    "sis": (sis(), {"beta": 0.5, "gamma": 0.1}, {"I": [0]}),
    "sir": (sir(), {"beta": 0.5, "gamma": 0.1}, {"I": [0]}),
    "seir": (seir(), {"beta": 0.5, "sigma": 0.3, "gamma": 0.1}, {"E": [0]}),
    "sirs": (sirs(), {"beta": 0.5, "gamma": 0.1, "xi": 0.2}, {"I": [0]}),
    "maki_thompson": (maki_thompson(), {"beta": 0.5, "gamma": 0.3}, {"spreader": [0]}),
    "bass": (bass(), {"p": 0.05, "q": 0.3}, {}),
}


@pytest.mark.parametrize("name", READY)
def test_ready_models_run_on_a_graph(name):
    model, rates, start = READY[name]
    counts = GraphSpread(model, Graph.of(nx.karate_club_graph()), rates).simulate(start, 30, replicates=100).counts
    assert (counts.sum(-1) == 34).all() and (counts >= 0).all()
    assert (counts[:, -1, 0] < 30).double().mean() > 0.7, "most catch on"


def test_two_who_meet_do_not_move_at_once_on_a_graph():
    with pytest.raises(ValueError, match="moves pairs, which a graph can't"):
        GraphSpread(daley_kendall(), Graph.of([(0, 1)]), {"beta": 1, "gamma": 1})


def test_who_was_reached_by_label():
    graph = Graph.of([("ann", "bob"), ("bob", "cy")])
    course = spread_of("SI", SI, graph, r0=1e3).simulate({"I": ["cy"]}, 1)
    assert [course.nodes[v] for v in (course.reached[0] == 1).nonzero()[:, 0]] == ["bob"]
    assert course["I"].tolist() == [[1, 2]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    names, transitions, edges, begun, steps = CASES["two ways out of S"]
    spread = spread_of(names, transitions, graph_of(edges, 3).to("cuda"))
    assert p_value(chain(names, transitions, lambda t: edges, begun, steps), ran(spread, begun, steps, 12_000)) > SURE


# ---- what was given

GIVEN = {
    "nobody": (lambda s: s.simulate({"R": [1]}, 3), "nobody begins in I"),
    "no one at all": (lambda s: s.simulate({}, 3), "nobody begins in I"),
    "an unknown node": (lambda s: s.simulate({"I": [7]}, 3), "no node 7"),
    "an unknown compartment": (lambda s: s.simulate({"J": [1]}, 3), "no compartment 'J'"),
    "a node twice": (lambda s: s.simulate({"I": [1], "R": [0, 1]}, 3), "node 1 begins in R and in another"),
    "half a step": (lambda s: s.simulate({"I": [1]}, 2.5), "steps are whole"),
    "half a state": (lambda s: s.simulate(torch.tensor([0.5, 1, 0]), 1), "whole numbers, 0 to 2"),
    "one label": (lambda s: s.simulate({"I": "ann"}, 3), "as a list"),
    "a number of steps": (lambda s: s.simulate({"I": [1]}, -1), "steps are whole, 0 or more"),
    "no replicates": (lambda s: s.simulate({"I": [1]}, 1, replicates=0), "replicates 1 or more"),
    "states of another shape": (lambda s: s.simulate(torch.ones(4), 1), r"\[3\] or \[1, 3\], not \[4\]"),
    "states that aren't": (lambda s: s.simulate(torch.tensor([0, 1, 9]), 1), "0 to 2"),
    "a frame": (lambda s: s.simulate({"I": [1]}, 2).frames([3]), "0 to 2 were run, not 3"),
    "a replicate": (lambda s: s.simulate({"I": [1]}, 2).frames([1], replicate=4), "0 to 0 were run, not 4"),
    "a negative rate": (
        lambda s: GraphSpread(s.compartments, s.graph, {"r0": -1, "r1": 1}),
        "rate 'r0' .* there is -1",
    ),
    "negative rates": (
        lambda s: GraphSpread(s.compartments, s.graph, {"r0": torch.tensor([1.0, -2.0]), "r1": 1}),
        "the rate 'r0' .* there is -2",
    ),
    "a negative rate that is differentiated": (
        lambda s: GraphSpread(s.compartments, s.graph, {"r0": torch.tensor(-2.0, requires_grad=True), "r1": 1}),
        "'r0' must be a number from 0 on, not -2",
    ),
    "a rate that becomes negative": (
        lambda s: spread_of("SIR", SIR, s.graph, r0=lambda t: 0.5 - t).simulate({"I": [1]}, 3),
        "the rate 'r0' at time 1 .* there is -0.5",
    ),
    "rates of other replicates": (
        lambda s: spread_of("SIR", SIR, s.graph, r0=torch.ones(3)).simulate({"I": [1]}, 1, replicates=2),
        "rates of 3 replicates, and not of 2",
    ),
    "a missing rate": (lambda s: GraphSpread(s.compartments, s.graph, {"r0": 1}), "'r1' is missing"),
    "a step": (lambda s: GraphSpread(s.compartments, s.graph, s.rates, step=0), "a step is a time above 0"),
    "births": (
        lambda s: GraphSpread(Compartments("S", [Transition(None, "S", "mu")]), s.graph, {"mu": 1}),
        "birth -> S on a graph",
    ),
    "pairs": (
        lambda s: GraphSpread(Compartments("IR", [Transition("I", "R", "a", "I", True)]), s.graph, {"a": 1}),
        "moves pairs",
    ),
    "groups": (
        lambda s: GraphSpread(Compartments("SI", [Transition("S", "I", "a")], groups=["x", "y"]), s.graph, {"a": 1}),
        "without groups",
    ),
    "no chances": (lambda s: independent_cascade(Graph.of([(0, 1)])), "give chance="),
    "a chance": (lambda s: independent_cascade(s.graph, chance=1.5), "from 0 to 1, not 1.5"),
    "a weight as chance": (lambda s: independent_cascade(s.graph), "not its weight 2"),
}


@pytest.mark.parametrize("what", GIVEN)
def test_what_is_wrong_is_said(what):
    do, message = GIVEN[what]
    with pytest.raises(ValueError, match=message):
        do(spread_of("SIR", SIR, graph_of(WEIGHTED, 3)))


OTHER_THINGS = {
    "edges": (lambda s: GraphSpread(s.compartments, [(0, 1)], s.rates), "is a list: give Graph.of"),
    "networkx": (lambda s: GraphSpread(s.compartments, nx.path_graph(3), s.rates), "a networkx Graph: give Graph.of"),
    "a cascade": (lambda s: independent_cascade(nx.path_graph(3), chance=0.5), "a networkx Graph: give Graph.of"),
    "thresholds": (lambda s: linear_threshold(nx.path_graph(3)), "a networkx Graph: give Graph.of"),
    "letters": (lambda s: GraphSpread("SIR", s.graph, s.rates), "is of Compartments, .* not of 'SIR'"),
    "rates without names": (lambda s: GraphSpread(s.compartments, s.graph, [1, 1]), "by name, .* not by a list"),
    "a rate in words": (lambda s: GraphSpread(s.compartments, s.graph, {"r0": "high", "r1": 1}), "not 'high'"),
    "a start without compartments": (lambda s: s.simulate([1], 1), "a start is .*, not a list"),
}


@pytest.mark.parametrize("what", OTHER_THINGS)
def test_another_thing_than_is_meant_is_said(what):
    do, message = OTHER_THINGS[what]
    with pytest.raises(TypeError, match=message):
        do(spread_of("SIR", SIR, graph_of(WEIGHTED, 3)))


def test_a_node_that_will_infect_begins_it():
    course = spread_of("SEIR", SEIR, graph_of(PATH, 3)).simulate({"E": [0]}, 40, replicates=200)
    assert course["R"][:, -1].double().mean() > 1.2


def test_the_exact_laws_add_up():
    for names, transitions, edges, begun, steps in itertools.islice(CASES.values(), 5):
        assert math.isclose(sum(chain(names, transitions, lambda t, e=edges: e, begun, steps).values()), 1.0)
