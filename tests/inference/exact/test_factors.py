"""Graphs read as tables: what is taken, and what is refused."""

import warnings

import numpy as np
import pytest
import torch

from inference.exact import Engine
from inference.exact.factors import factors_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pgmpy.factors.discrete import DiscreteFactor, TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork, FactorGraph


def rain() -> DiscreteBayesianNetwork:
    graph = DiscreteBayesianNetwork([("rain", "wet")])
    states = {"rain": ["no", "yes"], "wet": ["dry", "damp", "soaked"]}
    graph.add_cpds(
        TabularCPD("rain", 2, [[0.8], [0.2]], state_names={"rain": states["rain"]}),
        TabularCPD("wet", 3, [[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]], ["rain"], [2], state_names=states),
    )
    return graph


def test_a_column_that_files_rounded_is_renormalised() -> None:
    graph = rain()
    graph.get_cpds("rain").values = np.array([0.8, 0.2004])
    engine = Engine(graph)
    assert engine.marginals().values["rain"][0].tolist() == pytest.approx([0.8 / 1.0004, 0.2004 / 1.0004])
    assert float(engine.log_evidence({"rain": "yes"})) == pytest.approx(np.log(0.2004 / 1.0004), rel=1e-12)


def test_a_table_that_does_not_sum_to_one_is_named() -> None:
    graph = rain()
    graph.get_cpds("wet").values[0, 1] = 0.5
    with pytest.raises(ValueError, match=r"the table of 'wet' sums to 1\.4, not 1, given rain = yes"):
        Engine(graph)


@pytest.mark.parametrize("entry", [-0.1, np.nan, np.inf])
def test_an_entry_that_is_no_probability_is_refused(entry: float) -> None:
    graph = rain()
    graph.get_cpds("rain").values[0] = entry
    with pytest.raises(ValueError, match="'rain' has an entry that is no probability"):
        Engine(graph)


def test_a_graph_without_a_table_is_refused() -> None:
    graph = rain()
    graph.add_node("cold")
    with pytest.raises(ValueError, match="variable 'cold' of the graph has no table"):
        Engine(graph)


def test_a_cycle_is_told() -> None:
    graph = rain()
    graph._adj["wet"]["rain"] = {}  # pgmpy refuses the edge itself
    graph._pred["rain"]["wet"] = {}
    with pytest.raises(ValueError, match=r"no cycles, but this one has (rain -> wet|wet -> rain)"):
        Engine(graph)


def test_a_table_for_other_parents_than_the_edges_is_refused() -> None:
    graph = rain()
    graph.add_edge("cold", "wet")
    graph.add_cpds(TabularCPD("cold", 2, [[0.5], [0.5]]))
    with pytest.raises(
        ValueError, match="the table of 'wet' is given rain, but the edges into it come from cold, rain"
    ):
        Engine(graph)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"needs a network of tables.*not a list"):
        factors_of([])


def markov(model):
    graph = model()
    if model is FactorGraph:
        graph.add_nodes_from(["a", "b", "c"])
    else:
        graph.add_edges_from([("a", "b"), ("b", "c")])
    first = DiscreteFactor(["a", "b"], [2, 2], [30.0, 5.0, 1.0, 10.0])
    second = DiscreteFactor(["b", "c"], [2, 3], [100.0, 1.0, 7.0, 1.0, 100.0, 0.0])
    graph.add_factors(first, second)
    if model is FactorGraph:
        graph.add_nodes_from([first, second])
        graph.add_edges_from([("a", first), ("b", first), ("b", second), ("c", second)])
    return graph


@pytest.mark.parametrize("model", [DiscreteMarkovNetwork, FactorGraph])
def test_undirected_graphs_are_normalised_by_their_sum(model) -> None:
    joint = np.einsum("ab,bc->abc", [[30.0, 5.0], [1.0, 10.0]], [[100.0, 1.0, 7.0], [1.0, 100.0, 0.0]])
    engine = Engine(markov(model))
    assert float(engine.log_evidence()) == pytest.approx(np.log(joint.sum()))
    assert engine.marginals().values["c"][0].tolist() == pytest.approx((joint.sum((0, 1)) / joint.sum()).tolist())
    known = engine.marginals({"c": [2, 0]})
    assert known.values["a"][0].tolist() == pytest.approx((joint[..., 2].sum(1) / joint[..., 2].sum()).tolist())
    assert known.log_evidence.tolist() == pytest.approx(np.log(joint.sum((0, 1))[[2, 0]]).tolist())


def test_no_intervention_without_directions() -> None:
    with pytest.raises(ValueError, match="do needs a directed graph"):
        Engine(markov(DiscreteMarkovNetwork)).marginals(do={"a": 1})


def test_a_table_over_the_budget_is_told_before_it_is_made() -> None:
    graph = DiscreteBayesianNetwork([(f"cause{i}", "effect") for i in range(12)])
    for i in range(12):
        graph.add_cpds(TabularCPD(f"cause{i}", 2, [[0.5], [0.5]]))
    table = np.full((2, 2**12), 0.5)
    graph.add_cpds(TabularCPD("effect", 2, table, [f"cause{i}" for i in range(12)], [2] * 12))
    with pytest.raises(MemoryError, match=r"needs a table of 6\d\.0 KiB, over the budget of 16\.0 KiB"):
        Engine(graph, budget=1 << 14).marginals()


def test_a_plan_reads_well() -> None:
    plan = Engine(rain()).plan(["wet"])
    assert (plan.variables, plan.observed, plan.width) == (2, 1, 0)
    assert "2 variables, 1 observed" in str(plan) and "multiply-adds" in str(plan)


def test_dtype_and_executor_are_checked() -> None:
    with pytest.raises(ValueError, match="dtype must be"):
        Engine(rain(), dtype=torch.float16)
    with pytest.raises(ValueError, match="executor must be"):
        Engine(rain(), executor="fast")
