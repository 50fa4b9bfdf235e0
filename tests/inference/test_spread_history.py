"""Histories by chains, held to the enumeration of all histories of small graphs, and to the truth of simulated ones."""

import importlib.util
import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pyro
import pytest
import torch

from inference.query import query
from inference.sampling.statistics import bulk_ess
from inference.spread import walks
from inference.spread.history import history
from inference.spread.moves import moves_of
from inference.spread.seen import seen_of
from inference.spread.walks import Walk
from zoo.spread import Compartments, Transition
from zoo.spread.graph import Graph
from zoo.spread.on_graph import GraphSpread

SI = Compartments("SI", [Transition("S", "I", "beta", by="I")])
SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
SEIR = Compartments(
    "SEIR", [Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")]
)
VACCINE = Compartments(
    "SIV", [Transition("S", "I", "beta", by="I"), Transition("S", "V", "nu"), Transition("I", "V", "gamma")]
)
RUMOUR = Compartments(
    ("ignorant", "spreader", "stifler"),
    [
        Transition("ignorant", "spreader", "beta", by="spreader"),
        Transition("spreader", "stifler", "alpha", by=("spreader", "stifler")),
    ],
)


def spread(compartments: Compartments, edges: list, weights=None, directed=False, step=1.0, **rates: float) -> Any:
    graph = Graph.of(edges, weights=weights, directed=directed, nodes=sorted({v for edge in edges for v in edge}))
    return GraphSpread(compartments, graph, rates, step=step)


Path = tuple[tuple[str, ...], ...]


def every_history(model: Any, start: list[dict[str, float]], steps: int) -> dict[Path, float]:
    """The probability of every history, a tuple of the states of all nodes at each step, one step after the other."""
    n = len(start)
    arcs = defaultdict(list)
    graph = model.graph
    weights = [1.0] * len(graph.indices) if graph.weights is None else graph.weights.tolist()
    for u in range(n):
        for place in range(int(graph.indptr[u]), int(graph.indptr[u + 1])):
            arcs[int(graph.indices[place])].append((u, weights[place]))

    def options(states: tuple[str, ...], v: int) -> dict[str, float]:
        hazards = {}
        for move in model.compartments.transitions:
            if move.source == states[v]:
                met = sum(w for u, w in arcs[v] if states[u] in move.by) if move.by else 1.0
                hazards[move.target] = hazards.get(move.target, 0) + model.rates[move.rate] * met * model.step
        total = sum(hazards.values())
        chances = {k: (1 - math.exp(-total)) * h / total for k, h in hazards.items() if h > 0}
        return {**chances, states[v]: math.exp(-total)}

    def products(parts: list[dict[str, float]]) -> Iterator[tuple[tuple[str, ...], float]]:
        for chosen in itertools.product(*(part.items() for part in parts)):
            yield tuple(k for k, _ in chosen), math.prod(p for _, p in chosen)

    found: dict[Path, float] = {(states,): p for states, p in products(start) if p > 0}
    for _ in range(steps):
        after: dict[Path, float] = {}
        for past, p in found.items():
            for states, q in products([options(past[-1], v) for v in range(n)]):
                after[(*past, states)] = p * q
        found = after
    return found


def seeds(model: Any, chance: float, at: str) -> list[dict[str, float]]:
    first = model.compartments.names[0]
    return [{first: 1 - chance, at: chance} for _ in range(model.graph.n)]


def came(past: Path, v: int, name: str) -> int:
    return next((t for t, states in enumerate(past) if states[v] == name), len(past))


def left(past: Path, v: int, name: str) -> int:
    return next((t for t, states in enumerate(past) if states[v] != name), len(past))


CYCLE = [(0, 1), (1, 2), (2, 3), (3, 0)]
CASES: dict[str, tuple[Any, dict[str, Any], Callable[[Path], bool], str, int]] = {
    "SI, one seen": (
        spread(SI, CYCLE, beta=0.5), {"reached": {2: 2}},
        lambda h: left(h, 2, "S") == 2, "I", 4,
    ),
    "SI, one never": (
        spread(SI, CYCLE, beta=0.5), {"reached": {2: None, 0: 3}},
        lambda h: left(h, 2, "S") == 5 and left(h, 0, "S") == 3, "I", 4,
    ),
    "SI, one looked at and not reached": (
        spread(SI, CYCLE, beta=0.5), {"infected": {2: 3}, "seen": [2, 0]},
        lambda h: h[3][2] == "I" and h[4][0] == "S", "I", 4,
    ),
    "SIR, weighted and directed": (
        spread(SIR, [(0, 1), (1, 2), (2, 3), (1, 3)], [0.3, 1.5, 0.7, 2.0], directed=True, beta=0.5, gamma=0.4),
        {"infected": [3], "S": {1: 1}},
        lambda h: left(h, 3, "S") <= 3 and h[1][1] == "S", "I", 3,
    ),
    "SEIR, half steps": (
        spread(SEIR, [(0, 1), (1, 2)], beta=0.9, gamma=0.4, sigma=0.7, step=0.5), {"I": {2: 4}},
        lambda h: h[4][2] == "I", "I", 4,
    ),
    "transitions that compete": (
        spread(VACCINE, [(0, 1), (1, 2)], beta=0.9, gamma=0.4, nu=0.3), {"V": [2], "infected": {0: 2}},
        lambda h: h[4][2] == "V" and h[2][0] != "S", "I", 4,
    ),
    "a rumour": (
        spread(RUMOUR, [(0, 1), (1, 2)], beta=0.9, alpha=0.4), {"stifler": [1]},
        lambda h: h[4][1] == "stifler", "spreader", 4,
    ),
}  # fmt: skip


def agree(draws: torch.Tensor, exact: np.ndarray) -> list[float]:
    """Deviations of the shares of [chains, draws] that are at each step from the exact ones, in standard errors."""
    found = []
    for step, p in enumerate(exact):
        there = (draws == step).double()
        if p == 0 or p > 1 - 1e-12:
            assert there.mean() == round(p)
        elif there.sum() > 20:
            ess = float(bulk_ess(there[..., None]))
            found.append((there.mean().item() - p) / math.sqrt(p * (1 - p) / ess))
        else:
            assert p < 0.03
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_steps_of_every_node_are_as_probable_as_all_histories_say(case) -> None:
    model, given, fits, at, steps = case
    every = every_history(model, seeds(model, 0.2, at), steps)
    assert abs(sum(every.values()) - 1) < 1e-12
    kept = {past: p for past, p in every.items() if fits(past)}
    posterior = history(model, {**given, "step": steps}, seeds=0.2, chains=2, draws=800, warmup=50, thin=1, seed=1)
    z = []
    for v in range(model.graph.n):
        for k, name in enumerate(model.compartments.names):
            exact = np.zeros(steps + 2)
            for past, p in kept.items():
                exact[left(past, v, name) if k == 0 else came(past, v, name)] += p / sum(kept.values())
            z += agree(posterior["reached" if k == 0 else name][..., v], exact)
    assert max(map(abs, z)) < 4.2
    assert np.square(z).mean() < 1.8


def test_with_those_who_began_it_known_only_the_rest_is_unknown() -> None:
    model = spread(SIR, CYCLE, beta=0.7, gamma=0.3)
    start = [{"I": 1.0}, {"S": 1.0}, {"S": 1.0}, {"R": 1.0}]
    kept = {past: p for past, p in every_history(model, start, 4).items() if left(past, 2, "S") == 3}
    answer = query(model, "infected", given={"start": {"I": [0], "R": [3]}, "reached": {2: 3}, "step": 4})
    infected = answer["infected"]
    for v, step in itertools.product(range(4), range(5)):
        exact = sum(p for past, p in kept.items() if left(past, v, "S") <= step) / sum(kept.values())
        assert abs(infected.sel(node=v, step=step).item() - exact) < 0.035, (v, step)
    exact = sum(p * left(past, 1, "S") for past, p in kept.items()) / sum(kept.values())
    assert abs(answer["reached"].sel(node=1, statistic="mean").item() - exact) < 0.06
    assert answer["reached"].sel(node=2).values.tolist() == [3, 0]
    assert answer.kind == "estimate"
    assert answer.reliability["rhat"] < 1.05


@pytest.mark.parametrize(
    ("rate", "prior"),
    [
        ("beta", pyro.distributions.Gamma(2.0, 3.0)),
        ("gamma", pyro.distributions.Gamma(2.0, 3.0)),
        ("nu", pyro.distributions.Gamma(2.0, 3.0)),
        ("beta", pyro.distributions.Uniform(0.4, 1.2)),
    ],
    ids=["beta", "gamma", "nu", "beta within bounds"],
)
def test_the_posterior_of_a_rate_is_that_of_a_grid(rate, prior) -> None:
    rates = {"beta": 0.9, "gamma": 0.4, "nu": 0.3}
    given = {"V": {2: 3}, "infected": {0: 1}, "reached": {1: 2}}
    grid = np.arange(0.1, 5, 0.2)
    grid = grid[prior.support.check(torch.from_numpy(grid)).numpy()]
    weights = []
    for value in grid:
        model = spread(VACCINE, [(0, 1), (1, 2)], **{**rates, rate: value})
        every = every_history(model, seeds(model, 0.3, "I"), 3)
        fits = [p for h, p in every.items() if h[3][2] == "V" and h[1][0] != "S" and left(h, 1, "S") == 2]
        weights.append(sum(fits) * prior.log_prob(torch.tensor(value)).exp().item())
    exact = np.array(weights) / sum(weights)
    mean = (exact * grid).sum()
    sd = math.sqrt((exact * (grid - mean) ** 2).sum())
    posterior = history(
        spread(VACCINE, [(0, 1), (1, 2)], **rates),
        {**given, "step": 3},
        priors={rate: prior},
        seeds=0.3,
        draws=500,
        warmup=100,
        chains=2,
        thin=1,
    )
    found = posterior[rate]
    ess = float(bulk_ess(found[..., None]))
    assert ess > 100
    assert abs(found.mean().item() - mean) < 4 * sd / math.sqrt(ess)
    assert abs(found.std().item() / sd - 1) < 4 / math.sqrt(ess)


def test_on_thirty_nodes_a_true_history_is_as_good_as_what_the_chain_makes_of_it() -> None:
    small_world = nx.connected_watts_strogatz_graph(30, 4, 0.2, seed=1)
    model = spread(SIR, list(small_world.edges), beta=0.3, gamma=0.2)
    moves, random = moves_of(model), np.random.default_rng(4)
    changes = []
    for trial in range(300):
        begun = np.flatnonzero(random.random(30) < 1 / 30)
        true = np.zeros((30, 9), dtype=int)  # where nobody began it
        if len(begun):
            true = model.simulate({"I": begun.tolist()}, 8, seed=trial).frames(range(9)).numpy().T
        reached = np.where((true != 0).any(1), (true != 0).argmax(1), -1).tolist()
        shown = random.permutation(30)[:12]
        given = {"reached": {int(v): reached[v] if reached[v] >= 0 else None for v in shown}, "step": 8}
        walk = Walk(moves, seen_of(moves, given), {}, 0.0, random)
        walk.states[:] = true
        before = _figures(true)
        for _ in range(20):
            walk.move(False)
        assert ((walk.states != 0).argmax(1)[shown] == (true != 0).argmax(1)[shown]).all()
        changes.append(_figures(walk.states) - before)
    z = np.mean(changes, 0) / np.std(changes, 0) * math.sqrt(len(changes))
    assert np.abs(z).max() < 3.3


def _figures(states: np.ndarray) -> np.ndarray:
    """Seeds, nodes reached by the middle and by the end, and steps for which nodes pass it on."""
    return np.array([(states[:, t] != 0).sum() for t in (0, 4, 8)] + [(states == 1).sum()], float)


def test_a_seed_decides_all_and_the_caller_s_generator_is_left_alone() -> None:
    model = spread(SIR, CYCLE, beta=0.7, gamma=0.3)
    priors = {"beta": pyro.distributions.Exponential(1.0)}
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = (
        history(model, {"infected": [2], "step": 4}, priors=priors, draws=20, warmup=20, seed=seed)
        for seed in (5, 5, 6)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one["reached"], same["reached"])
    assert torch.equal(one["beta"], same["beta"])
    assert not torch.equal(one["reached"], other["reached"])
    assert one.summary(var_names=["beta"]).loc["beta", "mean"] > 0


def test_without_numba_the_same_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        for name in ("sweeps", "chances", "rates"):
            where = importlib.util.find_spec(f"inference.spread.{name}")
            plain[name] = importlib.util.module_from_spec(where)
            where.loader.exec_module(plain[name])
            patch.setitem(sys.modules, f"inference.spread.{name}", plain[name])
    assert not hasattr(plain["chances"].log_joint, "py_func")
    model = spread(SEIR, CYCLE, beta=0.7, gamma=0.3, sigma=0.5)
    given = {"R": [2], "step": 6}
    priors = {"beta": pyro.distributions.Exponential(1.0)}
    compiled = history(model, given, priors=priors, draws=10, warmup=5, chains=1, thin=1)
    for where, name in (
        ("sweeps", "sweep"),
        ("sweeps", "weigh_contacts"),
        ("chances", "log_joint"),
        ("chances", "gained"),
        ("rates", "Rates"),
        ("rates", "update"),
    ):
        monkeypatch.setattr(walks, name, getattr(plain[where], name))
    slow = history(model, given, priors=priors, draws=10, warmup=5, chains=1, thin=1)
    assert torch.equal(compiled["reached"], slow["reached"])
    torch.testing.assert_close(compiled["beta"], slow["beta"])
    assert torch.equal(compiled["R"], slow["R"])
    torch.testing.assert_close(compiled.stats["lp"], slow.stats["lp"])


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"reached": {1: 9}, "step": 4}, {}, "'reached' has the node 1 at step 9, beyond the last, 4"),
        ({"reached": {7: 2}, "step": 4}, {}, "no node 7, which 'reached' names"),
        ({"infected": [0, 7], "step": 4}, {}, "no node 7, which 'infected' names"),
        ({"start": {"I": [9]}, "step": 4}, {}, "no node 9, which 'start' names"),
        ({"start": {"J": [0]}, "step": 4}, {}, "'start' names 'J', which is no compartment"),
        ({"reacht": {1: 2}}, {}, "what was seen has no 'reacht'; near: reached"),
        ({"reached": {1: 1.5}}, {}, "'reached' of the node 1 is a step, a whole number from 0 on, not 1.5"),
        ({"infected": [0]}, {}, "at which step were the nodes of 'infected' seen"),
        ({"infected": 0, "step": 3}, {}, r"the nodes of 'infected' are given as a list, \[0\], not as 0"),
        ({"reached": [0], "step": 3}, {}, "'reached' maps nodes to the steps that reached them"),
        ({}, {}, "until which step do the histories go"),
        ({"step": 0}, {}, "'step', the last one, is a whole number from 1 on, not 0"),
        ({"reached": {1: 3}, "S": {1: 4}}, {}, "seen of the node 1 contradicts itself, or how it began, at step 4"),
        ({"start": {"I": [0]}, "I": {1: 0}, "step": 3}, {}, "seen of the node 1 contradicts itself, or how it began"),
        ({"start": {"I": [0]}, "reached": {2: 1}}, {}, "by step 1 no neighbour could have passed it on to the node 2"),
        ({"reached": {0: 3, 1: 2, 3: 3}}, {"seeds": {0: 0.5}}, "no neighbour could have passed it on to the node 1"),
        ({"step": 3}, {"seeds": 1.5}, "the chance to be a seed lies between 0 and 1, not at 1.5"),
        ({"step": 3}, {"seeds": {8: 0.1}}, "no node 8, which 'seeds' names"),
        ({"start": {"I": [0]}, "step": 3}, {"seeds": 0.1}, "give 'start', who began it, or seeds"),
        ({"step": 3}, {"priors": {"betta": pyro.distributions.Exponential(1.0)}}, "no rate 'betta'; near: beta"),
        ({"infected": [0], "seen": [0, 7], "step": 3}, {}, "no node 7, which 'seen' names"),
        (
            {"step": 3},
            {"priors": {"beta": pyro.distributions.Uniform(-2.0, -1.0)}},
            "a rate is positive, but its prior",
        ),
        ({"step": 3}, {"priors": {"beta": 1.0}}, "the prior of 'beta' is a distribution, not 1.0"),
    ],
)
def test_what_is_wrong_or_can_t_have_been_seen_is_told_in_a_sentence(given, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        history(spread(SIR, CYCLE, beta=0.7, gamma=0.3), given, **options)


def test_what_returns_is_seen_in_compartments_and_not_as_infected() -> None:
    sis = Compartments("SI", [Transition("S", "I", "beta", by="I"), Transition("I", "S", "gamma")])
    model = spread(sis, [(0, 1), (1, 2)], beta=0.8, gamma=0.4)
    with pytest.raises(ValueError, match="nodes return to S: say 'I', not 'infected', at which step"):
        history(model, {"infected": [1], "step": 3})
    kept = {h: p for h, p in every_history(model, seeds(model, 0.3, "I"), 4).items() if h[2][1] == "S" == h[4][0]}
    posterior = history(model, {"S": {1: 2, 0: 4}}, seeds=0.3, chains=2, draws=800, warmup=50, thin=1)
    exact = np.zeros(6)
    for past, p in kept.items():
        exact[left(past, 2, "S")] += p / sum(kept.values())
    assert max(map(abs, agree(posterior["reached"][..., 2], exact))) < 4


def test_births_and_graphs_without_rows_have_no_histories() -> None:
    born = Compartments("SI", [Transition(None, "S", "mu"), Transition("S", "I", "beta", by="I")])
    model = spread(SI, CYCLE, beta=0.5)
    of_births = SimpleNamespace(compartments=born, graph=model.graph, rates={"mu": 0.1, "beta": 0.5}, step=1.0)
    with pytest.raises(ValueError, match="birth -> S is of births or deaths, but the nodes of a graph stay"):
        history(of_births, {"step": 2})
    with pytest.raises(ValueError, match="histories are of one graph"):
        history(SimpleNamespace(compartments=SI, graph=object(), rates=model.rates, step=1.0), {"step": 2})
