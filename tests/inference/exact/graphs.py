"""The random networks as pgmpy's, and evidence as users write it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pgmpy.factors.discrete import DiscreteFactor, TabularCPD
from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork

from tests.inference.exact.enumeration import Evidence, Network


def name(v: int) -> str:
    return f"v{v}"


def states(network: Network, v: int) -> list[str]:
    """Names whose alphabetical order is not that of the codes."""
    return [f"{'dacb'[code]}{v}" for code in range(network.cards[v])]


def graph_of(network: Network) -> Any:
    """The same network by pgmpy."""
    return _directed(network) if network.structure.parents is not None else _undirected(network)


def _directed(network: Network) -> DiscreteBayesianNetwork:
    graph = DiscreteBayesianNetwork()
    graph.add_nodes_from(map(name, range(len(network.cards))))
    assert network.structure.parents is not None
    for v, parents in enumerate(network.structure.parents):
        graph.add_edges_from((name(u), name(v)) for u in parents)
        graph.add_cpds(
            TabularCPD(
                name(v),
                network.cards[v],
                network.tables[v].reshape(-1, network.cards[v]).T,
                evidence=[name(u) for u in parents] or None,
                evidence_card=[network.cards[u] for u in parents] or None,
                state_names={name(u): states(network, u) for u in (v, *parents)},
            )
        )
    return graph


def _undirected(network: Network) -> DiscreteMarkovNetwork:
    graph = DiscreteMarkovNetwork()
    graph.add_nodes_from(map(name, range(len(network.cards))))
    for scope, table in zip(network.structure.scopes, network.tables, strict=True):
        graph.add_edges_from((name(u), name(v)) for u in scope for v in scope if u < v)
        named = {name(v): states(network, v) for v in scope}
        graph.add_factors(DiscreteFactor([name(v) for v in scope], table.shape, table, state_names=named))
    return graph


def given(network: Network, evidence: Evidence) -> dict[str, Any]:
    """Hard evidence by state names, soft as arrays."""
    hard = {name(v): [states(network, v)[code] for code in codes] for v, codes in evidence.hard.items()}
    return hard | {name(v): likelihood for v, likelihood in evidence.soft.items()}


def with_gaps(network: Network, evidence: Evidence, random: np.random.Generator) -> tuple[dict[str, Any], Evidence]:
    """Each row's hard evidence with some of it missing, and the same as likelihoods, ones where it is missing."""
    known, soft = given(network, evidence), dict(evidence.soft)
    for v, codes in evidence.hard.items():
        missing = random.random(evidence.rows) < 0.5
        hidden = (None, np.nan)[int(random.integers(2))]
        known[name(v)] = [hidden if gone else state for state, gone in zip(known[name(v)], missing, strict=True)]
        soft[v] = np.where(missing[:, None], 1.0, codes[:, None] == np.arange(network.cards[v]))
    return known, Evidence(evidence.rows, {}, soft)
