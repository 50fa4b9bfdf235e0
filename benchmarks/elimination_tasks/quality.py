"""The engine's answers beside pyAgrum's, and its speed beside pgmpy's own loop."""

from __future__ import annotations

import statistics
import warnings
from functools import partial

import numpy as np

from benchmarks.common import Row, alternate
from benchmarks.elimination_tasks.agrum import PEER, Driver, given
from benchmarks.elimination_tasks.networks import Network, load, tensors

LOOPED = ("child", "alarm", "hepar2")


def exactness(name: str, executors: tuple[str, ...]) -> list[Row]:
    """The greatest difference of any posterior, two rows with a fifth of the variables known."""
    network = load(name)
    codes = network.evidence(2, 0)
    truth = Driver(network).fresh(codes, range(2))
    rows = []
    for executor in executors:
        answer = network.engine(executor).marginals(tensors(codes))
        worst = max(
            float(np.abs(np.asarray(answer.values[v])[row] - posterior).max())
            for row, posteriors in enumerate(truth)
            for v, posterior in posteriors.items()
        )
        rows.append(Row(f"{name}_{executor}_difference", worst, 1e-10, "lower", PEER))
    return rows


def loop(name: str, executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """pgmpy's VariableElimination, a query a target and row, over ours at 1,000 rows."""
    network, found = load(name), {executor: [] for executor in executors}
    for seed in range(sets):
        codes = network.evidence(1000, seed)
        contestants = {each: partial(network.engine(each).marginals, tensors(codes)) for each in executors}
        contestants["pgmpy"] = partial(_one_row, network, given(codes, 0))
        times = alternate(contestants, rounds)
        for each in executors:
            found[each].append(statistics.median(times["pgmpy"]) / (statistics.median(times[each]) / 1000))
    return [
        Row(f"{name}_{each}_over_pgmpy", statistics.median(found[each]), 1000, "higher", "pgmpy VariableElimination")
        for each in executors
    ]


def _one_row(network: Network, known: dict[str, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.inference import VariableElimination

        engine = VariableElimination(network.graph)
        states = {v: network.graph.get_cpds(v).state_names[v][code] for v, code in known.items()}
        for v in network.variables:
            if v not in known:
                engine.query([v], evidence=states, show_progress=False)
