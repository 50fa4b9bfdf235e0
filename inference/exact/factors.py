"""A graph as elimination sees it: variables, their states, and tables."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from inference.exact.program import Structure
from inference.protocols import Graph, Tabular, name_of, offers

ROUNDING = 1e-2
"""How far from one a column of a table may sum: files round; more than this is a mistake."""


@dataclass(frozen=True)
class Factors:
    """The tables of a graph, by position of its variables.

    `tables[t]` has an axis for each variable of `structure.scopes[t]`; in a directed graph each is
    P(v | parents), its columns renormalised to sum to one exactly, for files round. `log_constant` is what was
    divided out of the tables of an undirected graph, in nats.
    """

    variables: tuple[Hashable, ...]
    states: Mapping[Hashable, Sequence[Any]]
    structure: Structure
    tables: tuple[Tensor, ...]
    log_constant: float = 0.0

    @property
    def place(self) -> dict[Hashable, int]:
        return {v: i for i, v in enumerate(self.variables)}

    def without_causes(self, variables: Iterable[int]) -> Factors:
        """The graph with all edges into these variables cut: what an intervention that sets them leaves.

        Causality (Pearl, 2000), section 3.2.
        """
        if self.structure.parents is None:
            raise ValueError("do needs a directed graph: a Markov network says nothing of causes")
        scopes, parents, tables = list(self.structure.scopes), list(self.structure.parents), list(self.tables)
        for v in variables:
            scopes[v], parents[v] = (v,), ()
            tables[v] = torch.ones_like(tables[v][(0,) * (tables[v].dim() - 1)])
        structure = Structure(self.structure.cards, tuple(scopes), tuple(parents))
        return replace(self, structure=structure, tables=tuple(tables))


def factors_of(graph: Any) -> Factors:
    """The tables of a pgmpy network or factor graph, or of a model that offers them (`Tabular`)."""
    if isinstance(graph, Factors):
        return graph
    if offers(graph, Tabular):
        return _of_tabular(graph)
    held = getattr(graph, "graph", None)
    for candidate in (graph, held):
        if offers(candidate, Graph):
            return _of_directed(candidate)
        if hasattr(candidate, "get_factors"):
            return _of_undirected(candidate)
    raise TypeError(
        f"elimination needs a network of tables, a pgmpy DiscreteBayesianNetwork or DiscreteMarkovNetwork say, "
        f"not a {name_of(graph)}"
    )


def _of_tabular(model: Any) -> Factors:
    variables = tuple(model.variables)
    parents = tuple(tuple(above) for above in model.parents)
    states = {v: list(model.states[v]) for v in variables}
    structure = Structure(
        tuple(len(states[v]) for v in variables),
        tuple((*above, v) for v, above in enumerate(parents)),
        parents,
    )
    return Factors(variables, states, structure, tuple(model.probabilities()))


def _of_directed(graph: Any) -> Factors:
    cpds = {cpd.variable: cpd for cpd in graph.get_cpds()}
    variables = tuple(graph.nodes())
    if not variables:
        raise ValueError("the network has no variables")
    if not nx.is_directed_acyclic_graph(graph):
        cycle = " -> ".join(str(edge[0]) for edge in nx.find_cycle(graph))
        raise ValueError(f"a Bayesian network has no cycles, but this one has {cycle}")
    place = {v: i for i, v in enumerate(variables)}
    for v in variables:
        _check_cpd(graph, v, cpds)
    parents = tuple(tuple(place[p] for p in cpds[v].variables[1:]) for v in variables)
    states = {v: list(cpds[v].state_names[v]) for v in variables}
    tables = tuple(_columns(v, cpds[v], states) for v in variables)
    structure = Structure(
        tuple(len(states[v]) for v in variables),
        tuple((*above, i) for i, above in enumerate(parents)),
        parents,
    )
    return Factors(variables, states, structure, tables)


def _check_cpd(graph: Any, v: Hashable, cpds: Mapping[Hashable, Any]) -> None:
    cpd = cpds.get(v)
    if cpd is None:
        raise ValueError(f"variable {v!r} of the graph has no table: add_cpds one, or fit the graph")
    if not hasattr(cpd, "state_names"):
        raise TypeError(f"variable {v!r} has a {name_of(cpd)}, but elimination needs a table for each variable")
    edges, table = set(graph.predecessors(v)), set(cpd.variables[1:])
    if edges != table:
        raise ValueError(
            f"the table of {v!r} is given {_listed(table)}, but the edges into it come from {_listed(edges)}"
        )
    for parent in table:
        theirs = cpds[parent].state_names[parent] if parent in cpds else cpd.state_names[parent]
        if list(theirs) != list(cpd.state_names[parent]):
            raise ValueError(
                f"the table of {v!r} has the states {list(cpd.state_names[parent])} for {parent!r}, "
                f"but those are {list(theirs)}"
            )


def _listed(names: Iterable[Hashable]) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"


def _columns(v: Hashable, cpd: Any, states: Mapping[Hashable, Sequence]) -> Tensor:
    """P(v | parents), [*parents' states, states]: pgmpy has the variable's own axis first."""
    values = np.moveaxis(np.asarray(cpd.values, dtype=np.float64), 0, -1)
    total = values.sum(-1, keepdims=True)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"the table of {v!r} has an entry that is no probability")
    bad = np.abs(total[..., 0] - 1) > ROUNDING
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        given = ", ".join(f"{p} = {cpd.state_names[p][i]}" for p, i in zip(cpd.variables[1:], where, strict=True))
        sums = f"{total[..., 0][tuple(where)]:g}"
        raise ValueError(f"the table of {v!r} sums to {sums}, not 1{', given ' + given if given else ''}")
    return torch.from_numpy(values / total)


def _of_undirected(graph: Any) -> Factors:
    parts = list(graph.get_factors())
    states: dict[Hashable, list] = {}
    for factor in parts:
        for v in factor.variables:
            if states.setdefault(v, list(factor.state_names[v])) != list(factor.state_names[v]):
                raise ValueError(f"two tables have different states for {v!r}")
    if not parts:
        raise ValueError("the network has no tables: add_factors some")
    named = graph.get_variable_nodes() if hasattr(graph, "get_variable_nodes") else graph.nodes()
    for v in named:
        if v not in states:
            raise ValueError(f"variable {v!r} of the graph is in no table: add_factors one")
    variables = tuple(states)
    place = {v: i for i, v in enumerate(variables)}
    tables, constant = [], 0.0
    for factor in parts:
        values = np.asarray(factor.values, dtype=np.float64)
        greatest = values.max()
        if not np.isfinite(values).all() or (values < 0).any() or greatest <= 0:
            raise ValueError(
                f"the table of {_listed(factor.variables)} must have finite entries, none below 0, one above"
            )
        tables.append(torch.from_numpy(values / greatest))
        constant += math.log(greatest)
    structure = Structure(
        tuple(len(states[v]) for v in variables),
        tuple(tuple(place[v] for v in factor.variables) for factor in parts),
    )
    return Factors(variables, states, structure, tuple(tables), constant)
