"""Who began a spread: against every path of the Markov chain on small graphs, and true in the long run."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch

from inference.query import query
from inference.spread import source as whole
from inference.spread.annealing import Population
from inference.spread.law import IMPOSSIBLE
from inference.spread.snapshot import Snapshot
from zoo.spread import Graph
from zoo.spread.on_graph import GraphSpread
from zoo.spread.ready import seir, si, sir
from zoo.spread.rumours import independent_cascade, linear_threshold

EVEN = 3
"""Its place in the arrays of a law."""
KITE = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]


def spread_of(kind, edges, **options):
    graph = Graph.of(edges, **options)
    if kind == "cascade":
        return independent_cascade(graph, chance=0.35)
    if kind == "SIR":
        return GraphSpread(sir(), graph, {"beta": 0.5, "gamma": 0.3})
    return GraphSpread(si(), graph, {"beta": 0.5}, step=0.7)


def enumerated(kind, edges, seen, step, weights=None, directed=False):
    """P(source | each node's state at the step is one of seen[node]), step by step over all joint states."""
    nodes = list(dict.fromkeys(node for edge in edges for node in edge))
    rate, removal = {"SI": (0.35, 0.0), "SIR": (0.5, -math.expm1(-0.3)), "cascade": (-math.log(0.65), 1.0)}[kind]
    arcs = {}
    for (a, b), weight in zip(edges, weights or [1.0] * len(edges), strict=True):
        arcs[a, b] = weight
        if not directed:
            arcs[b, a] = weight
    states = list(itertools.product(range(3), repeat=len(nodes)))
    move = np.ones((len(states), len(states)))
    for i, now in enumerate(states):
        for n, node in enumerate(nodes):
            hazard = sum(w for (a, b), w in arcs.items() if b == node and now[nodes.index(a)] == 1) * rate
            rows = {
                0: (math.exp(-hazard), -math.expm1(-hazard), 0),
                1: (0, 1 - removal, removal),
                2: (0, 0, 1),
            }
            move[i] *= [rows[now[n]][then[n]] for then in states]
    ends = np.array([all(state[nodes.index(k)] in could for k, could in seen.items()) for state in states], dtype=float)
    after = np.linalg.matrix_power(move, step) @ ends
    begun = [states.index(tuple(int(n == s) for n in range(len(nodes)))) for s in range(len(nodes))]
    return nodes, after[begun] / len(nodes)


def share(spread, given, nodes, **options):
    answer = query(spread, "source", given=given, **options)
    return answer, [float(answer["source"].sel(source=node)) for node in nodes]


CASES = [
    ("SI", {"I": ["a", "b", "c"], "step": 3}, {"a": [1], "b": [1], "c": [1], "d": [0]}),
    ("SI", {"infected": ["a", "d"], "seen": ["a", "d", "b"], "step": 4}, {"a": [1], "d": [1], "b": [0]}),
    ("SIR", {"I": ["a", "c"], "R": ["b"], "step": 3}, {"a": [1], "b": [2], "c": [1], "d": [0]}),
    ("SIR", {"infected": ["a", "d"], "R": ["d"], "seen": ["d", "a"], "step": 3}, {"a": [1, 2], "d": [2]}),
    ("cascade", {"spreader": ["d"], "stifler": ["c", "a"], "step": 2}, {"a": [2], "b": [0], "c": [2], "d": [1]}),
]


@pytest.mark.parametrize(("kind", "given", "seen"), CASES)
def test_all_histories_summed_are_the_chain_of_joint_states(kind, given, seen):
    nodes, joint = enumerated(kind, KITE, seen, given["step"])
    answer, found = share(spread_of(kind, KITE), given, nodes)
    assert answer.kind == "exact"
    np.testing.assert_allclose(found, joint / joint.sum(), atol=1e-9)
    assert answer.log_evidence == pytest.approx(math.log(joint.sum()), abs=1e-8)


def test_weights_and_directions_count():
    weights, seen = [0.4, 2.0, 1.0, 0.7], {"a": [1], "b": [1], "c": [1], "d": [1]}
    nodes, joint = enumerated("SI", KITE, seen, 4, weights, directed=True)
    spread = spread_of("SI", KITE, weights=weights, directed=True)
    _, found = share(spread, {"I": list("abcd"), "step": 4}, nodes)
    np.testing.assert_allclose(found, joint / joint.sum(), atol=1e-9)
    assert found[3] == 0  # nothing leads out of d


def test_a_step_that_is_not_known_is_summed_over():
    seen = {"a": [1], "b": [1], "c": [0], "d": [0]}
    by_step = {step: enumerated("SI", KITE, seen, step)[1] for step in (1, 4)}
    joint = 0.3 * by_step[1] + 0.7 * by_step[4]
    _, found = share(spread_of("SI", KITE), {"I": ["a", "b"], "step": {1: 3, 4: 7}}, "abcd")
    np.testing.assert_allclose(found, joint / joint.sum(), atol=1e-9)


@pytest.mark.parametrize(("kind", "given", "seen"), CASES)
def test_chains_agree_with_enumeration(kind, given, seen, monkeypatch):
    monkeypatch.setattr(whole, "FEW", 0)
    monkeypatch.setattr(whole, "AFTER", 200)
    nodes, joint = enumerated(kind, KITE, seen, given["step"])
    answer, found = share(spread_of(kind, KITE), given, nodes)
    assert answer.kind == "estimate"
    np.testing.assert_allclose(found, joint / joint.sum(), atol=0.012)
    assert answer.log_evidence == pytest.approx(math.log(joint.sum()), abs=0.2)
    assert answer.reliability["error"] < 0.02  # two populations, each by itself


def test_chains_that_know_too_little_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    karate = GraphSpread(si(), Graph.of(nx.karate_club_graph()), {"beta": 0.1})
    given = {"infected": [0, 1, 2, 3, 7, 8, 13, 19, 30, 33], "step": 6}
    sure = query(karate, "source", given=given)
    assert sure.warnings == ()
    assert sure.reliability["error"] < whole.WIDE
    monkeypatch.setattr(whole, "CHAINS", 2)
    monkeypatch.setattr(whole, "AFTER", 1)
    few = query(karate, "source", given=given)
    error = few.reliability["error"]
    assert error > whole.WIDE
    told = f"two populations disagree on {error:.0%} of who began it: take the mean of several seeds"
    assert told in few.warnings
    trust = {"beginners_left": 1, "evidence_apart": 6.25, "error": 0.1}
    one, apart = whole._warnings(trust, 0.5)
    assert "descend from one beginner" in one
    assert "differ by 6.2 nats" in apart
    assert whole._warnings({**trust, "evidence_apart": 1.0}, 0.95) == ()


def test_the_two_laws_are_one():
    given = {"infected": [0, 1, 2, 33], "R": [0], "seen": [0, 1, 2, 33, 5, 6, 30], "step": {6: 0.5, 7: 0.5}}
    spread = GraphSpread(sir(), Graph.of(nx.karate_club_graph(), weights="weight"), {"beta": 0.1, "gamma": 0.2})
    _, law = Snapshot.of(spread, given).histories()
    population = Population(law, 64, 0)
    population.anneal(2)
    for _ in range(3):
        population.sweep()
    kept = population.hit.clone()
    nats = population.nats()
    torch.testing.assert_close(nats, law.log_prob(population.option, population.source))
    reached = (population.x > 0) & (population.x <= law.steps)
    torch.testing.assert_close(kept[reached], population.hit[reached])
    assert (nats > -1e5).all()


def test_one_pass_over_mutual_edges_draws_what_two_do():
    given = {"infected": list(range(9)), "seen": list(range(20)), "step": {4: 0.4, 5: 0.6}}
    spread = GraphSpread(si(), Graph.of(nx.karate_club_graph()), {"beta": 0.3})
    _, law = Snapshot.of(spread, given).histories()
    quick, plain = Population(law, 32, 0), Population(law, 32, 0)
    assert quick.arrays[EVEN]
    plain.arrays = (*plain.arrays[:EVEN], False, *plain.arrays[EVEN + 1 :])
    for population in (quick, plain):
        population.anneal(1)
        population.sweep()
    assert torch.equal(quick.option, plain.option)
    assert torch.equal(quick.source, plain.source)
    torch.testing.assert_close(quick.log_evidence, plain.log_evidence)
    torch.testing.assert_close(quick.nats(), law.log_prob(quick.option, quick.source))


def test_no_stray_is_left_at_the_end():
    tree = nx.balanced_tree(2, 3)
    given = {"infected": list(tree), "step": 6}
    _, law = Snapshot.of(GraphSpread(si(), Graph.of(tree), {"beta": 0.5}), given).histories()
    population = Population(law, 32, 0)
    population.anneal(2)
    assert (population.nats() > IMPOSSIBLE / 2).all()


def test_symmetric_nodes_are_alike():
    given = {"infected": list(range(6)), "step": 4}
    answer, found = share(spread_of("SI", list(nx.cycle_graph(6).edges)), given, range(6))
    np.testing.assert_allclose(found, np.full(6, 1 / 6), atol=1e-9 if answer.kind == "exact" else 0.06)


def test_the_centre_of_a_path_is_likeliest():
    _, found = share(spread_of("SI", [(0, 1), (1, 2)]), {"infected": [0, 1, 2], "step": 2}, range(3))
    assert found[1] > max(found[0], found[2])


@pytest.mark.slow
def test_probabilities_come_true():
    graph = Graph.of(nx.connected_watts_strogatz_graph(40, 6, 0.2, seed=1))
    spread = GraphSpread(si(), graph, {"beta": 0.12})
    random, told, true = np.random.default_rng(0), [], []
    while len(told) < 24:
        began = int(random.integers(40))
        reached = spread.simulate({"I": [began]}, 5, seed=int(random.integers(2**31))).states[0].nonzero()[:, 0]
        if not 4 <= len(reached) <= 15:
            continue
        found = query(spread, "source", given={"infected": reached.tolist(), "step": 5})["source"].to_numpy()
        told.append(found)
        true.append(np.eye(40)[began])
    p, hit = np.concatenate(told), np.concatenate(true)
    for low, high in ((0.02, 0.12), (0.12, 0.3), (0.3, 1.0)):
        inside = (p >= low) & (p < high)
        slack = 3 * math.sqrt((p[inside] * (1 - p[inside])).sum()) + 1
        assert abs(p[inside].sum() - hit[inside].sum()) < slack
    score = np.log(p[hit == 1]).mean()
    expected = np.mean([(q[q > 0] * np.log(q[q > 0])).sum() for q in told])
    assert abs(score - expected) < 0.4  # stated entropy is the entropy met


def test_the_same_seed_is_the_same_and_the_callers_numbers_are_left():
    spread = GraphSpread(si(), Graph.of(nx.karate_club_graph()), {"beta": 0.2})
    given = {"infected": list(range(12)), "step": 5}
    before = torch.get_rng_state()
    first = query(spread, "source", given=given, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first["source"], query(spread, "source", given=given, seed=3)["source"])


REFUSED = [
    ({"infected": ["a", "d"], "step": 3}, "no one node began it.*'a'.*'d'"),
    ({"infected": ["x"], "step": 3}, "no node 'x'"),
    ({"infected": [], "step": 3}, "nobody was reached"),
    ({"step": 3}, "nobody was reached"),
    ({"infected": ["a", "b"]}, "at which step"),
    ({"infected": ["a", "b"], "step": 2.5}, "whole number"),
    ({"infected": ["a", "b"], "step": {2: -1.0}}, "chance of step 2"),
    ({"infected": ["a", "b", "c", "d"], "step": 0}, "no node can have reached all 4 in 0 steps"),
    ({"infectd": ["a"], "step": 1}, "no 'infectd'; near: infected"),
    ({"infected": "ab", "step": 1}, "given as a list"),
    ({"I": ["a"], "S": ["a"], "step": 1}, "is in S and in I|is in I and in S"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_what_can_not_be_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        query(spread_of("SI", KITE), "source", given=given)


def test_disconnected_pieces_are_named():
    spread = spread_of("SI", [("a", "b"), ("c", "d")])
    with pytest.raises(ValueError, match=r"joins 'a' \(2 in all\) and 'c' \(1 in all\)"):
        query(spread, "source", given={"infected": ["a", "b", "c"], "step": 3})


def test_a_cascade_that_can_not_have_ended_so_is_refused():
    with pytest.raises(ValueError, match="no history of 3 steps"):
        query(spread_of("cascade", KITE), "source", given={"spreader": ["a"], "step": 3})


def test_spreads_of_other_kinds_are_refused():
    graph = Graph.of(KITE)
    with pytest.raises(ValueError, match="SI, SIR and cascades, not of S, E, I, R"):
        query(GraphSpread(seir(), graph, {"beta": 1, "sigma": 1, "gamma": 1}), "source", given={"I": ["a"], "step": 1})
    with pytest.raises(ValueError, match="LinearThreshold"):
        query(linear_threshold(graph), "source", given={"infected": ["a"], "step": 1})
    with pytest.raises(ValueError, match="leave it out"):
        query(spread_of("SI", KITE), "source", given={"infected": ["a"], "step": 1}, do={"cut": [("a", "b")]})
    with pytest.raises(ValueError, match="each target by itself"):
        query(spread_of("SI", KITE), ("source", "infected"), given={"infected": ["a"], "step": 1})
