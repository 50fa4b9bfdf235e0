"""What a new user of a spread meets first: how things print, and sentences where the first attempt is wrong."""

import networkx as nx
import pandas as pd
import pyro.distributions as dist
import pytest
import torch

from zoo.spread import (
    Graph,
    GraphSpread,
    Outbreak,
    PositiveNormal,
    daley_kendall,
    gillespie,
    independent_cascade,
    influenza,
    ode,
    si,
    sir,
)

PATH = Graph.of(nx.path_graph(4))


def test_they_print_as_what_they_are() -> None:
    model, rates = sir(), {"beta": 0.5, "gamma": 0.2}
    start = model.state(S=9, I=1)
    assert repr(model) == "Compartments(S -> I: beta by I, I -> R: gamma)"
    assert repr(sir(groups=["young", "old"])).endswith(", in the groups young, old)")
    assert repr(ode(model, rates, start, range(3))) == "Course of S, I, R at 3 times"
    assert repr(gillespie(model, rates, start, range(3), replicates=4)) == "Course of S, I, R at 3 times, 4 of them"
    assert repr(influenza()) == f"Outbreak({model}; I observed at 14 times)"
    course = GraphSpread(si(), PATH, {"beta": 0.5}).simulate({"I": [0]}, 3, replicates=2)
    assert repr(course) == "GraphCourse of S, I in 3 steps on 4 nodes, 2 of them"
    assert "ignorant-spreader-stifler on a Graph of 4 nodes" in repr(independent_cascade(PATH, chance=0.1))


@pytest.mark.parametrize(
    ("attempt", "kind", "said"),
    [
        (lambda: GraphSpread(si(), nx.path_graph(4), {"beta": 0.1}), TypeError, "a networkx Graph: give Graph.of"),
        (lambda: GraphSpread(si(), PATH, {"beta": 0.1}).simulate([0], 3), TypeError, r"\{'I': \[nodes\]\}"),
        (lambda: Graph.of(pd.DataFrame({"source": [1], "target": [2]})), TypeError, "from_pandas_edgelist"),
        (lambda: Graph.of([("a", "b", 2.0)]), ValueError, "weights are apart"),
        (lambda: GraphSpread(daley_kendall(), PATH, {"beta": 1, "gamma": 1}), ValueError, "maki_thompson"),
        (lambda: Graph.of(nx.path_graph(5000)).index(["Bob"]), ValueError, "there are 5,000, such as 0, 1, 2, 3, 4$"),
    ],
)
def test_a_first_attempt_is_told_what_to_do(attempt, kind, said) -> None:
    with pytest.raises(kind, match=said):
        attempt()


@pytest.mark.parametrize(
    ("beta", "said"),
    [
        (-1.0, "the rate 'beta' is a number from 0 on, not -1.0"),
        (
            dist.Normal(0.0, 1.0),
            "the rate 'beta' is .*, draws others too: a PositiveNormal",
        ),
        (
            dist.Uniform(-0.5, 1.0),
            "the rate 'beta' is .*, draws others too: a PositiveNormal",
        ),
    ],
)
def test_a_rate_of_an_outbreak_is_never_negative(beta, said) -> None:
    with pytest.raises(ValueError, match=said):
        Outbreak(sir(), {"S": 9, "I": 1}, {"beta": beta, "gamma": 0.1}, observes="I", times=[1, 2])


@pytest.mark.parametrize("beta", [dist.LogNormal(0.0, 1.0), dist.Gamma(2.0, 1.0), dist.Uniform(0.0, 1.0)])
def test_a_prior_of_positive_numbers_is_taken(beta) -> None:
    Outbreak(sir(), {"S": 9, "I": 1}, {"beta": beta, "gamma": 0.1}, observes="I", times=[1, 2])


def test_an_outbreaks_course_takes_its_own_numbers() -> None:
    half = Outbreak(sir(), {"S": 9, "I": 1}, {"beta": PositiveNormal(1, 1), "gamma": 0.1}, observes="I", times=[1, 2])
    beta = torch.tensor([0.5, 1.0], dtype=torch.float64)
    found = half.course({"beta": beta})
    told = half.course({"beta": beta, "gamma": 0.1, "S0": 9, "I0": 1})
    torch.testing.assert_close(found.heads, told.heads, rtol=0, atol=0)
    with pytest.raises(ValueError, match="no value of 'beta': a course needs one of beta, gamma, S0, I0"):
        half.course({"gamma": 0.2})
