"""Whom to vaccinate: the nodes without whom fewest are reached in sampled runs.

Without a horizon dominators tell it of all nodes at once (`sampled_runs`), so that there is nothing to evaluate lazily;
until a step they tell the most that each can save (`timed_runs`). Where the highest degrees save more, they are chosen:
on other runs than greedy chose by, to which it is fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from inference.spread.chosen import Choice, affordable, check_count, mean, rivals
from inference.spread.live_edges import Live
from inference.spread.runs import Begun, carriers
from inference.spread.sampled_runs import SampledRuns
from inference.spread.timed_runs import TimedRuns

FIRST, RUNS, WALKED = 10, (20, 10_000), 2_500_000
"""Runs to see how many edges pass it on; then the fewest and the most, so that they have about so many and nodes."""
FOREST = "on the samples at least 1 - 1/e = 63 % of the best: there is one way to everyone, so that it is submodular"
SIMPLE = "none: the highest degrees, which did better, are chosen without one"
NONE = "none: what is saved is not submodular; two who close two ways to a third save him together, and neither alone"


def vaccinated(spread: Any, live: Live, k: int, given: dict[Any, Any], samples: int | None) -> Choice:
    graph = spread.graph
    begun = Begun.of(spread, given)
    sampled: Any = SampledRuns if begun.steps is None else TimedRuns
    free = begun.places == 0
    check_count(k, int(free.sum()), graph.n)
    if samples is None:
        passed = len(sampled.of(live, begun, 0, FIRST).source)
        samples = affordable(FIRST, passed + FIRST * graph.n, WALKED, RUNS)
    simple = rivals(graph, k, live.seed, free)

    def runs(part: int) -> Any:
        return sampled.of(live, begun, FIRST + part * samples, samples)

    picks = {"greedy choice": runs(0).greedy(k, free), "highest degrees": simple["highest degrees"][0]}
    name, other = _by_worth(picks, runs(1))
    others = {other: [picks[other]], "at random": simple["at random"]}
    one_way = _one_way(graph, begun, carriers(spread.compartments), spread.compartments.names)
    sure = NONE if not one_way else FOREST if name == "greedy choice" else SIMPLE
    method = f"{name}, better than {other} on {samples:,} runs that neither has seen, and told by {samples:,} others"
    return _told(graph, picks[name], runs(2), others, sure, method)


def _by_worth(picks: dict[str, list[int]], runs: Any) -> list[str]:
    """The names of choices, the one first without which fewest are reached; none is sure to be better."""
    return sorted(picks, key=lambda name: int(runs.reached(picks[name]).sum()))


def _told(
    graph: Any, chosen: list[int], held: Any, others: dict[str, list[list[int]]], sure: str, method: str
) -> Choice:
    """The choice, and what it and others are worth on runs that it was not chosen by."""
    reached = torch.stack([held.reached(chosen[:count]) for count in range(len(chosen) + 1)]).double()
    gains = (reached[:-1] - reached[1:]).cpu()
    errors = (gains.std(1) / held.runs**0.5).numpy()
    value, error = mean(reached[:1] - reached[-1:])
    worth = {
        name: mean(torch.stack([reached[0] - held.reached(pick) for pick in picks])) for name, picks in others.items()
    }
    labels = tuple(graph.nodes[place] for place in chosen)
    return Choice(labels, gains.mean(1).numpy(), errors, value, error, "saved", sure, None, worth, method)


def _one_way(graph: Any, begun: Begun, carrying: list[str], names: Any) -> bool:
    """Whether there is one way at most to each node from all those who begin it: a forest, and one of them a tree."""
    ends = graph.sources.cpu().numpy(), graph.indices.cpu().numpy()
    table = csr_array((np.ones(len(ends[0])), ends), shape=(graph.n, graph.n))
    trees, of = connected_components(table, directed=False)
    pairs = np.unique(np.sort(np.stack(ends), axis=0), axis=1).shape[1]
    if pairs != graph.n - trees:
        return False
    able = [list(names).index(name) for name in carrying]
    named = torch.isin(begun.places, torch.tensor(able, dtype=torch.uint8)).nonzero()[:, 0].cpu().numpy()
    random = sum(begun.chosen.values())
    return bool((np.bincount(of[named], minlength=1) <= 1).all() and (not random or (random == 1 and not len(named))))
