"""The best nodes to begin with, or to vaccinate: against all choices on tiny graphs, and samples one by one."""

from __future__ import annotations

import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.spread.choice import best
from inference.spread.dominators import dominated, dominators, levels
from inference.spread.live_draws import uniform
from inference.spread.live_edges import NEVER, Live
from inference.spread.live_runs import forward
from inference.spread.outcome import outcome
from inference.spread.reverse_reach import ROOT, certified, greedy, reverse_reach
from inference.spread.runs import Begun
from inference.spread.sampled_runs import SampledRuns
from inference.spread.timed_runs import TimedRuns
from tests.inference.spread_enumeration import cascade_reach, mean, outcomes
from zoo.spread.compartments import Compartments, Transition
from zoo.spread.graph import Graph
from zoo.spread.on_graph import GraphSpread
from zoo.spread.rumours import independent_cascade, linear_threshold

SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
SIS = Compartments("SI", [Transition("S", "I", "beta", by="I"), Transition("I", "S", "gamma")])
SEIR = Compartments(
    "SEIR", [Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")]
)
KARATE = Graph.of(nx.karate_club_graph(), weights="weight")
FRACTION = 1 - np.exp(-1)


def some_cascade(seed: int, n: int = 5, edges: int = 8) -> tuple[GraphSpread, dict[tuple[int, int], float]]:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation([(a, b) for a in range(n) for b in range(n) if a != b])[:edges]
    chances = {(int(a), int(b)): float(p) for (a, b), p in zip(pairs, rng.uniform(0.1, 0.9, edges), strict=True)}
    graph = Graph.of(list(chances), weights=list(chances.values()), directed=True, nodes=range(n))
    return independent_cascade(graph), chances


# ---- seeds


@pytest.mark.parametrize("seed", range(4))
def test_seeds_against_all_choices(seed: int) -> None:
    """Values, gains and the promise of an independent cascade, whose reach is enumerated."""
    cascade, chances = some_cascade(seed)
    choice = best(cascade, 2, samples=4000, seed=seed)
    value = cascade_reach(5, chances, choice.nodes)
    every = {pair: cascade_reach(5, chances, pair) for pair in itertools.combinations(range(5), 2)}
    most = max(every.values())
    assert abs(choice.value - value) < 4 * choice.error
    assert value >= FRACTION * most
    assert choice.certified is not None and choice.certified <= value / most
    assert choice.gains[0] == pytest.approx(cascade_reach(5, chances, choice.nodes[:1]), abs=4 * choice.errors[0])
    assert choice.gains.sum() == pytest.approx(choice.value)
    alone = max(range(5), key=lambda v: cascade_reach(5, chances, [v]))
    near = cascade_reach(5, chances, [alone]) - cascade_reach(5, chances, choice.nodes[:1])
    assert near < 4 * choice.errors[0]  # the first is the best single one, or as good but for sampling
    random = choice.others["at random"]
    assert abs(random[0] - np.mean(list(every.values()))) < 4 * random[1] + 0.3


def test_two_stars_have_two_centres() -> None:
    stars = nx.disjoint_union(nx.star_graph(6), nx.star_graph(4))
    choice = best(independent_cascade(Graph.of(stars), chance=0.5), 2, samples=2000)
    assert choice.nodes == (0, 7)
    assert "63 %" in choice.guarantee and "99 % confidence" in choice.guarantee
    assert choice.to_frame().columns.tolist() == ["node", "gain", "error"]
    assert choice.value > choice.others["at random"][0]


@pytest.mark.parametrize("until", [NEVER - 1, 4])
@pytest.mark.parametrize("model", [SIR, SEIR], ids=["SIR", "SEIR"])
def test_sets_hold_who_reaches_a_node_in_the_same_run(model: Compartments, until: int) -> None:
    """Backwards and forwards on the same draws: node by node the same."""
    rates = {"beta": 0.1, "gamma": 0.4, "sigma": 0.6}
    spread = GraphSpread(model, KARATE, {name: rates[name] for name in model.parameters})
    live = Live.of(spread, 5)
    assert live is not None
    sets = reverse_reach(live, 100, 10, until)
    roots = (uniform(5, ROOT, torch.arange(100, 110), torch.zeros(10, dtype=torch.long)) * KARATE.n).long()
    begun = torch.eye(KARATE.n, dtype=torch.uint8) * live.chain[live.passing]
    for row, root in enumerate(roots.tolist()):
        times = forward(live, begun, torch.full((KARATE.n,), 100 + row), until=until)
        there = (times[:, root] < NEVER).nonzero()[:, 0].tolist()
        assert there == sets.nodes[sets.rows == row].sort().values.tolist()
    assert KARATE.n * 10 > len(sets.rows) > 20


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_met_is_submodular(data: Any) -> None:
    """On shared samples a node adds no less to a part of a choice than to the whole."""
    cascade, _ = some_cascade(data.draw(st.integers(0, 50)), n=6, edges=12)
    live = Live.of(cascade, 1)
    assert live is not None
    sets = reverse_reach(live, 0, 60)
    order = data.draw(st.permutations(range(6)))
    small, large = sorted(data.draw(st.lists(st.integers(0, 5), min_size=2, max_size=2)))

    def met(nodes: list[int]) -> int:
        return int((sets.met(nodes) < len(nodes)).sum())

    few, many, more = order[:small], order[:large], order[5]
    assert met([*few, more]) - met(few) >= met([*many, more]) - met(many) >= 0
    assert met([*few, more]) == len({int(r) for r, v in zip(sets.rows, sets.nodes, strict=True) if v in [*few, more]})


def test_greedy_meets_what_it_says_and_bounds_all_choices() -> None:
    cascade, _ = some_cascade(3, n=8, edges=20)
    live = Live.of(cascade, 2)
    assert live is not None
    sets = reverse_reach(live, 0, 300)
    chosen, most = greedy(sets, 3)
    met = {pick: int((sets.met(list(pick)) < 3).sum()) for pick in itertools.combinations(range(8), 3)}
    mine = met[tuple(sorted(chosen))]
    assert mine >= FRACTION * max(met.values())
    assert max(met.values()) <= most <= mine / FRACTION + 1e-9
    singles = torch.bincount(sets.nodes, minlength=8)
    assert singles[chosen[0]] == singles.max()
    assert 0 < certified(most, 300, mine, 300) < mine / most
    assert certified(100 * most, 30_000, 100 * mine, 30_000) > certified(most, 300, mine, 300)


def test_thresholds_pick_live_edges() -> None:
    """Two in-edges of weight a half each: the second neighbour always convinces, the first with one chance in two."""
    spread = linear_threshold(Graph.of([(0, 2), (1, 2), (2, 3)], directed=True))
    one = outcome(spread, "total", {"spreader": [0]}, draws=4000)["total"].values
    assert abs(one[0] - 2.0) < 4 * one[2]  # itself, and two more half of the time
    assert outcome(spread, "total", {"spreader": [0, 1]}, draws=50)["total"].values[:2].tolist() == [4.0, 0.0]
    choice = best(spread, 2, samples=2000)
    assert set(choice.nodes) == {0, 1}
    assert choice.value == 4
    course = linear_threshold(KARATE).simulate({"spreader": [0, 33]}, 40, replicates=1000)
    found = outcome(linear_threshold(KARATE), "total", {"spreader": [0, 33]})["total"].values
    theirs = (course.reached >= 0).sum(1).double()
    assert abs(found[0] - float(theirs.mean())) < 4 * np.hypot(found[2], float(theirs.std()) / 1000**0.5)


# ---- vaccination


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 12), density=st.floats(0.05, 0.6))
def test_dominators_are_those_of_networkx(seed: int, n: int, density: float) -> None:
    graph = nx.gnp_random_graph(n, density, seed=seed, directed=True)
    edges = torch.tensor(list(graph.edges), dtype=torch.long).reshape(-1, 2).T
    begun = torch.tensor([0, n // 2]).unique()
    level = levels(edges[0], edges[1], begun, n)
    above = dominators(edges[0], edges[1], level)
    graph.add_edges_from((n, int(v)) for v in begun)
    truth = nx.immediate_dominators(graph, n)
    assert {v for v in range(n) if level[v]} == set(truth) - {n}
    assert all(int(above[v]) == truth[v] for v in truth if v != n)
    there = nx.descendants(graph, n)
    for v in range(n):
        left = graph.subgraph(set(graph) - {v})
        assert int(dominated(above, level)[v]) == len(there) - len(nx.descendants(left, n))


def test_sampled_runs_are_the_runs_of_outcomes() -> None:
    """What is reached without some nodes, run by run, as an outcome has it where they are vaccinated."""
    spread = GraphSpread(SIR, KARATE, {"beta": 0.08, "gamma": 0.5})
    live, begun = Live.of(spread, 4), Begun.of(spread, {"I": 2})
    assert live is not None
    runs = SampledRuns.of(live, begun, 10, 30)
    closed = torch.zeros(KARATE.n, dtype=torch.bool)
    closed[[0, 33]] = True
    numbers = torch.arange(10, 40)
    start = torch.where(closed, 0, begun.drawn(4, numbers))
    assert (runs.reached([0, 33]) == (forward(live, start, numbers, closed=closed) < NEVER).sum(1)).all()
    lost = runs.lost()
    for node in (0, 2, 33):
        assert (lost[:, node] == runs.reached() - runs.reached([node])).all()


def test_vaccinated_one_by_one_are_the_best_at_each_step() -> None:
    spread = GraphSpread(SIR, KARATE, {"beta": 0.08, "gamma": 0.5})
    live, begun = Live.of(spread, 0), Begun.of(spread, {"I": [5]})
    assert live is not None
    runs = SampledRuns.of(live, begun, 0, 40)
    chosen = runs.greedy(3, begun.places == 0)
    for count in range(3):
        left = {
            v: int(runs.reached([*chosen[:count], v]).sum()) for v in range(KARATE.n) if v not in (5, *chosen[:count])
        }
        assert left[chosen[count]] == min(left.values())


def test_whom_to_vaccinate_on_a_tree() -> None:
    """On a tree what is saved is submodular, the guarantee holds, and what is saved is known."""
    tree = Graph.of([(0, 1), (1, 2), (1, 3), (0, 4), (4, 5), (0, 6)])
    spread = independent_cascade(tree, chance=0.5)
    choice = best(spread, 2, "vaccinate", given={"spreader": [0]}, samples=2000)
    assert choice.nodes == (1, 4)
    assert choice.gains == pytest.approx([1.0, 0.75], abs=0.12)
    assert choice.value == pytest.approx(1.75, abs=4 * choice.error)
    assert "63 %" in choice.guarantee
    assert best(spread, 1, "vaccinate", given={"spreader": 1}, samples=20).guarantee == choice.guarantee
    assert best(spread, 1, "vaccinate", given={"spreader": [0, 5]}, samples=20).guarantee.startswith("none")
    saved = outcome(spread, "saved", {"spreader": [0]}, {"vaccinate": choice.nodes})["saved"].values
    assert abs(saved[0] - choice.value) < 4 * np.hypot(saved[2], choice.error)


def test_two_ways_are_closed_together_or_not_at_all() -> None:
    """No guarantee where it can't be: neither of two ways to a crowd is worth closing by itself."""
    crowd = [(3, k) for k in range(4, 9)]
    graph = Graph.of([(0, 1), (0, 2), (1, 3), (2, 3), *crowd])
    choice = best(independent_cascade(graph, chance=1.0), 1, "vaccinate", given={"spreader": [0]}, samples=5)
    assert choice.nodes == (3,) and choice.value == 6
    assert choice.guarantee.startswith("none") and choice.certified is None
    spread = independent_cascade(graph.without_edges([(0, 1)]), chance=1.0)
    runs = SampledRuns.of(Live.of(spread, 0), Begun.of(spread, {"spreader": [0]}), 0, 2)
    assert runs.reached([2]).tolist() == [1, 1]
    both = SampledRuns.of(Live.of(independent_cascade(graph, chance=1.0), 0), Begun.of(spread, {"spreader": [0]}), 0, 1)
    alone = [9 - int(both.reached([v])) for v in (1, 2)]
    assert alone == [1, 1] and 9 - int(both.reached([1, 2])) == 8  # more than the sum: not submodular


# ---- vaccinated, and followed to a step


@pytest.mark.parametrize("model", [SIR, SEIR], ids=["SIR", "SEIR"])
def test_timed_runs_are_the_runs_of_outcomes(model: Compartments) -> None:
    """Who is reached by a step without some nodes, run by run, as an outcome has it; no other node saves more."""
    rates = {"beta": 0.1, "gamma": 0.4, "sigma": 0.7}
    spread = GraphSpread(model, KARATE, {name: rates[name] for name in model.parameters})
    live, begun = Live.of(spread, 3), Begun.of(spread, {"I": [16, 33], "steps": 5})
    assert live is not None
    runs, numbers = TimedRuns.of(live, begun, 7, 30), torch.arange(7, 37)
    for gone in ([], [0, 33], [5]):
        closed = torch.zeros(KARATE.n, dtype=torch.bool)
        closed[gone] = True
        start = torch.where(closed, 0, begun.drawn(3, numbers))
        time = forward(live, start, numbers, closed=closed, until=5)
        assert (runs.reached(gone) == (time < NEVER).sum(1)).all()
        time = torch.where(time < NEVER, time, 6)
        assert torch.equal(runs.without(gone).times(), time.flatten())
    free = torch.ones(KARATE.n, dtype=torch.bool)
    free[[16, 33]] = False
    chosen = runs.greedy(4, free)
    for count in range(4):
        able = [v for v in range(KARATE.n) if v not in (16, 33, *chosen[:count])]
        left = {v: int(runs.reached([*chosen[:count], v]).sum()) for v in able}
        assert left[chosen[count]] == min(left.values())


def test_whom_to_vaccinate_by_a_step_against_all_choices() -> None:
    """What two nodes save within three steps, by enumeration of all courses."""
    graph = Graph.of([(0, 1), (1, 2), (0, 3), (3, 4), (2, 4), (2, 5)], weights=[1.0, 0.5, 2.0, 1.0, 0.3, 1.5])
    spread = GraphSpread(SIR, graph, {"beta": 0.4, "gamma": 0.3})

    def reach(gone: tuple[int, ...]) -> float:
        return mean(outcomes(spread, {"I": [0]}, 3, closed=gone), lambda *what: len(what[3]))

    saved = {pair: reach(()) - reach(pair) for pair in itertools.combinations(range(1, 6), 2)}
    choice = best(spread, 2, "vaccinate", given={"I": [0], "steps": 3}, samples=3000)
    value = saved[tuple(sorted(choice.nodes))]
    assert abs(choice.value - value) < 4 * choice.error
    assert choice.gains[0] == pytest.approx(reach(()) - reach(choice.nodes[:1]), abs=4 * choice.errors[0])
    assert value > max(saved.values()) - 2 * choice.error
    random = choice.others["at random"]
    assert abs(random[0] - np.mean(list(saved.values()))) < 4 * random[1] + 0.1
    assert choice.guarantee.startswith("none")


@pytest.mark.parametrize("until", [{}, {"steps": 60}], ids=["ever", "by a step"])
def test_those_whom_chance_drew_to_begin_are_not_chosen(until: dict[str, int]) -> None:
    """In a ring a node saves itself, and the one with a tail the tail, too; not to begin would save all, once in 42."""
    ring = Graph.of([*((k, (k + 1) % 40) for k in range(40)), (0, 40), (40, 41)])
    spread = independent_cascade(ring, chance=1.0)
    assert best(spread, 1, "vaccinate", given={"spreader": 1, **until}, samples=5, seed=3).nodes == (0,)


def test_a_way_round_comes_too_late() -> None:
    """A node with a way round it saves those behind it by a step, and nobody in the end."""
    ring = Graph.of([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (2, 6), (2, 7)])
    spread = independent_cascade(ring, chance=1.0)
    early, late = (
        best(spread, 1, "vaccinate", given={"spreader": [0], **given_}, samples=2) for given_ in ({"steps": 3}, {})
    )
    assert early.nodes == (1,) and early.value == 5 - 1  # 1, 2, 6 and 7, of whom the way round reaches 2 at step 4
    assert late.nodes == (2,) and late.value == 3


# ---- what is asked wrong

WRONG = [
    ({"k": 0}, "from 1 to 34.*not 0"),
    ({"k": 35}, "from 1 to 34.*not 35"),
    ({"k": 34, "do": "vaccinate"}, "from 1 to 33"),
    ({"do": "vacinate"}, "near: vaccinate"),
    ({"given": {"I": [0]}}, "who begin it are to be chosen"),
    ({"do": "vaccinate", "given": {}}, "nobody begins it"),
    ({"do": "vaccinate", "given": {"I": [99]}}, "no node 99"),
    ({"do": "vaccinate", "given": {"I": [0], "steps": -3}}, "steps are a whole number from 0 on"),
    ({"spread": GraphSpread(SIS, KARATE, {"beta": 0.1, "gamma": 0.2})}, "nobody comes back"),
    ({"samples": 1}, "samples are a whole number from 2 on, not 1"),
    ({"samples": 2.5}, "samples are a whole number from 2 on, not 2.5"),
    ({"do": "vaccinate", "given": {"I": range(34)}}, "nobody left to choose: all 34 nodes begin it"),
]


@pytest.mark.parametrize(("asked", "words"), WRONG, ids=[words for _, words in WRONG])
def test_one_sentence_says_what_is_wrong(asked: dict[str, Any], words: str) -> None:
    spread = asked.get("spread", GraphSpread(SIR, KARATE, {"beta": 0.1, "gamma": 0.2}))
    start = {"I": [0]} if asked.get("do") == "vaccinate" else {}
    with pytest.raises(ValueError, match=words):
        best(
            spread,
            asked.get("k", 1),
            asked.get("do", "seed"),
            given=asked.get("given", start),
            samples=asked.get("samples", 5),
        )


def test_another_thing_than_is_meant_is_said() -> None:
    with pytest.raises(TypeError, match="for a spread on a graph, not for a Graph"):
        best(KARATE, 1)
    with pytest.raises(TypeError, match=r"who begins it, .* is no list"):
        best(GraphSpread(SIR, KARATE, {"beta": 0.1, "gamma": 0.2}), 1, "vaccinate", given=[0])


def test_a_way_round_that_is_in_time_saves_nobody() -> None:
    """All shortest ways to seven lead through 1, but another is in time: 5, with two behind it, saves more."""
    graph = Graph.of([(0, 1), (1, 2), *((2, k) for k in range(8, 13)), (0, 3), (3, 4), (4, 2), (0, 5), (5, 6), (5, 7)])
    spread = independent_cascade(graph, chance=1.0)
    live, begun = Live.of(spread, 0), Begun.of(spread, {"spreader": [0], "steps": 6})
    assert live is not None
    free = torch.ones(13, dtype=torch.bool)
    free[[0, 2]] = False
    assert TimedRuns.of(live, begun, 0, 2).greedy(1, free) == [5]


def test_who_comes_too_late_without_the_first_is_not_saved_again_by_the_second() -> None:
    """Without 1 the way over 3, 4 and 5 comes a step too late to the crowd: 3 saves 3, and 6 saves 4."""
    crowd = [edge for v in range(10, 15) for edge in ((1, v), (5, v))]
    graph = Graph.of([(0, 1), (1, 5), *crowd, (0, 3), (3, 4), (4, 5), (0, 6), (6, 7), (6, 8), (6, 9)])
    spread = independent_cascade(graph, chance=1.0)
    choice = best(spread, 2, "vaccinate", given={"spreader": [0], "steps": 3}, samples=2)
    assert choice.nodes == (1, 6) and choice.gains.tolist() == [6.0, 4.0]
