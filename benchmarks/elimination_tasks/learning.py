"""EM on alarm with a tenth of the cells missing, beside pgmpy's fit to the rows that are complete."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd

from benchmarks.common import Row
from benchmarks.elimination_tasks.networks import Network, load
from inference.em import em
from zoo.bayesian_network import BayesianNetwork

NETWORK = "alarm"
N, MISSING, STEPS = 10_000, 0.1, 30
Tables = dict[str, tuple[list[str], np.ndarray]]


def with_gaps(network: Network, seed: int = 0) -> pd.DataFrame:
    """Rows drawn from the network, named states, a tenth of the cells missing at random."""
    random = np.random.default_rng(seed)
    columns = {}
    for v, codes in network.sample(N, random).items():
        names = np.array(network.graph.get_cpds(v).state_names[v], dtype=object)
        columns[v] = np.where(random.random(N) < MISSING, None, names[codes])
    return pd.DataFrame(columns)


def distance(network: Network, found: Tables) -> float:
    """Mean absolute difference to the true tables, each configuration weighted by how often it comes up."""
    codes = network.sample(50_000, np.random.default_rng(99))
    parts = []
    for v, (parents, table) in network.tables.items():
        theirs, fitted = found[v]
        difference = fitted[tuple(codes[p] for p in theirs)] - table[tuple(codes[p] for p in parents)]
        parts.append(np.abs(difference).sum(-1).mean())
    return float(np.mean(parts))


def complete_rows(network: Network, frame: pd.DataFrame) -> Tables:
    """pgmpy's fit to the rows that lack nothing: its own EM drops the others too."""
    from pgmpy.estimators import MaximumLikelihoodEstimator
    from pgmpy.models import DiscreteBayesianNetwork

    graph = DiscreteBayesianNetwork(network.graph.edges())
    graph.add_nodes_from(network.variables)
    states = {v: network.graph.get_cpds(v).state_names[v] for v in network.variables}
    estimator = MaximumLikelihoodEstimator(graph, frame.dropna(), state_names=states)
    graph.add_cpds(*estimator.get_parameters())
    return in_states_of(network, Network("complete rows", graph))


def in_states_of(network: Network, fitted: Network) -> Tables:
    """The fitted tables with their states in the true network's order: estimators sort them."""
    found = {}
    for v, (parents, table) in fitted.tables.items():
        names, cpd = network.graph.get_cpds, fitted.graph.get_cpds(v)
        axes = [[list(cpd.state_names[u]).index(name) for name in names(u).state_names[u]] for u in (*parents, v)]
        found[v] = (parents, table[np.ix_(*axes)])
    return found


def rows() -> list[Row]:
    network = load(NETWORK)
    frame = with_gaps(network)
    model = BayesianNetwork(graph=network.graph)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = em(model, frame, steps=STEPS, progress=False)
    seconds = time.process_time() - start
    ours = distance(network, in_states_of(network, Network("EM", fitted.model.graph)))
    theirs = distance(network, complete_rows(network, frame))
    history = fitted.history.iloc[:, 1].to_numpy()
    return [
        Row("alarm_em_seconds", seconds, 60, "lower"),
        Row("alarm_em_least_gain", float(np.diff(history).min()), -1e-9, "higher"),
        Row("alarm_em_distance_over_complete_rows", ours / theirs, 1, "lower", "pgmpy on complete rows"),
    ]
