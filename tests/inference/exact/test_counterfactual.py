"""Counterfactuals, against mechanisms written out: every noise enumerated."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from inference.exact import Independent, Monotone, counterfactual
from inference.exact.program import Structure
from tests.inference.exact.enumeration import Network, bayesian_networks, evidences
from tests.inference.exact.test_tracing import engine_of, named


def monotone_mechanisms(table: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(probability, state by parents) of each piece of one uniform noise."""
    rows = table.reshape(-1, table.shape[-1])
    above = rows.cumsum(1)
    cuts = np.unique(np.concatenate([[0.0], above.ravel().clip(0, 1), [1.0]]))
    found = []
    for low, high in itertools.pairwise(cuts):
        middle = (low + high) / 2
        found.append((high - low, (above < middle).sum(1).clip(max=rows.shape[1] - 1)))
    return found


def independent_mechanisms(table: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(probability, state by parents): a noise of its own for each state of the parents."""
    rows = table.reshape(-1, table.shape[-1])
    found = []
    for states in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        weight = np.prod([row[state] for row, state in zip(rows, states, strict=True)])
        if weight > 0:
            found.append((float(weight), np.array(states)))
    return found


def how_many(network: Network, mechanisms) -> float:
    """How many combinations of mechanisms there are, counted without listing them."""
    if mechanisms is monotone_mechanisms:
        return float(np.prod([len(mechanisms(table)) for table in network.tables]))
    return float(np.prod([float(table.shape[-1]) ** (table.size / table.shape[-1]) for table in network.tables]))


def by_mechanisms(network: Network, mechanisms, hard: dict, do: dict) -> list[np.ndarray]:
    """The distribution of every variable as it would have been, by enumerating all mechanisms."""
    order = _topological(network.structure.parents)
    choices = [mechanisms(np.asarray(table)) for table in network.tables]
    found = [np.zeros(card) for card in network.cards]
    for picked in itertools.product(*choices):
        weight = np.prod([p for p, _ in picked])
        actual = _world(network, order, picked, {})
        if weight and all(actual[v] == state for v, state in hard.items()):
            for v, state in enumerate(_world(network, order, picked, do)):
                found[v][state] += weight
    return [each / each.sum() for each in found]


def _world(network: Network, order, picked, do: dict) -> list[int]:
    states = [0] * len(network.cards)
    for v in order:
        parents = network.structure.parents[v]
        place = (
            int(np.ravel_multi_index([states[p] for p in parents], [network.cards[p] for p in parents]))
            if parents
            else 0
        )
        states[v] = do[v] if v in do else int(picked[v][1][place])
    return states


def _topological(parents) -> list[int]:
    order: list[int] = []
    while len(order) < len(parents):
        order += [v for v in range(len(parents)) if v not in order and all(p in order for p in parents[v])]
    return order


@pytest.mark.parametrize(
    ("coupling", "mechanisms"), [(Monotone(), monotone_mechanisms), (Independent(), independent_mechanisms)]
)
@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_counterfactuals_are_those_of_mechanisms_with_that_coupling(coupling, mechanisms, data):
    network = data.draw(bayesian_networks(largest=4))
    evidence = data.draw(evidences(network, rows=1))
    n = len(network.cards)
    v = data.draw(st.integers(0, n - 1))
    assume(n > 1 and how_many(network, mechanisms) <= 5_000)
    state = data.draw(st.integers(0, network.cards[v] - 1))
    hard = dict(evidence.hard.items())
    targets = [f"v{u}" for u in range(n) if u != v]
    given_ = {name: value for name, value in (named(evidence) or {}).items() if int(name[1:]) in hard}
    found = counterfactual(engine_of(network), targets, given_, {f"v{v}": torch.tensor([state])}, coupling)
    truth = by_mechanisms(network, mechanisms, {u: int(codes[0]) for u, codes in hard.items()}, {v: state})
    for u in range(n):
        if u != v:
            np.testing.assert_allclose(found.values[f"v{u}"][0], truth[u], atol=1e-9)


def test_who_recovered_untreated_would_have_recovered_treated():
    # treatment raises the chance from 0.4 to 0.7: of the ill 30/60 are helped where none is harmed
    tables = (np.array([0.5, 0.5]), np.array([[0.6, 0.4], [0.3, 0.7]]))
    network = Network(Structure((2, 2), ((0,), (0, 1)), ((), (0,))), tables)
    for seen, want in ((1, 1.0), (0, 0.5)):
        known = {"v0": torch.tensor([0]), "v1": torch.tensor([seen])}
        found = counterfactual(engine_of(network), ["v1"], known, {"v0": torch.tensor([1])})
        assert found.values["v1"][0, 1].item() == pytest.approx(want)


def test_without_evidence_it_is_the_intervention():
    tables = (np.array([0.5, 0.5]), np.array([[0.6, 0.4], [0.3, 0.7]]))
    engine = engine_of(Network(Structure((2, 2), ((0,), (0, 1)), ((), (0,))), tables))
    do = {"v0": torch.tensor([1])}
    assert torch.allclose(
        counterfactual(engine, ["v1"], None, do).values["v1"], engine.marginals(None, ["v1"], do).values["v1"]
    )
