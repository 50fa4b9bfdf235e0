"""Compiled programs against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.exact.program import Ask, Program, compile_program
from inference.exact.values import static_values
from tests.inference.exact.enumeration import Evidence, Network, enumerate_rows, evidences, markov_networks, networks
from tests.inference.exact.interpreter import interpret

EXACT = {"rtol": 0, "atol": 1e-12}
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def questions(draw) -> tuple[Network, Evidence, Ask]:
    network = draw(networks)
    evidence = draw(evidences(network))
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    marginals, joint = draw(st.just(free) | _some(free)), draw(st.just([]) | _some(free))
    marginals = [v for v in marginals if v not in joint]
    return network, evidence, Ask(tuple(evidence.hard), tuple(evidence.soft), tuple(marginals), tuple(joint))


def _some(of: list[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from(of), max_size=3, unique=True) if of else st.just([])


def scaled(ask: Ask) -> Ask:
    return Ask(ask.hard, ask.soft, ask.marginals, ask.joint, scaled=True)


def check(program: Program, network: Network, evidence: Evidence) -> None:
    answer, ask = interpret(program, network, evidence), program.ask
    assert set(answer.marginals) == set(ask.marginals)
    assert set(program.joint_order) == set(ask.joint)
    for row, truth in enumerate(enumerate_rows(network, evidence)):
        np.testing.assert_allclose(answer.log_evidence[row], truth.log_evidence, rtol=1e-12, atol=1e-12)
        for v in ask.marginals:
            np.testing.assert_allclose(answer.marginals[v][row], truth.of(v), **EXACT)
        if ask.joint:
            assert answer.joint is not None
            np.testing.assert_allclose(answer.joint[row], truth.of(*program.joint_order), **EXACT)


@many
@given(questions())
def test_marginals_joint_and_log_evidence_by_enumeration(question):
    network, evidence, ask = question
    check(compile_program(network.structure, ask), network, evidence)


@many
@given(questions())
def test_scaled_by_enumeration(question):
    network, evidence, ask = question
    program = compile_program(network.structure, scaled(ask))
    assert all(slot.batched for slot in program.scales)
    check(program, network, evidence)


@settings(max_examples=50, deadline=None)
@given(questions())
def test_without_room_to_tabulate(question):
    """No product of tables that depend on evidence is made ahead: another program, the same answer."""
    network, evidence, ask = question
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.exact.program.LARGEST_TABULATED", 0)
        check(compile_program(network.structure, ask), network, evidence)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_a_program_is_a_straight_line(question):
    """Each operation reads what is known by then; each slot is written once; nothing static reads a row."""
    network, _, ask = question
    program = compile_program(network.structure, scaled(ask))
    known = {slot.index for slot, _ in program.tables} | {slot.index for slot, _ in program.likelihoods}
    for op in (*program.static, *program.batched):
        assert op.a.index in known
        if op.kind == "scale":
            known.add(op.b.index)
        else:
            assert op.b is None or op.b.index in known
        assert op.out.index not in known
        known.add(op.out.index)
    for op in program.static:
        assert not (op.out.batched or op.a.batched)
    for slot in (*program.roots, *program.scales, *program.marginals.values()):
        assert slot.index in known and (slot.batched or not slot.hard)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_static_values_are_the_interpreters(question):
    """What is computed once, by the shipped code, against the same by the plain interpreter."""
    network, evidence, ask = question
    program = compile_program(network.structure, ask)
    tables = [torch.from_numpy(table) for table in network.tables]
    values = static_values(program, tables)
    differentiable = static_values(program, [table.clone().requires_grad_() for table in tables])
    plain = interpret(program, network, evidence).values
    static = [slot for slot in program.slots if slot.index in plain and not slot.batched]
    assert set(values) == {slot.index for slot in static}
    for slot in static:
        assert list(values[slot.index].shape) == program.cards(slot.axes) + [network.cards[v] for v in slot.hard]
        np.testing.assert_allclose(values[slot.index], plain[slot.index], rtol=1e-12)
        np.testing.assert_allclose(differentiable[slot.index].detach(), plain[slot.index], rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(markov_networks(), st.floats(0.1, 10))
def test_a_markov_networks_log_evidence_is_its_log_partition_function(network, factor):
    """No renormalising on the quiet: a table times c is log c more, and the marginals stay."""
    n = len(network.cards)
    ask, nothing = Ask(marginals=tuple(range(n))), Evidence(1, {}, {})
    times = Network(network.structure, (network.tables[0] * factor, *network.tables[1:]))
    program = compile_program(network.structure, ask)
    before, after = interpret(program, network, nothing), interpret(program, times, nothing)
    np.testing.assert_allclose(after.log_evidence, before.log_evidence + np.log(factor), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(before.log_evidence[0], np.log(network.joint.sum()), rtol=1e-12, atol=1e-12)
    for v in range(n):
        np.testing.assert_allclose(after.marginals[v], before.marginals[v], **EXACT)
