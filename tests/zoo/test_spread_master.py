"""The exact law of small populations against a dense matrix exponential written out by hand, and closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.linalg
import scipy.stats
import torch

from zoo.spread import Compartments, Transition, master, master_equation

SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])


def by_hand(n: int, infected: int, beta: float, gamma: float, time: float) -> dict[tuple[int, int], float]:
    """P(S, I) of SIR by the dense exponential of a generator that is filled in cell by cell."""
    states = [(s, i) for s, i in itertools.product(range(n + 1), repeat=2) if s + i <= n]
    generator = torch.zeros(len(states), len(states), dtype=torch.float64)
    for row, (s, i) in enumerate(states):
        for pace, following in ((beta * s * i / n, (s - 1, i + 1)), (gamma * i, (s, i - 1))):
            if pace:
                generator[row, states.index(following)] += pace
                generator[row, row] -= pace
    after = scipy.linalg.expm(generator.numpy() * time)[states.index((n - infected, infected))]
    return dict(zip(states, after.tolist(), strict=True))


def test_sir_is_the_dense_matrix_exponential_for_every_rate_of_a_batch() -> None:
    rates = {"beta": torch.tensor([2.0, 0.5]), "gamma": torch.tensor([1.0, 0.3], dtype=torch.float64)}
    law = master_equation(SIR, rates, SIR.state(S=6, I=2), [0.0, 0.7, 3.0])
    assert law.probabilities.shape == (2, 3, len(law.states))
    for row, (beta, gamma) in enumerate([(2.0, 1.0), (0.5, 0.3)]):
        for moment, time in enumerate([0.0, 0.7, 3.0]):
            wanted = by_hand(8, 2, beta, gamma, time)
            for state, found in zip(law.states.tolist(), law.probabilities[row, moment].tolist(), strict=True):
                assert found == pytest.approx(wanted.pop((int(state[0]), int(state[1]))), abs=1e-10)
            assert sum(wanted.values()) == pytest.approx(0.0, abs=1e-12)
    assert (law.beyond == 0).all()


def test_heads_that_die_alone_are_binomial_and_the_marginal_says_so() -> None:
    model = Compartments("A", [Transition("A", None, "mu")])
    law = master_equation(model, {"mu": 0.4}, model.state(A=9), [1.0, 3.5])
    wanted = scipy.stats.binom(9, torch.tensor(-0.4 * 2.5).exp().item()).pmf(range(10))
    assert torch.allclose(law.marginal("A")[1], torch.as_tensor(wanted), atol=1e-12)
    assert law.mean()[1, 0] == pytest.approx(9 * torch.tensor(-1.0, dtype=torch.float64).exp().item())


def test_births_are_geometric_and_what_is_not_followed_is_told() -> None:
    model = Compartments("A", [Transition(None, "A", "mu")])
    law = master_equation(model, {"mu": 0.5}, model.state(A=1), [0.0, 2.0], at_most=12)
    wanted = scipy.stats.geom(torch.tensor(-1.0, dtype=torch.float64).exp().item())
    assert law.marginal("A")[1, 1:].tolist() == pytest.approx(wanted.pmf(range(1, 13)).tolist(), abs=1e-12)
    assert law.beyond.tolist() == pytest.approx([0.0, wanted.sf(12)], abs=1e-12)


@pytest.mark.parametrize("contacts", [1.0, 0.5])
def test_pairs_of_three_spreaders_who_meet(contacts: float) -> None:
    moves = [Transition("Y", "Z", "beta", by="Y", pairs=True)]
    model = Compartments("YZ", moves, groups=("all",), contacts=[[contacts]])
    law = master_equation(model, {"beta": 2.0}, model.state(Y=[3]), [0.0, 0.6])
    # three pairs, each meets at 2 / N = 2/3: all at once 2, and the one that is left over stays
    none = math.exp(-1.2 * contacts)
    assert law.marginal("Y")[1].tolist() == pytest.approx([0.0, 1 - none, 0.0, none], abs=1e-7)


def test_a_marginal_is_of_its_group() -> None:
    model = Compartments("A", [Transition("A", None, "mu")], groups=("few", "many"))
    law = master_equation(model, {"mu": 0.4}, model.state(A=[3, 5]), [0.0, 2.0])
    for group, heads in enumerate((3, 5)):
        wanted = scipy.stats.binom(heads, math.exp(-0.8)).pmf(range(heads + 1))
        assert law.marginal("A", group)[1].tolist() == pytest.approx(wanted.tolist(), abs=1e-12)


def test_what_seldom_happens_is_right_to_its_last_digits_where_there_are_many_ways_out() -> None:
    """Eight ways out of one state, each as often: the chance that all of three stay is tiny, and right all the same."""
    model = Compartments("ABCDEFGHI", [Transition("A", name, "mu") for name in "BCDEFGHI"])
    law = master_equation(model, {"mu": 0.3}, model.state(A=3), [0.0, 3.0])
    wanted = scipy.stats.binom(3, math.exp(-8 * 0.3 * 3)).pmf(range(4))
    assert law.marginal("A")[1].tolist() == pytest.approx(wanted.tolist(), rel=1e-9)


def test_states_are_those_that_any_rate_of_a_batch_leads_to() -> None:
    law = master_equation(SIR, {"beta": torch.tensor([0.0, 2.0]), "gamma": 1.0}, SIR.state(S=6, I=2), [0.0, 0.7])
    alone = master_equation(SIR, {"beta": 2.0, "gamma": 1.0}, SIR.state(S=6, I=2), [0.0, 0.7])
    assert torch.allclose(law.mean()[1], alone.mean(), atol=1e-12)
    assert law.mean()[0, 1].tolist() == pytest.approx([6.0, 2 * math.exp(-0.7), 2 - 2 * math.exp(-0.7)])


def test_a_start_for_each_of_a_batch() -> None:
    start = torch.stack([SIR.state(S=6, I=2), SIR.state(S=3, I=1)])
    together = master_equation(SIR, {"beta": 2.0, "gamma": 1.0}, start, [0, 1.5])
    for row, heads in enumerate(start):
        alone = master_equation(SIR, {"beta": 2.0, "gamma": 1.0}, heads, [0, 1.5])
        assert torch.allclose(together.mean()[row], alone.mean(), atol=1e-12)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    start = SIR.state(S=60, I=2)
    monkeypatch.setattr(master, "STATES", 500)
    with pytest.raises(ValueError, match=r"more than 500 states .* 62 heads.*gillespie"):
        master_equation(SIR, {"beta": 1.0, "gamma": 1.0}, start, [0, 1])
    with pytest.raises(ValueError, match=r"'beta' is a function of time"):
        master_equation(SIR, {"beta": lambda t: t, "gamma": 1.0}, start, [0, 1])
    model = Compartments("A", [Transition(None, "A", "mu")])
    with pytest.raises(ValueError, match="at_most="):
        master_equation(model, {"mu": 1.0}, model.state(A=1), [0, 1])
    with pytest.raises(ValueError, match="at_most is 5, and the start has 6 heads"):
        master_equation(model, {"mu": 1.0}, model.state(A=6), [0, 1], at_most=5)
