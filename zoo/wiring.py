"""How a hybrid network is declared: its graph of tables, its densities parents first, what fills each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
from torch import nn

from zoo.base import LatentVariable, as_shape
from zoo.bayesian_network import BayesianNetwork
from zoo.nodes import Density, Node, context_size
from zoo.registry import near
from zoo.slots import Slot, fill


def discrete_of(
    states: Mapping[str, int | Sequence[Any]] | None,
    network: str | None,
    graph: Any,
    parents: Mapping[str, Sequence[str]],
    tables: Mapping[str, Sequence[Any]],
    densities: Mapping[str, Any],
    pseudo_count: float,
) -> BayesianNetwork:
    """The network of the discrete nodes."""
    if sum(part is not None for part in (states, network, graph)) != 1:
        raise ValueError(
            'HybridNetwork needs one of states={"digit": 10, ...}, network="asia" and graph=<pgmpy network>'
        )
    if states is None:
        held = BayesianNetwork(network=network, graph=graph, pseudo_count=pseudo_count)
        odd = [v for v in held.variables if not isinstance(v, str)]
        if odd:
            raise TypeError(f"the variables of a hybrid network have texts for names, but one is {odd[0]!r}")
        return held
    names = {v: list(range(own)) if isinstance(own, int) else list(own) for v, own in states.items()}
    for v in tables:
        if v not in names:
            raise ValueError(f"tables: there is no discrete variable {v!r}{near(v, names)}")
    for v, own in names.items():
        if v in densities:
            raise ValueError(f"{v!r} has states and a density; keep one of them")
        if len(own) < 2 or len(set(map(str, own))) < len(own):
            raise ValueError(f"{v!r} needs two states or more, all different, not {own}")
    return BayesianNetwork(graph=_graph(names, parents, tables, densities), pseudo_count=pseudo_count)


def _graph(
    names: Mapping[str, list],
    parents: Mapping[str, Sequence[str]],
    tables: Mapping[str, Sequence[Any]],
    densities: Mapping[str, Any],
) -> Any:
    """The pgmpy graph of the discrete nodes."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    graph = DiscreteBayesianNetwork()
    graph.add_nodes_from(names)
    for v, own in names.items():
        above = list(parents.get(v, ()))
        for p in above:
            if p in densities:
                raise ValueError(
                    f"{v!r} is a table and can't have the parent {p!r}, a density: give {v!r} a density too, "
                    "such as Categorical"
                )
            if p not in names:
                raise ValueError(f"parents: {v!r} has the unknown parent {p!r}{near(p, names)}")
        shape = (*(len(names[p]) for p in above), len(own))
        table = np.asarray(tables.get(v, np.full(shape, 1 / len(own))), dtype=np.float64)
        if table.shape != shape or (table < 0).any() or (abs(table.sum(-1) - 1) > 1e-6).any():
            raise ValueError(
                f"tables: {v!r} needs probabilities of shape {list(shape)} that sum to one on the last axis"
            )
        graph.add_edges_from([(p, v) for p in above])
        known = {u: names[u] for u in (v, *above)}
        columns = table.reshape(-1, len(own)).T
        graph.add_cpds(TabularCPD(v, len(own), columns, above, list(shape[:-1]), state_names=known))
    return graph


def order_of(
    discrete: BayesianNetwork,
    parents: Mapping[str, Sequence[str]],
    densities: Mapping[str, Any],
    separate: Sequence[str],
) -> list[str]:
    """The densities, parents first."""
    known = [*discrete.variables, *densities]
    if not densities:
        raise ValueError("HybridNetwork needs a density at least; a network of tables alone is a BayesianNetwork")
    for where, names in (("parents", parents), ("separate", separate)):
        for name in names:
            if name not in known:
                raise ValueError(f"{where}: there is no variable {name!r}{near(name, known)}")
    graph = nx.DiGraph()
    graph.add_nodes_from(densities)
    for name in densities:
        if name in discrete.variables:
            raise ValueError(f"{name!r} is a table of the network and a density; keep one of them")
        for p in parents.get(name, ()):
            if p not in known:
                raise ValueError(f"parents: {name!r} has the unknown parent {p!r}{near(p, known)}")
            graph.add_edge(p, name)
    if not nx.is_directed_acyclic_graph(graph):
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(graph))
        raise ValueError(f"a network has no cycles, but this one has {cycle}")
    return [name for name in nx.lexicographical_topological_sort(graph, key=known.index) if name in densities]


def nodes_of(
    order: Sequence[str],
    discrete: BayesianNetwork,
    parents: Mapping[str, Sequence[str]],
    densities: Mapping[str, Slot],
    shapes: Mapping[str, int | Sequence[int]],
    separate: Sequence[str],
) -> list[Node]:
    cards = {v: len(names) for v, names in discrete.states.items()}
    sizes: dict[str, int] = {}
    nodes = []
    for name in order:
        above = list(parents.get(name, ()))
        states = {p: cards[p] for p in above if p in cards}
        own = name in separate
        context = context_size(above, states, sizes, own)
        count = int(np.prod(list(states.values()))) if own else 1
        built = [_build(name, densities[name], shapes.get(name), context) for _ in range(count)]
        if own and count > 1 and built[0] is built[1]:
            raise ValueError(
                f"separate: {name!r} needs a model for each state: give what builds one, not a built model"
            )
        nodes.append(Node(name, above, states, built, own))
        sizes[name] = nodes[-1].features
    return nodes


def _build(name: str, slot: Slot, shape: int | Sequence[int] | None, context: int | None) -> Density:
    """The model in a density's slot, of the shape declared or of its own."""
    if shape is None and isinstance(slot, nn.Module):
        shape = getattr(slot, "event_shape", None)
    elif shape is None:
        try:
            slot = slot(None, context_shape=context)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"density {name!r} needs the shape of one value, shapes={{{name!r}: ...}}: {error}"
            ) from error
        shape = slot.event_shape
    assert shape is not None
    built = slot if isinstance(slot, nn.Module) else slot(shape, context_shape=context)
    if not isinstance(built, LatentVariable):
        return fill(built, name, shape, context)
    for what, has, fits in (
        ("event_shape", built.event_shape, as_shape(shape)),
        ("context_shape", built.context_shape, as_shape(context)),
    ):
        if has != fits:
            raise ValueError(f"{name}: {type(built).__name__} has {what} {has}, but {fits} fits here")
    return built
