"""Derivatives through a program: by its tables and likelihoods, against enumeration and finite differences."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.exact.functional import output, run
from inference.exact.program import Ask, Program, Structure, compile_program
from inference.exact.values import static_values
from tests.inference.exact.enumeration import Evidence, Network, evidences, networks

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def observed(draw, of=networks) -> tuple[Network, Evidence]:
    network = draw(of)
    return network, draw(evidences(network, rows=2))


def tables_of(network: Network, numbers: list[Tensor]) -> list[Tensor]:
    """Tables that depend on free numbers: a directed network's columns are renormalised."""
    if network.structure.parents is None:
        return numbers
    return [each / each.sum(-1, keepdim=True) for each in numbers]


def through(program: Program, network: Network, evidence: Evidence, numbers: list[Tensor]) -> list[Tensor]:
    """log evidence and marginals of the program, [N] and [states, N]."""
    codes = torch.stack([torch.from_numpy(evidence.hard[v]) for v in program.ask.hard] or [torch.empty(0, 2).long()])
    likelihoods = torch.cat([torch.from_numpy(evidence.soft[v].T) for v in program.ask.soft] or [torch.empty(0, 2)])
    values = run(program, static_values(program, tables_of(network, numbers)), codes.reshape(-1, 2), likelihoods)
    answer = output(program, values, 2)
    return [answer.log_evidence, answer.marginals]


def by_enumeration(program: Program, network: Network, evidence: Evidence, numbers: list[Tensor]) -> list[Tensor]:
    n, joint = len(network.cards), torch.ones(network.cards, dtype=torch.float64)
    spread = {v: [card if u == v else 1 for u in range(n)] for v, card in enumerate(network.cards)}
    for scope, table in zip(network.structure.scopes, tables_of(network, numbers), strict=True):
        inside = np.argsort(scope).tolist()
        joint = joint * table.permute(inside).reshape([c if v in scope else 1 for v, c in enumerate(network.cards)])
    logs, columns = [], []
    for row in range(2):
        weights = joint
        for v, codes in evidence.hard.items():
            weights = weights * (torch.arange(network.cards[v]) == int(codes[row])).double().reshape(spread[v])
        for v, each in evidence.soft.items():
            weights = weights * torch.from_numpy(each[row]).reshape(spread[v])
        total = weights.sum()
        logs.append(total.log())
        parts = [(weights.movedim(v, 0).flatten(1).sum(1) if n > 1 else weights) / total for v in program.ask.marginals]
        columns.append(torch.cat(parts) if parts else total.new_empty(0))
    return [torch.stack(logs), torch.stack(columns, 1)]


@some
@given(observed(), st.booleans())
def test_gradients_by_table_entries_are_those_of_the_joint(case, scaled):
    """Zeros in tables too: nothing divides by a message."""
    network, evidence = case
    free = tuple(v for v in range(len(network.cards)) if v not in evidence.hard)
    program = compile_program(
        network.structure, Ask(tuple(evidence.hard), tuple(evidence.soft), free[:4], scaled=scaled)
    )
    random, gradients = torch.Generator().manual_seed(0), []
    for way in (through, by_enumeration):
        numbers = [torch.from_numpy(table.copy()).requires_grad_() for table in network.tables]
        logs, marginals = way(program, network, evidence, numbers)
        weights = torch.rand(marginals.shape, generator=random.manual_seed(0), dtype=torch.float64)
        total = logs.sum() + (weights * marginals).sum()
        total.backward()
        gradients.append([torch.zeros_like(each) if each.grad is None else each.grad for each in numbers])
    for ours, truth in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-9)


def test_gradients_by_finite_differences():
    """Central differences of log evidence and a posterior by every entry, on a network with a loop."""
    random = np.random.default_rng(3)
    scopes = ((0,), (0, 1), (0, 2), (1, 2, 3), (3, 4))
    tables = [random.dirichlet(np.ones(3), size=(3,) * (len(scope) - 1)) for scope in scopes]
    network = Network(Structure((3,) * 5, scopes, tuple(scope[:-1] for scope in scopes)), tuple(tables))
    evidence = Evidence(2, {4: np.array([0, 2])}, {1: random.random((2, 3))})
    program = compile_program(network.structure, Ask((4,), (1,), (0, 3)))
    numbers = [torch.from_numpy(table).requires_grad_() for table in network.tables]
    assert torch.autograd.gradcheck(lambda *each: tuple(through(program, network, evidence, list(each))), numbers)
