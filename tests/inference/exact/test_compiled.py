"""The compiled executor against brute force: the whole joint table, written out."""

from __future__ import annotations

import builtins
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from inference.exact.program import Ask, Program, Structure, compile_program
from inference.exact.values import Output, static_values

pytest.importorskip("numba", reason="the compiled executor needs numba, the extra `compiled`")

from inference.exact.compiled import CompiledExecutor

NETWORKS = 120


def random_network(rng: np.random.Generator, n: int, parents: int = 3) -> tuple[Structure, list[np.ndarray]]:
    cards = tuple(int(c) for c in rng.integers(1, 6, n))
    scopes, tables = [], []
    for v in range(n):
        above = sorted(rng.choice(v, min(v, int(rng.integers(0, parents + 1))), replace=False).tolist())
        scopes.append((*above, v))
        table = rng.gamma(0.5, size=[cards[u] for u in scopes[-1]]) + 1e-3
        tables.append(table / table.sum(-1, keepdims=True))
    return Structure(cards, tuple(scopes), tuple(scope[:-1] for scope in scopes)), tables


def random_ask(rng: np.random.Generator, n: int, scaled: bool) -> Ask:
    kinds = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    hard, soft = (tuple(np.flatnonzero(kinds == k).tolist()) for k in (1, 2))
    free = [v for v in range(n) if v not in hard]
    joint = tuple(rng.permutation(free)[: rng.integers(0, 3)].tolist())
    return Ask(hard, soft, tuple(v for v in free if v not in joint and rng.random() < 0.8), joint, scaled)


def weights(structure: Structure, tables: list[np.ndarray], factors: Mapping[int, np.ndarray]) -> np.ndarray:
    """The joint weights of all variables: the product of the tables and of a vector for each known variable."""
    n = len(structure.cards)
    joint = np.ones(structure.cards)
    for scope, table in [*zip(structure.scopes, tables, strict=True), *(((v,), f) for v, f in factors.items())]:
        shape = [structure.cards[v] if v in scope else 1 for v in range(n)]
        joint = joint * np.transpose(table, np.argsort(scope)).reshape(shape)
    return joint


def evidence(rng: np.random.Generator, structure: Structure, ask: Ask, rows: int) -> tuple[np.ndarray, np.ndarray]:
    codes = np.array([rng.integers(0, structure.cards[v], rows) for v in ask.hard], np.int64).reshape(-1, rows)
    return codes, rng.random((sum(structure.cards[v] for v in ask.soft), rows))


def row_factors(structure: Structure, ask: Ask, codes: np.ndarray, likelihoods: np.ndarray) -> dict[int, np.ndarray]:
    """What one row says of each known variable."""
    factors = {v: np.eye(structure.cards[v])[code] for v, code in zip(ask.hard, codes, strict=True)}
    cuts = np.cumsum([structure.cards[v] for v in ask.soft])[:-1]
    return factors | dict(zip(ask.soft, np.split(likelihoods, cuts), strict=False))


def answer(
    program: Program, tables: list[np.ndarray], codes: np.ndarray, likelihoods: np.ndarray, dtype: torch.dtype
) -> Output:
    static = static_values(program, [torch.tensor(table, dtype=dtype) for table in tables])
    return CompiledExecutor(program, static)(torch.tensor(codes), torch.tensor(likelihoods, dtype=dtype))


def part(program: Program, v: int) -> slice:
    """Where a variable's distribution lies among the marginals."""
    asked, cards = list(program.marginals), program.structure.cards
    first = sum(cards[u] for u in asked[: asked.index(v)])
    return slice(first, first + cards[v])


def check(program: Program, out: Output, row: int, joint: np.ndarray, tolerance: float) -> None:
    """One row's answers against the joint weights."""
    cards, n = program.structure.cards, joint.ndim
    total = joint.sum()
    assert abs(out.log_evidence[row].item() - np.log(total)) < tolerance * max(1.0, abs(np.log(total)))
    assert len(out.marginals) == sum(cards[v] for v in program.marginals)
    for v in program.marginals:
        want = joint.sum(tuple(u for u in range(n) if u != v)) / total
        assert np.abs(out.marginals[part(program, v), row].numpy() - want).max() < tolerance
    if program.joint is None:
        assert out.joint is None
        return
    order = program.joint_order
    want = joint.sum(tuple(u for u in range(n) if u not in order)).transpose(np.argsort(np.argsort(order))) / total
    assert out.joint is not None
    assert np.abs(out.joint[:, row].numpy() - want.ravel()).max() < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("scaled", [False, True])
def test_random_networks_agree_with_enumeration(dtype: torch.dtype, tolerance: float, scaled: bool) -> None:
    rng = np.random.default_rng(7)
    for _ in range(NETWORKS):
        n = int(rng.integers(1, 8))
        structure, tables = random_network(rng, n)
        ask = random_ask(rng, n, scaled)
        rows = int(rng.integers(1, 40))
        codes, likelihoods = evidence(rng, structure, ask, rows)
        program = compile_program(structure, ask)
        out = answer(program, tables, codes, likelihoods, dtype)
        assert out.marginals.dtype == out.log_evidence.dtype == dtype
        for row in range(0, rows, 7):
            factors = row_factors(structure, ask, codes[:, row], likelihoods[:, row])
            check(program, out, row, weights(structure, tables, factors), tolerance)


def test_many_values_of_the_evidence_are_looked_up() -> None:
    """Tables that depend on three observed variables of 7 states each: 343 parts."""
    rng = np.random.default_rng(3)
    structure = Structure((7, 7, 7, 5, 3), ((0,), (1,), (2,), (0, 1, 2, 3), (3, 4)), ((), (), (), (0, 1, 2), (3,)))
    tables = [
        rng.dirichlet(np.ones(s[-1]), s[:-1])
        for s in ([structure.cards[v] for v in scope] for scope in structure.scopes)
    ]
    program = compile_program(structure, Ask((2, 0, 1), (), (3, 4)))
    codes, likelihoods = evidence(rng, structure, program.ask, 50)
    out = answer(program, tables, codes, likelihoods, torch.float64)
    for row in range(50):
        factors = row_factors(structure, program.ask, codes[:, row], likelihoods[:, row])
        check(program, out, row, weights(structure, tables, factors), 1e-13)


def test_a_row_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(11)
    structure, tables = random_network(rng, 9)
    program = compile_program(structure, Ask((1, 4), (2, 6), (0, 3, 5, 7, 8), scaled=True))
    static = static_values(program, [torch.tensor(table) for table in tables])
    executor = CompiledExecutor(program, static)
    codes, likelihoods = (torch.tensor(array) for array in evidence(rng, structure, program.ask, 67))
    whole = executor(codes, likelihoods)
    for start, stop in ((0, 1), (3, 6), (5, 21), (10, 43), (0, 0)):
        part = executor(codes[:, start:stop], likelihoods[:, start:stop])
        assert torch.equal(part.marginals, whole.marginals[:, start:stop])
        assert torch.equal(part.log_evidence, whole.log_evidence[start:stop])


def test_several_threads_answer_what_one_does() -> None:
    rng = np.random.default_rng(13)
    structure, tables = random_network(rng, 8)
    program = compile_program(structure, Ask((0, 3), (5,), (1, 2, 4, 6, 7)))
    codes, likelihoods = evidence(rng, structure, program.ask, 1003)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = answer(program, tables, codes, likelihoods, torch.float64)
        torch.set_num_threads(3)
        several = answer(program, tables, codes, likelihoods, torch.float64)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.marginals, several.marginals)
    assert torch.equal(one.log_evidence, several.log_evidence)


@pytest.mark.parametrize("scaled", [False, True])
def test_impossible_rows_say_so_and_harm_no_other(scaled: bool) -> None:
    """b is a copy of a; c hangs below it. Rows where the two differ have probability zero."""
    structure = Structure((2, 2, 3, 2), ((0,), (0, 1), (1, 2), (3,)), ((), (0,), (1,), ()))
    tables = [np.array([0.3, 0.7]), np.eye(2), np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]), np.array([0.9, 0.1])]
    program = compile_program(structure, Ask((0,), (1,), (1, 2, 3), scaled=scaled))
    likelihoods = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    out = answer(program, tables, np.array([[0, 0, 1]]), likelihoods, torch.float64)
    assert out.log_evidence[1] == -torch.inf
    assert out.marginals[:, 1].isnan().all()
    np.testing.assert_allclose(out.log_evidence[[0, 2]].exp(), [0.3, 0.35], rtol=1e-14)
    np.testing.assert_allclose(out.marginals[part(program, 1)][:, [0, 2]], np.eye(2), atol=1e-15)
    np.testing.assert_allclose(out.marginals[part(program, 2)][:, [0, 2]], tables[2].T, rtol=1e-14)
    np.testing.assert_allclose(out.marginals[part(program, 3)][:, [0, 2]], [[0.9] * 2, [0.1] * 2], rtol=1e-14)


def chain(rng: np.random.Generator, n: int) -> tuple[Structure, list[np.ndarray]]:
    scopes = [(0,), *((v - 1, v) for v in range(1, n))]
    structure = Structure((3,) * n, tuple(scopes), tuple(scope[:-1] for scope in scopes))
    return structure, [rng.dirichlet(np.ones(3), [3] * (len(scope) - 1)) for scope in scopes]


def test_scaling_keeps_single_precision_from_underflow() -> None:
    """A chain of 400 with likelihoods near 1e-3: the evidence is far below what single precision holds."""
    rng = np.random.default_rng(17)
    structure, tables = chain(rng, 400)
    soft = tuple(range(400))
    likelihoods = rng.random((1200, 5)) * 1e-3
    program = compile_program(structure, Ask((), soft, (0, 200, 399), scaled=True))
    out = answer(program, tables, np.empty((0, 5), np.int64), likelihoods, torch.float32)
    for row in range(5):
        per_variable = likelihoods[:, row].reshape(400, 3)
        message, log_total = tables[0] * per_variable[0], 0.0
        for table, likelihood in zip(tables[1:], per_variable[1:], strict=True):
            message = message @ table * likelihood
            log_total += np.log(message.sum())
            message = message / message.sum()
        assert abs(out.log_evidence[row].item() / log_total - 1) < 1e-5
        np.testing.assert_allclose(out.marginals[part(program, 399)][:, row], message, atol=1e-5)


def test_many_components_do_not_underflow() -> None:
    """500 variables on their own, the evidence of each 1e-3: the product is 1e-1500."""
    n = 500
    structure = Structure((2,) * n, tuple((v,) for v in range(n)), ((),) * n)
    program = compile_program(structure, Ask((), tuple(range(n)), (0,)))
    out = answer(
        program, [np.array([0.5, 0.5])] * n, np.empty((0, 2), np.int64), np.full((2 * n, 2), 1e-3), torch.float64
    )
    np.testing.assert_allclose(out.log_evidence, n * np.log(1e-3), rtol=1e-13)


def test_without_evidence_every_row_is_the_same() -> None:
    structure, tables = random_network(np.random.default_rng(5), 6)
    program = compile_program(structure, Ask((), (), tuple(range(6))))
    out = answer(program, tables, np.empty((0, 4), np.int64), np.empty((0, 4)), torch.float64)
    for row in range(4):
        check(program, out, row, weights(structure, tables, {}), 1e-13)


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    structure, tables = random_network(np.random.default_rng(5), 3)
    program = compile_program(structure, Ask((0,), (), (1, 2)))
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith(("numba", "inference.exact.encoding")):
            raise ModuleNotFoundError(f"No module named {name!r}", name="numba")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pyro-zoo\[compiled\]"):
        answer(program, tables, np.zeros((1, 2), np.int64), np.empty((0, 2)), torch.float64)
