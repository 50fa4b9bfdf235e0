"""The networks that pgmpy ships, against pyAgrum built from the same arrays."""

from __future__ import annotations

import importlib.util
import math
import warnings

import numpy as np
import pytest
import torch

from inference.exact import Engine

gum = pytest.importorskip("pyagrum", reason="pyagrum is not installed: pip install pyro-zoo[peers]")

QUICK = (
    *("asia", "cancer", "earthquake", "sachs", "survey", "child", "insurance", "alarm", "hailfinder", "hepar2"),
    *("win95pts", "andes", "pigs", "munin1"),
)
SLOW = ("water", "mildew", "barley", "pathfinder", "munin2", "munin3", "munin4", "munin", "link", "diabetes")
NETWORKS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
EXECUTORS = ["torch", *(["compiled"] if importlib.util.find_spec("numba") else [])]


def shipped(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.utils import get_example_model

        return get_example_model(name)


def tables(graph) -> dict:
    """By variable its parents and P(variable | parents), the columns summing to one, the variable's axis last."""
    found = {}
    for cpd in graph.get_cpds():
        values = np.moveaxis(np.asarray(cpd.values, dtype=np.float64), 0, -1)
        found[cpd.variable] = (list(cpd.variables[1:]), values / values.sum(-1, keepdims=True))
    return found


def agrum(of: dict):
    """pyAgrum's network: its own readers go through single precision."""
    network = gum.BayesNet()
    for v, (_, table) in of.items():
        network.add(gum.LabelizedVariable(v, v, table.shape[-1]))
    for v, (parents, _) in of.items():
        for parent in parents:
            network.addArc(parent, v)
    for v, (parents, table) in of.items():
        order = [[*parents, v].index(name) for name in reversed(network.cpt(v).names)]
        network.cpt(v).fillWith(np.transpose(table, order).ravel().tolist())
    return network


def rows_of(of: dict, order: list[str], random: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    codes: dict[str, np.ndarray] = {}
    for v in order:
        parents, table = of[v]
        given = np.array([table[tuple(codes[p][row] for p in parents)] for row in range(rows)])
        codes[v] = np.array([random.choice(len(p), p=p) for p in given])
    return codes


@pytest.mark.parametrize("name", NETWORKS)
def test_every_posterior_and_the_log_evidence(name):
    graph, random, rows = shipped(name), np.random.default_rng(7), 2
    of = tables(graph)
    peer = agrum(of)
    order = [peer.variable(node).name() for node in peer.topologicalOrder()]
    codes = rows_of(of, order, random, rows)
    known = {order[i]: codes[order[i]] for i in random.choice(len(order), max(1, len(order) // 5), replace=False)}
    wanted = [posteriors(peer, {v: int(column[row]) for v, column in known.items()}) for row in range(rows)]
    for executor in EXECUTORS:
        answer = Engine(graph, executor=executor).marginals({v: torch.from_numpy(c) for v, c in known.items()})
        assert set(answer.values) == set(order) - set(known)
        for row, (log_evidence, truth) in enumerate(wanted):
            assert answer.log_evidence[row].item() == pytest.approx(log_evidence, rel=1e-10)
            for v, posterior in truth.items():
                np.testing.assert_allclose(answer.values[v][row], posterior, rtol=0, atol=1e-10, err_msg=v)


def posteriors(peer, evidence: dict[str, int]) -> tuple[float, dict[str, np.ndarray]]:
    engine = gum.LazyPropagation(peer)
    engine.setEvidence(evidence)
    engine.makeInference()
    found = {v: engine.posterior(v).toarray() for v in peer.names() if v not in evidence}
    return math.log(engine.evidenceProbability()), found
