"""Who began 100 simulated rumours on the Facebook graph: 4,039 people, 88,234 friendships.

The setting, fixed before anything was measured: SI, an edge passes the rumour on with chance 0.02 a step, seen after 8
steps, all people and exactly; who begins it is drawn evenly from all people; rumours that reach fewer than 100 or more
than 400 people are drawn anew, their beginner too. Asked is whether the beginner is among the ten likeliest.

Beside ours, on the graph among those reached: distance centrality (the least sum of distances), the Jordan centre (the
least distance to the farthest, by the sum of distances where equal), and rumour centrality (Shah and Zaman, 2011, on
the tree of a breadth-first search from each candidate). Ties count as the mean of their ranks. `ZOO_DATA` names the
folder of data, networks/facebook_combined.txt in it.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, shortest_path

from benchmarks.common import Row
from inference.query import query
from zoo.spread.graph import Graph
from zoo.spread.on_graph import GraphSpread
from zoo.spread.ready import si

CHANCE, STEPS, LEAST, MOST = 0.02, 8, 100, 400
RUMOURS, TOP = 100, 10
BASELINES = ("distance centrality", "Jordan centre", "rumour centrality")


def rows(rounds: int) -> list[Row]:
    folder = os.environ.get("ZOO_DATA")
    if not folder:
        print("ZOO_DATA is not set: networks/facebook_combined.txt is missing, nothing measured")
        return []
    graph = Graph.read(Path(folder) / "networks" / "facebook_combined.txt")
    spread = GraphSpread(si(), graph, {"beta": -math.log1p(-CHANCE)})
    found: list[dict[str, float]] = []
    for seed in range(RUMOURS):
        found.append(one(spread, seed))
        print(progress(found), flush=True)
    return judged(found)


def progress(found: list[dict[str, float]]) -> str:
    """Shares in the ten likeliest and mean ranks after so many rumours, and the last of them."""
    names, last = ("ours", *BASELINES), found[-1]
    told = ", ".join(
        f"{n} {np.mean([e[n] <= TOP for e in found]):.2f} ({np.mean([e[n] for e in found]):.0f})" for n in names
    )
    ranks = " ".join(f"{last[name]:g}" for name in names)
    return f"{len(found)}: {told}; of {last['reached']}: {ranks}, error {last['error']:.2f}, {last['seconds']:.1f} s"


def one(spread: GraphSpread, seed: int) -> dict[str, float]:
    """Ranks of who began a rumour, by ours and the baselines; what ours told of it, and the seconds that it took."""
    began, reached = rumour(spread, seed)
    labels = [spread.graph.nodes[place] for place in reached]
    start = time.process_time()
    answer = query(spread, "source", given={"infected": labels, "step": STEPS}, seed=seed)
    seconds, found = time.process_time() - start, answer["source"].to_numpy()
    here = int(np.flatnonzero(reached == began)[0])
    ranks = {name: rank(score, here) for name, score in centralities(spread.graph, reached).items()}
    best = np.sort(found)[::-1][:TOP].sum()
    told = {"ours": rank(found, began), "seconds": seconds, "told": found[began], "ten": best, "top": found.max()}
    told |= {"error": answer.reliability["error"], "apart": answer.reliability["evidence_apart"]}
    return {**ranks, **told, "reached": len(reached), "log": math.log(found[began])}


def rumour(spread: GraphSpread, seed: int) -> tuple[int, np.ndarray]:
    """Who began it and whom it reached, places, of the first of this seed's that is of the size."""
    random = np.random.default_rng(seed)
    while True:
        began = int(random.integers(spread.graph.n))
        start = {"I": [spread.graph.nodes[began]]}
        states = spread.simulate(start, STEPS, seed=int(random.integers(2**31))).states[0].numpy()
        if LEAST <= np.count_nonzero(states) <= MOST:
            return began, np.flatnonzero(states)


def rank(scores: np.ndarray, place: int) -> float:
    """1 of the highest; the mean where several are equal."""
    above, equal = (scores > scores[place]).sum(), (scores == scores[place]).sum()
    return float(above + (equal + 1) / 2)


def centralities(graph: Graph, reached: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of those reached by each baseline, the highest being the guess."""
    indptr, indices = graph.indptr.numpy(), graph.indices.numpy()
    whole = sparse.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(graph.n, graph.n))
    among = whole[reached][:, reached]
    far = shortest_path(among, unweighted=True)
    sums = -far.sum(1)
    trees = np.array([rumour_centrality(among, node) for node in range(len(reached))])
    return dict(zip(BASELINES, (sums, -far.max(1) + sums / (1 - sums.min()), trees), strict=True))


def rumour_centrality(among: sparse.csr_matrix, root: int) -> float:
    """log of n! over the product of the sizes of all subtrees, up to what is the same for all roots."""
    order, parent = breadth_first_order(among, root)
    sizes = np.ones(among.shape[0])
    for node in order[:0:-1]:
        sizes[parent[node]] += sizes[node]
    return -float(np.log(sizes).sum())


def judged(found: list[dict[str, float]]) -> list[Row]:
    """The share of rumours whose beginner is in the ten likeliest, mean ranks, and how true the probabilities are."""
    mean = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    top = {name: float(np.mean([each[name] <= TOP for each in found])) for name in ("ours", *BASELINES)}
    best = max(BASELINES, key=lambda name: top[name])
    least = min(BASELINES, key=lambda name: mean[name])
    setting = f"of {len(found)} rumours, {mean['reached']:.0f} reached in the mean"
    told = ", ".join(f"{name} {top[name]:.2f}" for name in BASELINES)
    seconds = float(np.median([each["seconds"] for each in found]))
    return [
        Row("source_in_top_10", top["ours"], top[best] + 1 / len(found), "higher", f"{told}; {setting}"),
        Row(
            "source_mean_rank_over_best_baseline",
            mean["ours"] / mean[least],
            1.0,
            "lower",
            f"{least} {mean[least]:.0f}",
        ),
        Row("source_in_top_10_less_than_told", mean["ten"] - top["ours"], 0.1, "lower", f"told {mean['ten']:.2f}"),
        Row("source_seconds_a_rumour", seconds, 10.0, "lower", "CPU, median"),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows(1)
