"""What a file says of a network, whatever its format; checked before pgmpy sees it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from zoo.graph_files.text import Fault, near

TOLERANCE = 1e-3
"""How far from one a column may sum: files round their decimals."""


@dataclass(frozen=True)
class Table:
    """A factor over its scope: `values` has an axis a variable, the last one the child's where there is a child."""

    scope: tuple[str, ...]
    values: np.ndarray
    offset: int | None = None
    line: int | None = None

    def fault(self, message: str) -> Fault:
        return Fault(message, self.offset, self.line)


@dataclass(frozen=True)
class Directed:
    """A Bayesian network: p(x) = prod_v p(x_v | x_parents(v)), a table for each variable."""

    states: Mapping[str, list[str]]
    tables: Sequence[Table]
    name: str = "unknown"
    kind = "BAYES"

    def check(self) -> None:
        check_states(self.states)
        seen: set[str] = set()
        for table in self.tables:
            child = table.scope[-1]
            _check_table(table, self.states, f"table of {child!r}")
            if child in seen:
                raise table.fault(f"variable {child!r} has two tables")
            seen.add(child)
            _check_columns(table, self.states)
        if missing := [v for v in self.states if v not in seen]:
            raise Fault(f"variable {missing[0]!r} has no table")
        self._check_cycles()

    def _check_cycles(self) -> None:
        graph = nx.DiGraph((parent, table.scope[-1]) for table in self.tables for parent in table.scope[:-1])
        if not nx.is_directed_acyclic_graph(graph):
            cycle = [edge[0] for edge in nx.find_cycle(graph)]
            table = next(table for table in self.tables if table.scope[-1] == cycle[0])
            raise table.fault(f"the graph has a cycle: {' -> '.join([*cycle, cycle[0]])}")

    def graph(self) -> Any:
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.models import DiscreteBayesianNetwork

        graph = DiscreteBayesianNetwork()
        graph.add_nodes_from(self.states)
        edges = [(parent, table.scope[-1]) for table in self.tables for parent in table.scope[:-1]]
        # the graph is known to have no cycle: pgmpy would look for one at each edge
        nx.DiGraph.add_edges_from(graph, edges, weight=None)
        graph.name = self.name
        for table in self.tables:
            *parents, child = table.scope
            graph.cpds.append(
                TabularCPD(
                    child,
                    len(self.states[child]),
                    np.moveaxis(table.values, -1, 0).reshape(len(self.states[child]), -1),
                    parents or None,
                    [len(self.states[p]) for p in parents] or None,
                    {v: list(self.states[v]) for v in table.scope},
                )
            )
        return graph


@dataclass(frozen=True)
class Undirected:
    """A Markov network: p(x) is in proportion to prod_f phi_f(x_f), nonnegative tables over cliques."""

    states: Mapping[str, list[str]]
    tables: Sequence[Table]
    name: str = "unknown"
    kind = "MARKOV"

    def check(self) -> None:
        check_states(self.states)
        for i, table in enumerate(self.tables):
            _check_table(table, self.states, f"table {i} ({', '.join(table.scope)})")

    def graph(self) -> Any:
        from pgmpy.factors.discrete import DiscreteFactor
        from pgmpy.models import DiscreteMarkovNetwork

        graph = DiscreteMarkovNetwork()
        graph.add_nodes_from(self.states)
        for table in self._whole():
            scope = list(table.scope)
            pairs = ((u, v) for i, u in enumerate(scope) for v in scope[i + 1 :])
            nx.Graph.add_edges_from(graph, pairs, weight=None)
            names = {v: list(self.states[v]) for v in scope}
            graph.factors.append(DiscreteFactor(scope, list(table.values.shape), table.values.ravel(), names))
        graph.name = self.name
        return graph

    def _whole(self) -> Iterator[Table]:
        """The tables as pgmpy has them: constants in the first of them, ones for a variable that has none."""
        factor = math.prod(float(table.values) for table in self.tables if not table.scope)
        tables = [table for table in self.tables if table.scope]
        held = {v for table in tables for v in table.scope}
        bare = [v for v in self.states if v not in held]
        tables += [Table((v,), np.ones(len(self.states[v]))) for v in bare]
        yield Table(tables[0].scope, tables[0].values * factor)
        yield from tables[1:]


def draft_of(graph: Any) -> Directed | Undirected:
    """What a pgmpy network says, its names as text."""
    name = str(getattr(graph, "name", "") or "unknown")
    if hasattr(graph, "get_cpds"):
        order = list(graph.nodes())
        found = [(v, graph.get_cpds(v)) for v in order]
        for v, cpd in found:
            if cpd is None:
                raise Fault(f"variable {v!r} has no table")
            if not hasattr(cpd, "state_names"):
                raise Fault(f"variable {v!r} has a {type(cpd).__name__}, but a table is expected")
        states = _as_text({v: cpd.state_names[v] for v, cpd in found})
        return Directed(states, [_table(cpd, cpd.state_names, graph) for _, cpd in found], name)
    if hasattr(graph, "get_factors"):
        names: dict[Hashable, list] = {v: [] for v in graph.nodes()}
        for factor in graph.get_factors():
            names.update({v: factor.state_names[v] for v in factor.variables})
        return Undirected(_as_text(names), [_factor(factor) for factor in graph.get_factors()], name)
    raise TypeError(
        f"graph must be a pgmpy DiscreteBayesianNetwork or DiscreteMarkovNetwork, not {type(graph).__name__}"
    )


def _table(cpd: Any, own: Mapping[Hashable, list], graph: Any) -> Table:
    """A table by the state order that each parent's own table has, which pgmpy doesn't hold its children to."""
    child, *parents = cpd.variables
    values = np.asarray(cpd.values, dtype=np.float64)
    for axis, parent in enumerate(parents, start=1):
        wanted = graph.get_cpds(parent).state_names[parent]
        if list(own[parent]) != list(wanted):
            if sorted(map(str, own[parent])) != sorted(map(str, wanted)):
                raise Fault(
                    f"the table of {child!r} names the states of {parent!r} {own[parent]}, its own table {wanted}"
                )
            values = values.take([list(own[parent]).index(state) for state in wanted], axis)
    return Table((*map(str, parents), str(child)), np.moveaxis(values, 0, -1))


def _factor(factor: Any) -> Table:
    return Table(tuple(map(str, factor.variables)), np.asarray(factor.values, dtype=np.float64))


def _as_text(states: Mapping[Hashable, list]) -> dict[str, list[str]]:
    texts = [str(v) for v in states]
    if len(set(texts)) < len(texts):
        twice = next(name for name in texts if texts.count(name) > 1)
        raise Fault(f"two variables are both written {twice!r}")
    return {str(v): [str(state) for state in names] for v, names in states.items()}


def check_states(states: Mapping[str, list[str]]) -> None:
    """Refuse a network without variables, and variables without states or with one twice."""
    if not states:
        raise Fault("it holds no variables")
    for v, names in states.items():
        if not names:
            raise Fault(f"variable {v!r} has no states")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Fault(f"variable {v!r} has the state {twice!r} twice")


def shaped(states: Mapping[str, list[str]], scope: Sequence[str], values: Sequence[float], table: Table) -> np.ndarray:
    """A flat list of numbers as an array with an axis for each variable of the scope."""
    for v in scope:
        if v not in states:
            raise table.fault(f"there is no variable {v!r}{near(v, states)}")
    shape = [len(states[v]) for v in scope]
    if len(values) != math.prod(shape):
        raise table.fault(
            f"the table of {table.scope[-1]!r} has {len(values)} values, but {math.prod(shape)} were expected"
        )
    return np.array(values, dtype=np.float64).reshape(shape)


def _check_table(table: Table, states: Mapping[str, list[str]], what: str) -> None:
    for v in table.scope:
        if v not in states:
            raise table.fault(f"{what}: there is no variable {v!r}{near(v, states)}")
    if len(set(table.scope)) < len(table.scope):
        raise table.fault(f"{what}: a variable is named twice in it")
    wanted = tuple(len(states[v]) for v in table.scope)
    if table.values.shape != wanted:
        raise table.fault(f"{what} has {table.values.size} values, but {math.prod(wanted)} were expected")
    wrong = ~np.isfinite(table.values) | (table.values < 0)
    if wrong.any():
        raise table.fault(f"{what} has the value {table.values[wrong][0]:g}, which is no probability")


def _check_columns(table: Table, states: Mapping[str, list[str]]) -> None:
    sums = table.values.sum(-1)
    wrong = np.abs(sums - 1) > TOLERANCE
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        *parents, child = table.scope
        column = ", ".join(f"{p} = {states[p][i]}" for p, i in zip(parents, place, strict=True))
        raise table.fault(f"P({child}{' | ' if column else ''}{column}) sums to {sums[place]:.6g}, not to one")
