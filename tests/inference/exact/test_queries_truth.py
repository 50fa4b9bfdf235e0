"""Most probable states, draws, information and impossible evidence, against the whole joint."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from inference.exact import Engine, entropy, mutual_information, value_of_observation
from inference.exact.program import Structure
from tests.inference.exact import graphs
from tests.inference.exact.enumeration import (
    Evidence,
    Network,
    bayesian_networks,
    enumerate_rows,
    evidences,
    networks,
)

some = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def asked(draw, of=networks) -> tuple[Network, Evidence, list[int]]:
    """A network, evidence, and some of the variables that are not known."""
    network = draw(of)
    evidence = draw(evidences(network, rows=2))
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    assume(free)
    return network, evidence, draw(st.lists(st.sampled_from(free), min_size=1, max_size=4, unique=True) | st.just(free))


@some
@given(asked())
def test_the_most_probable_states_have_the_greatest_probability(case):
    """MAP over a part: the rest is summed out first. Ties may go either way, so values are compared."""
    network, evidence, targets = case
    engine = Engine(graphs.graph_of(network), executor="torch")
    found = engine.most_probable(graphs.given(network, evidence), [graphs.name(v) for v in targets])
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        row = row if len(found.states) > 1 else 0
        table = truth.of(*targets)
        states = tuple(found.states[row, 0].tolist())
        np.testing.assert_allclose(table[states], table.max(), rtol=1e-9)
        np.testing.assert_allclose(found.log_probability[row, 0].exp(), table.max(), rtol=1e-9)
        np.testing.assert_allclose(found.log_evidence[row], truth.log_evidence, rtol=1e-9, atol=1e-9)


@settings(some, max_examples=40)
@given(asked(), st.integers(2, 5))
def test_the_best_few_are_the_greatest_of_the_table_in_order(case, count):
    network, evidence, targets = case
    targets = targets[:4]
    engine = Engine(graphs.graph_of(network), executor="torch")
    known = graphs.given(network, evidence)
    found = engine.most_probable(known, [graphs.name(v) for v in targets], best=count)
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        row = row if len(found.states) > 1 else 0
        table = truth.of(*targets)
        greatest = np.sort(table[table > 0])[::-1][:count]
        np.testing.assert_allclose(found.log_probability[row, : len(greatest)].exp(), greatest, rtol=1e-9)
        assert bool((found.log_probability[row, len(greatest) :] == -torch.inf).all())
        states = [tuple(each) for each in found.states[row, : len(greatest)].tolist()]
        assert len(set(states)) == len(states)
        np.testing.assert_allclose([table[each] for each in states], greatest, rtol=1e-9)


@settings(some, max_examples=25)
@given(asked())
def test_draws_follow_the_joint_posterior(case):
    """Pearson's statistic over all states of the targets, at a level that a right sampler fails once in 10^7."""
    network, evidence, targets = case
    targets = targets[:3]
    engine = Engine(graphs.graph_of(network), executor="torch")
    found = engine.sample(graphs.given(network, evidence), 4000, [graphs.name(v) for v in targets], seed=1)
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        table = truth.of(*targets)
        row = row if len(found.states) > 1 else 0
        seen = np.ravel_multi_index(found.states[row].numpy().T, table.shape)
        counts, wanted = np.bincount(seen, minlength=table.size), 4000 * table.ravel()
        assert not counts[wanted == 0].any()
        # states too rare for the statistic are taken together
        rare = wanted < 5
        counts = np.append(counts[~rare], counts[rare].sum())
        wanted = np.append(wanted[~rare], wanted[rare].sum())
        counts, wanted = counts[wanted >= 1], wanted[wanted >= 1]
        statistic = ((counts - wanted) ** 2 / wanted).sum()
        assert statistic <= chi2.isf(1e-7, max(1, len(counts) - 1)) + 1e-6


@settings(some, max_examples=40)
@given(asked())
def test_entropy_and_mutual_information(case):
    network, evidence, targets = case
    assume(len(targets) > 1)
    a, b = targets[:2]
    engine = Engine(graphs.graph_of(network), executor="torch")
    known = graphs.given(network, evidence)
    alone = entropy(engine, graphs.name(a), known)
    both = entropy(engine, (graphs.name(a), graphs.name(b)), known)
    shared = mutual_information(engine, graphs.name(a), graphs.name(b), known)
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        row = row if len(alone) > 1 else 0
        np.testing.assert_allclose(alone[row], _entropy(truth.of(a)), atol=1e-10)
        np.testing.assert_allclose(both[row], _entropy(truth.of(a, b)), atol=1e-10)
        expected = _entropy(truth.of(a)) + _entropy(truth.of(b)) - _entropy(truth.of(a, b))
        np.testing.assert_allclose(shared[row], expected, atol=1e-10)


@settings(some, max_examples=30)
@given(asked())
def test_what_an_observation_is_worth(case):
    network, evidence, targets = case
    hard = Evidence(evidence.rows, evidence.hard, {})
    target = targets[0]
    worth = value_of_observation(
        Engine(graphs.graph_of(network), executor="torch"), graphs.name(target), graphs.given(network, hard)
    )
    for row, truth in enumerate(enumerate_rows(network, hard)):
        for each in worth:
            v = int(each[1:])
            expected = _entropy(truth.of(target)) + _entropy(truth.of(v)) - _entropy(truth.of(target, v))
            np.testing.assert_allclose(worth[each].iloc[row % len(worth)], expected, atol=1e-10)


def _entropy(table: np.ndarray) -> float:
    positive = table[table > 0]
    return float(-(positive * np.log(positive)).sum())


@settings(some, max_examples=80)
@given(bayesian_networks(), st.integers(0, 2**32 - 1))
def test_impossible_evidence_is_refused_and_only_that(network, seed):
    """Random states, possible or not: pruning may not hide a contradiction."""
    random = np.random.default_rng(seed)
    known = random.choice(len(network.cards), random.integers(1, len(network.cards) + 1), replace=False)
    codes = {int(v): int(random.integers(network.cards[v])) for v in known}
    evidence = Evidence(1, {v: np.array([code]) for v, code in codes.items()}, {})
    with np.errstate(divide="ignore", invalid="ignore"):
        (truth,) = enumerate_rows(network, evidence)
    engine = Engine(graphs.graph_of(network), executor="torch")
    given_ = {graphs.name(v): graphs.states(network, v)[code] for v, code in codes.items()}
    if truth.log_evidence > -np.inf:
        np.testing.assert_allclose(engine.log_evidence(given_), [truth.log_evidence], rtol=1e-12, atol=1e-12)
        return
    free = [graphs.name(v) for v in range(len(network.cards)) if v not in codes]
    with pytest.raises(ValueError, match="probability zero") as caught:
        engine.marginals(given_, free[:1])
    named = [v for v in codes if f"{graphs.name(v)} = " in str(caught.value)]
    assert named and _impossible(network, {v: codes[v] for v in named})
    for fewer in itertools.combinations(named, len(named) - 1):
        assert not _impossible(network, {v: codes[v] for v in fewer})


def _impossible(network: Network, codes: dict[int, int]) -> bool:
    joint = network.joint
    for v, code in codes.items():
        joint = joint.take([code], v)
    return not joint.sum() > 0


def test_a_contradiction_far_from_the_target_is_not_pruned_away():
    """either = no with lung = yes: the target smoke hangs on neither once lung is known."""
    scopes = ((0,), (0, 1), (2,), (1, 2, 3))
    either = np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]])
    tables = (np.array([0.5, 0.5]), np.array([[0.99, 0.01], [0.9, 0.1]]), np.array([0.99, 0.01]), either)
    network = Network(Structure((2,) * 4, scopes, tuple(scope[:-1] for scope in scopes)), tables)
    known = {"v1": graphs.states(network, 1)[1], "v3": graphs.states(network, 3)[0]}
    with pytest.raises(ValueError, match=r"v1 = .*v3 = "):
        Engine(graphs.graph_of(network)).marginals(known, ["v0"])
