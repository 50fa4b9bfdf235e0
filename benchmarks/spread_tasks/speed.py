"""SIR on G(n, 10 / n) of 100,000 nodes and 500,000 edges: ours beside plain Python, NDlib and EoN.

An edge passes it on with chance 0.03 a step, a node recovers with chance 0.1, 100 nodes begin, 100 steps. All have
their graph ready; EoN runs in continuous time, with the rates whose chances over a step are the same.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.common import Row, alternate, ratio
from zoo.spread import Compartments, Graph, GraphSpread, Transition

NODES, DEGREE = 100_000, 10
PASSES, RECOVERS = 0.03, 0.1
BEGUN, STEPS = 100, 100
BATCH, SMALL = 1_000, 10_000
SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])


def edges(n: int, seed: int = 0) -> np.ndarray:
    """[E, 2] of G(n, 10 / n): a Poisson count of pairs, drawn anew where they are the same or one node twice."""
    rng = np.random.default_rng(seed)
    count = rng.binomial(n * (n - 1) // 2, DEGREE / n)
    found = np.zeros(0, dtype=np.int64)
    while len(found) < count:
        a, b = rng.integers(0, n, (2, count - len(found) + 100))
        found = np.unique(np.concatenate([found, (np.minimum(a, b) * n + np.maximum(a, b))[a != b]]))
    return np.stack(divmod(rng.choice(found, count, replace=False), n), 1)


def spread(graph: Graph) -> GraphSpread:
    return GraphSpread(SIR, graph, {"beta": -math.log1p(-PASSES), "gamma": -math.log1p(-RECOVERS)})


def naive(neighbours: list[list[int]], seed: int) -> int:
    """Ever infected, by sets: the fastest of several ways to write it."""
    chance = random.Random(seed).random
    susceptible, infected = set(range(BEGUN, len(neighbours))), set(range(BEGUN))
    for _ in range(STEPS):
        fresh = {u for v in infected for u in neighbours[v] if u in susceptible and chance() < PASSES}
        infected = {v for v in infected if chance() >= RECOVERS}
        susceptible -= fresh
        infected |= fresh
    return len(neighbours) - len(susceptible)


def by_ndlib(graph: object, seed: int) -> int:
    import ndlib.models.epidemics as epidemics
    import ndlib.models.ModelConfig as configuration

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (NDlib draws from numpy's global state)
    model, config = epidemics.SIRModel(graph), configuration.Configuration()
    config.add_model_parameter("beta", PASSES)
    config.add_model_parameter("gamma", RECOVERS)
    config.add_model_initial_configuration("Infected", list(range(BEGUN)))
    model.set_initial_status(config)
    done = model.iteration_bunch(STEPS + 1, node_status=False)
    return NODES - done[-1]["node_count"][0]


def by_eon(graph: object, seed: int) -> int:
    import EoN

    random.seed(seed)
    rates = -math.log1p(-PASSES), -math.log1p(-RECOVERS)
    _, susceptible, *_ = EoN.fast_SIR(graph, *rates, initial_infecteds=range(BEGUN), tmax=STEPS)
    return NODES - int(susceptible[-1])


def contestants(pairs: np.ndarray, sizes: dict[str, list[int]]) -> dict[str, Callable[[], object]]:
    """Each with its graph ready; each run leaves its final size in `sizes`."""
    import networkx as nx

    graph, peers = Graph.of(pairs, nodes=range(NODES)), nx.Graph(pairs.tolist())
    peers.add_nodes_from(range(NODES))
    neighbours = [list(peers[v]) for v in range(NODES)]
    ours = spread(graph)

    def run(name: str, once: Callable[[int], int]) -> Callable[[], object]:
        return lambda: sizes.setdefault(name, []).append(once(len(sizes.get(name, ()))))

    def mine(seed: int) -> int:
        return int((ours.simulate({"I": range(BEGUN)}, STEPS, seed=seed).reached >= 0).sum())

    return {
        "ours": run("ours", mine),
        "plain Python": run("plain Python", lambda seed: naive(neighbours, seed)),
        "NDlib": run("NDlib", lambda seed: by_ndlib(peers, seed)),
        "EoN": run("EoN", lambda seed: by_eon(peers, seed)),
    }


def rows(rounds: int) -> list[Row]:
    sizes: dict[str, list[int]] = {}
    times = alternate(contestants(edges(NODES), sizes), rounds)
    told = [Row(f"SIR, 100,000 nodes: CPU over {peer}'s", ratio(times, "ours", peer), goal, "lower", peer)
            for peer, goal in (("plain Python", 0.06), ("NDlib", 0.02), ("EoN", 0.04))]  # fmt: skip
    told.append(Row("SIR, 100,000 nodes: CPU seconds", statistics.median(times["ours"]), 0.2, "lower"))
    told.append(Row("final sizes apart, standard errors", _apart(sizes["ours"], sizes["plain Python"]), 3, "lower"))
    return [*told, *_large(), *_batched(rounds), *_gpu()]


def _apart(ours: list[int], theirs: list[int]) -> float:
    """The difference of the means over its standard error."""
    error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    return abs(statistics.mean(ours) - statistics.mean(theirs)) / error


def _large() -> list[Row]:
    """A million nodes, in a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        made, seconds, gigabytes = pool.apply(_million)
    return [
        Row("1,000,000 nodes: CPU s, edges to rows", made, 5, "lower"),
        Row("1,000,000 nodes: CPU s, 100 steps", seconds, 5, "lower"),
        Row("1,000,000 nodes: peak memory, GB", gigabytes, 4, "lower"),
    ]


def _million() -> tuple[float, float, float]:
    torch.set_num_threads(1)
    pairs, start = edges(1_000_000), time.process_time()
    graph, made = Graph.of(pairs, nodes=range(1_000_000)), time.process_time()
    spread(graph).simulate({"I": range(BEGUN)}, STEPS)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return made - start, time.process_time() - made, memory


def _batched(rounds: int) -> list[Row]:
    """Many replicates side by side, a replicate beside one alone."""
    model = spread(Graph.of(edges(SMALL), nodes=range(SMALL)))
    times = alternate(
        {
            "batch": lambda: model.simulate({"I": range(BEGUN)}, STEPS, replicates=BATCH),
            "alone": lambda: [model.simulate({"I": range(BEGUN)}, STEPS, seed=seed) for seed in range(20)],
        },
        max(1, rounds // 3),
    )
    each = statistics.median(times["batch"]) / BATCH
    return [
        Row("1,000 replicates of 10,000 nodes: CPU s each", each, 0.02, "lower"),
        Row("1,000 replicates: a replicate over one alone", ratio(times, "batch", "alone") * 20 / BATCH, 1, "lower"),
    ]


def _gpu() -> list[Row]:
    if not torch.cuda.is_available():
        return []
    model, seconds = spread(Graph.of(edges(NODES), nodes=range(NODES)).to("cuda")), []
    for replicates in (1, 20, 20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        model.simulate({"I": range(BEGUN)}, STEPS, replicates=replicates)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / replicates)
    return [Row("GPU, 20 replicates of 100,000 nodes: s each", seconds[-1], 0.1, "lower")]
