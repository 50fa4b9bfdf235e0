"""The engine against enumeration: every kind of evidence, every executor."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from inference.exact import Engine
from inference.exact.program import Structure
from tests.inference.exact import graphs
from tests.inference.exact.enumeration import (
    Evidence,
    Network,
    Truth,
    bayesian_networks,
    enumerate_rows,
    evidences,
    networks,
)

EXECUTORS = [
    "torch",
    pytest.param(
        "compiled", marks=pytest.mark.skipif(not importlib.util.find_spec("numba"), reason="numba is not installed")
    ),
]
some = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request) -> str:
    return request.param


@st.composite
def observed(draw, of=networks) -> tuple[Network, Evidence]:
    network = draw(of)
    return network, draw(evidences(network))


def check(engine: Engine, known: dict, truths: list[Truth], hard: set[int], atol: float = 1e-12) -> None:
    """All marginals and the log evidence of each row."""
    answer = engine.marginals(known)
    logs = answer.log_evidence.expand(len(truths))
    free = {graphs.name(v): v for v in range(truths[0].posterior.ndim) if v not in hard}
    assert set(answer.values) == set(free)
    for row, truth in enumerate(truths):
        np.testing.assert_allclose(logs[row], truth.log_evidence, rtol=atol, atol=atol)
        for each, v in free.items():
            values = answer.values[each]
            np.testing.assert_allclose(values[row % len(values)], truth.of(v), rtol=0, atol=atol)
    if known:
        torch.testing.assert_close(engine.log_evidence(known), answer.log_evidence, rtol=atol, atol=atol)


@some
@given(observed())
def test_marginals_and_log_evidence(executor, case):
    network, evidence = case
    engine = Engine(graphs.graph_of(network), executor=executor)
    check(engine, graphs.given(network, evidence), enumerate_rows(network, evidence), set(evidence.hard))


@some
@given(observed(), st.integers(0, 2**32 - 1))
def test_rows_with_gaps_of_their_own(executor, case, seed):
    network, evidence = case
    assume(evidence.hard)
    known, soft = graphs.with_gaps(network, evidence, np.random.default_rng(seed))
    always = {v for v in evidence.hard if all(isinstance(state, str) for state in known[graphs.name(v)])}
    engine = Engine(graphs.graph_of(network), executor=executor)
    check(engine, known, enumerate_rows(network, soft), always)


@some
@given(observed(), st.integers(0, 2**32 - 1))
def test_gaps_by_pattern_and_all_in_one_agree(executor, case, seed):
    """Rows grouped by what is missing, or likelihoods of ones: the plan that is cheaper may not change the answer."""
    network, evidence = case
    assume(evidence.hard)
    known, soft = graphs.with_gaps(network, evidence, np.random.default_rng(seed))
    always = {v for v in evidence.hard if all(isinstance(state, str) for state in known[graphs.name(v)])}
    truths = enumerate_rows(network, soft)
    for worth in (True, False):
        told = []
        with pytest.MonkeyPatch.context() as patch:
            # the plan is asked for twice: whether one group would pay, then whether as many as there are would
            patch.setattr(
                "inference.exact.grouping._worth_grouping",
                lambda *_, worth=worth, told=told: told.append(worth) or worth,
            )
            check(Engine(graphs.graph_of(network), executor=executor), known, truths, always)
        assert told or len(always) == len(evidence.hard)


def _told(told: list, worth: bool, *_: object) -> bool:
    told.append(worth)
    return worth


@some
@given(observed(), st.data())
def test_joints(executor, case, data):
    network, evidence = case
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    assume(free)
    targets = data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=3, unique=True))
    engine = Engine(graphs.graph_of(network), executor=executor)
    answer = engine.joint(graphs.given(network, evidence), [graphs.name(v) for v in targets])
    assert answer.variables == tuple(graphs.name(v) for v in targets)
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        value = answer.values[row % len(answer.values)]
        np.testing.assert_allclose(value, truth.of(*targets), rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            answer.log_evidence[row % len(answer.values)], truth.log_evidence, rtol=1e-12, atol=1e-12
        )


@settings(some, max_examples=60)
@given(observed(bayesian_networks()), st.data())
def test_interventions_cut_the_edges_into_what_is_set(executor, case, data):
    """P(v | given, do(x)) is P(v | given, x) in the network where x has no parents: right with evidence too."""
    network, evidence = case
    setting = data.draw(st.sampled_from(range(len(network.cards))))
    state = data.draw(st.integers(0, network.cards[setting] - 1))
    parents, scopes, tables = list(network.structure.parents), list(network.structure.scopes), list(network.tables)
    parents[setting], scopes[setting], tables[setting] = (), (setting,), np.ones(network.cards[setting])
    cut = Network(type(network.structure)(network.cards, tuple(scopes), tuple(parents)), tuple(tables))
    hard = {v: codes for v, codes in evidence.hard.items() if v != setting}
    soft = {v: each for v, each in evidence.soft.items() if v != setting}
    left = Evidence(evidence.rows, hard, soft)
    both = Evidence(evidence.rows, hard | {setting: np.full(evidence.rows, state)}, soft)
    with np.errstate(divide="ignore", invalid="ignore"):
        truths = enumerate_rows(cut, both)
    engine = Engine(graphs.graph_of(network), executor=executor)
    do = {graphs.name(setting): graphs.states(network, setting)[state]}
    if any(truth.log_evidence == -np.inf for truth in truths):
        with pytest.raises(ValueError, match="probability zero"):
            engine.marginals(graphs.given(network, left), do=do)
        return
    free = [graphs.name(v) for v in range(len(network.cards)) if v not in hard and v != setting]
    assume(free)
    answer = engine.marginals(graphs.given(network, left), free, do=do)
    for row, truth in enumerate(truths):
        for each in free:
            values = answer.values[each]
            np.testing.assert_allclose(values[row % len(values)], truth.of(int(each[1:])), rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            answer.log_evidence.expand(len(truths))[row], truth.log_evidence, rtol=1e-12, atol=1e-12
        )


@settings(some, max_examples=60)
@given(observed())
def test_scaled_messages_give_the_same(executor, case):
    """Every row done again as if it underflowed."""
    network, evidence = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.exact.engine.UNDERFLOW", {torch.float64: torch.inf, torch.float32: torch.inf})
        engine = Engine(graphs.graph_of(network), executor=executor)
        check(engine, graphs.given(network, evidence), enumerate_rows(network, evidence), set(evidence.hard))


@settings(some, max_examples=60)
@given(observed())
def test_in_single_precision(executor, case):
    network, evidence = case
    engine = Engine(graphs.graph_of(network), dtype=torch.float32, executor=executor)
    check(engine, graphs.given(network, evidence), enumerate_rows(network, evidence), set(evidence.hard), atol=2e-5)


@settings(some, max_examples=20)
@given(networks)
def test_log_evidence_of_nothing_is_log_z(executor, network):
    log_z = Engine(graphs.graph_of(network), executor=executor).log_evidence()
    np.testing.assert_allclose(log_z, [np.log(network.joint.sum())], rtol=1e-12, atol=1e-12)


def test_float32_does_not_underflow(executor):
    """A chain of 400 fair coins, each seen through noise: log evidence far below what float32 holds."""
    length, flips = 400, np.array([[0.7, 0.3], [0.3, 0.7]])
    scopes = ((0,), *((v - 1, v) for v in range(1, length)))
    chain = Network(Structure((2,) * length, scopes, tuple(s[:-1] for s in scopes)), (np.full(2, 0.5), *[flips] * 399))
    random = np.random.default_rng(0)
    soft = {v: random.random((3, 2)) * 0.1 for v in range(length)}
    forward, logs = np.full((3, 2), 0.5) * soft[0], np.zeros(3)
    for v in range(1, length):
        forward = forward @ flips * soft[v]
        logs += np.log(forward.sum(1))
        forward /= forward.sum(1, keepdims=True)
    graph = graphs.graph_of(chain)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        answer = Engine(graph, dtype=dtype, executor=executor).marginals(graphs.given(chain, Evidence(3, {}, soft)))
        np.testing.assert_allclose(answer.log_evidence, logs, rtol=tolerance)
        np.testing.assert_allclose(answer.values["v399"], forward, rtol=0, atol=10 * tolerance)


def test_blocks_of_rows_are_the_rows_one_by_one(executor):
    """A budget that holds a few rows at a time."""
    random = np.random.default_rng(1)
    network = _six(random)
    codes = random.integers(2, size=1001)
    known = {"v5": torch.from_numpy(codes)}
    whole = Engine(graphs.graph_of(network), executor=executor).marginals(known)
    blocks = Engine(graphs.graph_of(network), executor=executor, budget=4096).marginals(known)
    for v in whole.values:
        torch.testing.assert_close(blocks.values[v], whole.values[v], rtol=0, atol=1e-14)
        truth = enumerate_rows(network, Evidence(2, {5: np.arange(2)}, {}))
        for code in (0, 1):
            wanted = torch.from_numpy(truth[code].of(int(v[1:]))).expand(int((codes == code).sum()), -1)
            torch.testing.assert_close(whole.values[v][codes == code], wanted, rtol=0, atol=1e-12)


def _six(random: np.random.Generator) -> Network:
    scopes = ((0,), (0, 1), (0, 2), (1, 2, 3), (3, 4), (2, 4, 5))
    tables = tuple(random.dirichlet(np.ones(2), size=(2,) * (len(scope) - 1)) for scope in scopes)
    return Network(Structure((2,) * 6, scopes, tuple(scope[:-1] for scope in scopes)), tables)
