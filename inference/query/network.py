"""Questions to a pgmpy graph of tables, answered exactly by variable elimination."""

from __future__ import annotations

import logging
import math
import operator
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import xarray as xr

from inference.protocols import graph_of, name_of
from inference.query.answer import Answer
from inference.query.question import Question, near


def answers(question: Question) -> bool:
    return graph_of(question.model) is not None


def answer(question: Question) -> Answer:
    """A distribution for each target, and log P(given), under the interventions.

    An intervention do(v = s) cuts the edges into v and sets it, so that P(target | given, do) is that of the
    truncated factorisation: Causality (Pearl, 2000), section 3.2.
    """
    graph = graph_of(question.model)
    if question.context is not None:
        raise ValueError("a network takes no context: give what is known of its variables in `given`")
    states = _states(graph)
    given = {v: _state(states, v, value, "given") for v, value in question.given.items()}
    do = {v: _state(states, v, value, "do") for v, value in question.do.items()}
    targets = {target: _variables(states, target) for target in question.targets}
    _check_overlap(targets, given, do)
    with _quiet():
        graph = _cut(graph, states, do)
        log_evidence = _log_evidence(graph, given, do)
        values = {target: _distribution(graph, states, variables, given | do) for target, variables in targets.items()}
    return Answer(
        str(replace(question, given=given, do=do)),
        values,
        "variable elimination (pgmpy)",
        "exact",
        log_evidence,
    )


def _states(graph: Any) -> dict[Hashable, list]:
    """The states of each variable, by name."""
    states = {}
    for v in graph.nodes():
        cpd = graph.get_cpds(v)
        if cpd is None:
            raise ValueError(f"variable {v!r} of the graph has no table: add_cpds one, or fit the graph")
        if not hasattr(cpd, "state_names"):
            raise TypeError(f"variable {v!r} has a {name_of(cpd)}, but elimination needs a table for each variable")
        states[v] = list(cpd.state_names[v])
    return states


def _state(states: Mapping[Hashable, list], variable: Hashable, value: Any, where: str) -> Any:
    """The name of a state given by its name or its code."""
    if variable not in states:
        raise ValueError(f"{where}: the network has no variable {variable!r}{near(variable, states)}")
    names = states[variable]
    # True == 1 in Python, yet neither stands for the other here
    named = [
        n
        for n in names
        if isinstance(value, Hashable) and n == value and isinstance(n, bool) == isinstance(value, bool)
    ]
    if named:
        return named[0]
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        text = [str(name) for name in names]
        if str(value) in text:  # a state read from a file as "1"
            return names[text.index(str(value))]
        # where states are named by whole numbers, a code would be ambiguous
        if 0 <= value < len(names) and not any(name.isdigit() for name in text):
            return names[operator.index(value)]
    raise ValueError(f"{where}: {variable!r} has no state {value!r}{near(value, names)}")


def _variables(states: Mapping[Hashable, list], target: Hashable) -> tuple[Hashable, ...]:
    variables = (target,) if target in states or not isinstance(target, tuple) else target
    for v in variables:
        if v not in states:
            raise ValueError(f"the network has no variable {v!r} to ask for{near(v, states)}")
    if not variables or len(set(variables)) < len(variables):
        raise ValueError(f"a joint target names different variables, not {target!r}")
    return variables


def _check_overlap(targets: Mapping, given: Mapping, do: Mapping) -> None:
    asked = {v for variables in targets.values() for v in variables}
    for these, those, message in (
        (given, do, "is both given and set by do; keep one of them"),
        (asked, given, "is both a target and given, so its value is known; ask for it without giving it"),
        (asked, do, "is both a target and set by do, so its value is known; ask for it without setting it"),
    ):
        for v in these:
            if v in those:
                raise ValueError(f"{v!r} {message}")


def _cut(graph: Any, states: Mapping[Hashable, list], do: Mapping[Hashable, Any]) -> Any:
    """The graph with the edges into what is set cut, and its tables certain of the value."""
    if not do:
        return graph
    from pgmpy.factors.discrete import TabularCPD

    graph = graph.copy()
    for v, value in do.items():
        graph.remove_cpds(graph.get_cpds(v))
        graph.remove_edges_from([(parent, v) for parent in list(graph.get_parents(v))])
        table = [[float(name == value)] for name in states[v]]
        graph.add_cpds(TabularCPD(v, len(table), table, state_names={v: list(states[v])}))
    return graph


def _log_evidence(graph: Any, given: Mapping[Hashable, Any], do: Mapping[Hashable, Any]) -> float:
    """log P(given) in nats, by the chain rule: neither pruning nor underflow hides an impossibility."""
    total, known = 0.0, dict(do)
    for v in nx.topological_sort(graph):
        if v not in given:
            continue
        factor = _eliminate(graph, (v,), known)
        p = float(factor.values[factor.state_names[v].index(given[v])])
        known[v] = given[v]
        if not p > 0:
            told = ", ".join(f"{name} = {value}" for name, value in known.items() if name in given)
            under = f" under do({', '.join(f'{n} = {s}' for n, s in do.items())})" if do else ""
            raise ValueError(f"what is given has probability zero{under}: {told}")
        total += math.log(p)
    return total


def _distribution(
    graph: Any,
    states: Mapping[Hashable, list],
    variables: tuple[Hashable, ...],
    known: Mapping[Hashable, Any],
) -> xr.DataArray:
    factor = _eliminate(graph, variables, known)
    axes = [list(factor.variables).index(v) for v in variables]
    values = np.transpose(np.asarray(factor.values), axes)
    coords = {v: _labels(states[v]) for v in variables}
    return xr.DataArray(values, dims=variables, coords=coords, name="probability")


def _eliminate(graph: Any, variables: tuple[Hashable, ...], known: Mapping[Hashable, Any]) -> Any:
    from pgmpy.inference import VariableElimination

    return VariableElimination(graph).query(list(variables), evidence=dict(known), show_progress=False)


def _labels(names: list) -> np.ndarray:
    if all(isinstance(name, str) for name in names):
        return np.array(names)
    labels = np.empty(len(names), dtype=object)
    labels[:] = names
    return labels


@contextmanager
def _quiet() -> Iterator[None]:
    """pgmpy's own warnings and log lines kept from the user, for this block only."""
    logger = logging.getLogger("pgmpy")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
