"""Chains over histories, replicas and trades included: all of small histories, Geweke's test, simulated cascades."""

import functools
import itertools
import math
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pyro
import pytest
import torch
from scipy import stats

from inference.sampling.statistics import bulk_ess
from inference.spread.history import history
from inference.spread.moves import moves_of
from inference.spread.seen import Seen, seen_of
from inference.spread.walks import Walk, _free, _trade
from zoo.spread import Compartments, Transition
from zoo.spread.graph import Graph
from zoo.spread.on_graph import GraphSpread

SI = Compartments("SI", [Transition("S", "I", "beta", by="I")])
SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])


def z_of(draws: torch.Tensor, exact: float) -> float:
    """The deviation of the mean of [chains, draws] in its standard errors."""
    draws = draws.double()
    return (draws.mean().item() - exact) / (draws.std().item() / math.sqrt(float(bulk_ess(draws[..., None]))))


def mass(times: tuple[int, ...], edges: list[tuple[int, int]], beta: float, chance: float, steps: int) -> float:
    """p(the steps that reached the nodes), steps + 1 for never."""
    found = 1.0
    for v, time in enumerate(times):
        found *= chance if time == 0 else 1 - chance
        others = [times[b if a == v else a] for a, b in edges if v in (a, b)]
        for t in range(min(time, steps)):
            stays = math.exp(-beta * sum(other <= t for other in others))
            found *= 1 - stays if t == time - 1 else stays
    return found


@pytest.mark.parametrize("given", [{}, {"infected": {2: 3}}], ids=["nothing seen", "one seen"])
def test_replicas_that_trade_leave_every_whole_history_as_probable_as_it_is(given) -> None:
    edges, beta, steps = [(0, 1), (1, 2)], 0.6, 3
    model = GraphSpread(SI, Graph.of(edges, nodes=range(3)), {"beta": beta})
    every = [times for times in itertools.product(range(steps + 2), repeat=3) if not given or times[2] <= steps]
    exact = np.array([mass(times, edges, beta, 0.2, steps) for times in every])
    assert given or abs(exact.sum() - 1) < 1e-12
    exact /= exact.sum()
    posterior = history(model, {**given, "step": steps}, seeds=0.2, chains=1, draws=3000, warmup=50, thin=1, seed=2)
    reached = posterior["reached"]
    z = []
    for times, p in zip(every, exact, strict=True):
        there = (reached == torch.tensor(times)).all(-1)
        assert p > 0 or not there.any()
        if p * 3000 > 25:
            z.append(
                (there.double().mean().item() - p) / math.sqrt(p * (1 - p) / float(bulk_ess(there[..., None].double())))
            )
    assert len(z) > 8
    assert np.abs(z).max() < 4.2
    assert np.square(z).mean() < 2.0


def log_chance(states: np.ndarray, edges: list[tuple[int, int]], stray: float) -> float:
    """log p(a history of SIR), beta 0.6 and gamma 0.4, nodes that began it apart; S, I, R are 0, 1, 2."""
    found = 0.0
    for v, path in enumerate(states):
        others = [states[b if a == v else a] for a, b in edges if v in (a, b)]
        for t, (now, then) in enumerate(itertools.pairwise(path)):
            leaves = 0.6 * sum(other[t] == 1 for other in others) + stray if now == 0 else 0.4
            if now < 2:
                found += -leaves if now == then else math.log(1 - math.exp(-leaves))
    return found


def test_replicas_trade_at_the_ratio_of_all_four_chances() -> None:
    edges, random = [(0, 1), (1, 2), (2, 3), (3, 0)], np.random.default_rng(5)
    moves = moves_of(GraphSpread(SIR, Graph.of(edges, nodes=range(4)), {"beta": 0.6, "gamma": 0.4}))
    seen = seen_of(moves, {"infected": [2], "step": 4}, 0.3)
    refused = 0
    for _ in range(40):
        walks = [Walk(moves, seen, {}, strays, random) for strays in (1.0, 6.0)]
        for walk in walks:
            walk.move(False)
        (one, other), (a, b) = walks, (walk.stray for walk in walks)
        of_one, of_other = (lambda s, w=walk: log_chance(w.states, edges, s) for walk in walks)
        gain = of_one(b) + of_other(a) - of_one(a) - of_other(b)
        for shift in (-1e-7, 1e-7):
            chance = math.exp(min(gain, 0.0) + shift)
            one.random = SimpleNamespace(random=lambda chance=chance: 1 - chance)
            pair = [one, other]
            _trade(pair, 0)
            traded = pair == [other, one]
            assert traded == (gain > 1e-6 or shift < 0)
            assert (one.stray, other.stray) == ((b, a) if traded else (a, b))
            refused += not traded
            one.stray, other.stray = a, b
        one.random = random
    assert refused > 5


def test_geweke_s_joint_draws_of_data_and_histories_are_those_of_simulation() -> None:
    """Getting It Right: Joint Distribution Tests of Posterior Simulators (Geweke, 2004), with rates that move."""
    edges, steps, prior = [(0, 1), (1, 2), (2, 3), (3, 0), (1, 3)], 4, pyro.distributions.Gamma(3.0, 6.0)
    graph = Graph.of(edges, nodes=range(4))
    beta = torch.from_numpy(np.random.default_rng(1).gamma(3.0, 1 / 6.0, 20_000))
    truth = GraphSpread(SIR, graph, {"beta": beta, "gamma": 0.4}).simulate(
        {"I": [0]}, steps, replicates=len(beta), seed=1
    )
    total = (truth.reached >= 0).sum(1).double()
    moves, random = moves_of(GraphSpread(SIR, graph, {"beta": 0.5, "gamma": 0.4})), np.random.default_rng(3)
    nothing = seen_of(moves, {"start": {"I": [0]}, "step": steps})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        walk = Walk(moves, nothing, {"beta": prior}, 0.0, random)
    found = []
    for number in range(3000):
        walk.seen = _shown(walk.states, nothing, random)
        walk.free = _free(walk.seen)
        walk.move(number < 200)
        value = walk.rates.values["beta"]
        reached = (walk.states[:, -1] != 0).sum()
        found.append([reached, reached**2, (walk.states == 1).sum(), value, math.log(value), value * reached])
    draws = torch.tensor(np.array(found[200:], float))[None]
    passing = truth.counts[:, :, 1].sum(1).double()
    exact = [total, total**2, passing, beta, beta.log(), beta * total]
    z = [z_of(draws[..., k], each.mean().item()) for k, each in enumerate(exact)]
    assert np.abs(z).max() < 3.7, z


def _shown(states: np.ndarray, nothing: Seen, random: np.random.Generator) -> Seen:
    """Data that a history makes: of half of the places, a compartment, each as likely, in which the node was not."""
    allowed = nothing.allowed.copy()
    for node, t in itertools.product(*map(range, states.shape)):
        if random.random() < 0.5:
            allowed[node, t, (states[node, t] + random.integers(1, allowed.shape[2])) % allowed.shape[2]] = False
    return Seen(allowed, nothing.log_start)


@functools.cache
def small_world() -> Any:
    edges = list(nx.connected_watts_strogatz_graph(30, 4, 0.2, seed=1).edges)
    return GraphSpread(SIR, Graph.of(edges, nodes=range(30)), {"beta": 0.3, "gamma": 0.2})


def cascade(random: np.random.Generator, trial: int) -> np.ndarray:
    """The steps that reached the nodes of a cascade, 9 for never."""
    begun = np.flatnonzero(random.random(30) < 1 / 30)
    if not len(begun):
        return np.full(30, 9)
    reached = small_world().simulate({"I": begun.tolist()}, 8, seed=trial).reached[0].numpy()
    return np.where(reached < 0, 9, reached)


def trial_of(trial: int, random: np.random.Generator) -> tuple[float, float, float, list[Any]]:
    """The rank of the truth's number reached among draws', P - truth over hidden nodes, its variance, and P, truth."""
    true = cascade(random, trial)
    shown = random.permutation(30)[:12]
    given = {"reached": {int(v): int(true[v]) if true[v] < 9 else None for v in shown}, "step": 8}
    posterior = history(small_world(), given, chains=2, draws=100, warmup=300, thin=10, seed=trial)
    draws = posterior["reached"].flatten(0, 1).numpy()
    total, mine = (draws < 9).sum(1), (true < 9).sum()
    rank = ((total < mine).sum() + random.random() * ((total == mine).sum() + 1)) / (len(total) + 1)
    hidden = np.setdiff1d(np.arange(30), shown)
    chance, was = (draws < 9).mean(0)[hidden], (true < 9)[hidden]
    return rank, (chance - was).sum(), (draws < 9)[:, hidden].sum(1).var(), [chance, was]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_two_hundred_cascades_the_posteriors_are_calibrated() -> None:
    random = np.random.default_rng(9)
    trials = range(1000, 1200)  # of half as many a bin below holds a hundred nodes, and 0.1 is two standard errors
    ranks, off, variance, each = zip(*(trial_of(trial, random) for trial in trials), strict=True)
    assert stats.kstest(ranks, "uniform").pvalue > 0.005
    assert abs(sum(off)) < 3 * math.sqrt(sum(variance))
    chance, was = (np.concatenate(side) for side in zip(*each, strict=True))
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        these = (chance >= low) & (chance <= low + 0.2)
        assert abs(chance[these].mean() - was[these].mean()) < 0.1, low
