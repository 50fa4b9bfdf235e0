"""What a choice tells of itself, its values, errors and certificate, against closed forms, enumeration and coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.optimize import brentq

from inference.spread.choice import best
from inference.spread.live_edges import Live
from inference.spread.reverse_reach import certified
from inference.spread.runs import Begun
from inference.spread.sampled_runs import SampledRuns
from inference.spread.vaccinated import FIRST
from tests.inference.spread_enumeration import cascade_reach
from zoo.spread.graph import Graph
from zoo.spread.rumours import independent_cascade

CHANCES = {(0, 1): 0.5, (0, 2): 0.4, (1, 3): 0.7, (2, 3): 0.5, (3, 4): 0.6, (1, 5): 0.3, (2, 5): 0.6, (5, 4): 0.2}


def cascade() -> Any:
    return independent_cascade(Graph.of(list(CHANCES), weights=list(CHANCES.values()), directed=True))


# ---- whom to vaccinate


@pytest.mark.parametrize("until", [{}, {"steps": 10}], ids=["ever", "by a step"])
def test_errors_of_what_is_saved_on_a_tree(until: dict[str, int]) -> None:
    """1 saves A (1 + B + C) and then 4 saves A (1 + B), of independent coins: variances 5/4 and 11/16."""
    tree = Graph.of([(0, 1), (1, 2), (1, 3), (0, 4), (4, 5), (0, 6)])
    spread = independent_cascade(tree, chance=0.5)
    choice = best(spread, 2, "vaccinate", given={"spreader": [0], **until}, samples=4000)
    assert choice.nodes == (1, 4)
    assert choice.errors == pytest.approx([(1.25 / 4000) ** 0.5, (0.6875 / 4000) ** 0.5], rel=0.06)
    assert choice.error == pytest.approx((1.9375 / 4000) ** 0.5, rel=0.06)
    random = choice.others["at random"]
    assert random[1] > (0.1 / 10) ** 0.5, "the error of ten random choices has the spread between them"


def test_what_is_told_is_told_by_runs_that_took_no_part() -> None:
    """Of few runs whatever was chosen by them looks better than it is; what is told does not, nor is it too bad."""
    none = cascade_reach(6, CHANCES, [0])
    excess = []
    for seed in range(80):
        choice = best(cascade(), 2, "vaccinate", given={"spreader": [0]}, samples=2, seed=seed)
        open_ = {edge: p for edge, p in CHANCES.items() if not set(edge) & set(choice.nodes)}
        excess.append(choice.value - (none - cascade_reach(6, open_, [0])))
    assert abs(np.mean(excess)) < 4 * np.std(excess) / len(excess) ** 0.5


def test_greedy_and_the_highest_degrees_are_judged_by_runs_that_neither_saw() -> None:
    """The judges' word counts where it is not that of the runs that greedy chose by."""
    graph = Graph.of([(a, b) for a in range(12) for b in range(a + 1, 12) if (a * b + a + b) % 3 == 0])
    spread, given, chosen = independent_cascade(graph, chance=0.3), {"spreader": 1}, {"greedy choice": 0}
    differ = 0
    for seed in range(25):
        live, begun = Live.of(spread, seed), Begun.of(spread, given)
        first, judges, held = (SampledRuns.of(live, begun, FIRST + 3 * part, 3) for part in range(3))
        degrees = graph.degrees.topk(2).indices.tolist()
        mine = first.greedy(2, torch.ones(graph.n, dtype=torch.bool))
        wins = [int(runs.reached(mine).sum()) <= int(runs.reached(degrees).sum()) for runs in (first, judges)]
        choice = best(spread, 2, "vaccinate", given=given, samples=3, seed=seed)
        name = "greedy choice" if wins[1] else "highest degrees"
        assert choice.method.startswith(name)
        picked = mine if wins[1] else degrees
        assert [graph.nodes.index(v) for v in choice.nodes] == picked
        assert choice.value == pytest.approx(float((held.reached() - held.reached(picked)).double().mean()))
        differ += wins[0] != wins[1]
        chosen[name] = chosen.get(name, 0) + 1
    assert differ > 1 and min(chosen.values()) > 1


# ---- whom to begin with


def test_a_certificate_is_no_more_than_the_truth_and_errors_are_binomial() -> None:
    """Greedy takes the one who reaches 8 of 12, and then 3 more with himself: 12 of 14 that two others reach."""
    halves = [range(3, 9), range(9, 15)]
    edges = [(1, v) for v in halves[0]] + [(2, v) for v in halves[1]] + [(0, v) for h in halves for v in h[:4]]
    choice = best(independent_cascade(Graph.of(edges, directed=True, nodes=range(15)), chance=1.0), 2, samples=20_000)
    assert choice.nodes[0] == 0 and choice.nodes[1] in (1, 2)
    assert choice.value == pytest.approx(12, abs=4 * choice.error)
    assert choice.certified is not None and 0.9 * 12 / 15 < choice.certified < 12 / 15  # 9 + 3 + 3 is the bound
    shares = np.array([9 / 15, 3 / 15])
    assert choice.errors == pytest.approx(15 * (shares * (1 - shares) / 20_000) ** 0.5, rel=0.05)
    assert choice.error == pytest.approx(15 * (12 / 15 * 3 / 15 / 20_000) ** 0.5, rel=0.05)


def test_reach_is_told_by_sets_that_took_no_part() -> None:
    excess = []
    for seed in range(80):
        choice = best(cascade(), 2, samples=3, seed=seed)
        excess.append(choice.value - cascade_reach(6, CHANCES, choice.nodes))
    assert abs(np.mean(excess)) < 4 * np.std(excess) / len(excess) ** 0.5


def test_reach_by_a_step_is_less() -> None:
    path = independent_cascade(Graph.of([(k, k + 1) for k in range(9)], directed=True), chance=1.0)
    choice = best(path, 1, given={"steps": 3}, samples=4000)
    assert choice.value == pytest.approx(4, abs=4 * choice.error)
    assert choice.others["highest degrees"][0] <= choice.value + 4 * choice.error
    assert best(path, 1, samples=4000).value == pytest.approx(10)


@pytest.mark.parametrize("risk", [0.01, 0.3])
@pytest.mark.parametrize(("most", "met"), [(40, 30), (900, 850), (0, 0), (5, 3)])
def test_the_certificate_inverts_the_bounds_of_its_paper(most: float, met: float, risk: float) -> None:
    """Tang et al. (2018), Lemma 4.1: tails exp(-d^2 / (2 m + 2 d / 3)) above a mean m, and exp(-d^2 / 2 m) below it."""
    log = math.log(2 / risk)
    low = brentq(lambda m: (met - m) ** 2 - log * (2 * m + 2 * (met - m) / 3), -log, met) if met else 0.0
    high = brentq(lambda m: (m - most) ** 2 - 2 * m * log, most + 1e-9, 9 * (most + log))
    assert certified(most, 1000, met, 800, risk) == pytest.approx(max(0.0, low) / 800 / (high / 1000), rel=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_choice_that_is_the_best_is_certified_too_much_as_seldom_as_said(share: float) -> None:
    """Both counts are binomial with the same share: the chance of a certificate above 1, summed over all counts."""
    counts, risk = range(61), 0.5
    law = scipy.stats.binom(60, share).pmf(counts)
    over = np.array([[certified(most, 60, met, 60, risk) > 1 for met in counts] for most in counts])
    assert 0 < law @ over @ law < risk
