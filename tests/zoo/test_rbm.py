"""The RBM against enumeration: every state of machines small enough to list."""

from __future__ import annotations

import copy
import itertools

import pyro.poutine as poutine
import pytest
import torch

from zoo.base import Refusal
from zoo.rbm import RBM


def states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def machine(visible: int = 4, hidden: int = 3, seed: int = 0, scale: float = 1.0) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(visible, hidden=hidden).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return rbm


def joint(rbm: RBM) -> torch.Tensor:
    """-E(x, h) of every pair of states, [2^visible, 2^hidden], term by term."""
    x, h = states(rbm.features), states(rbm.hidden)
    weights, b, c = (p.detach() for p in rbm.parameters())
    table = torch.zeros(len(x), len(h), dtype=torch.float64)
    for i, j in itertools.product(range(rbm.features), range(rbm.hidden)):
        table += weights[i, j] * torch.outer(x[:, i], h[:, j])
    for i in range(rbm.features):
        table += (b[i] * x[:, i])[:, None]
    for j in range(rbm.hidden):
        table += c[j] * h[:, j]
    return table


@pytest.mark.parametrize("visible, hidden", [(4, 3), (3, 5), (1, 1), (10, 6)])
def test_free_energy_sums_out_the_hidden_units(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    torch.testing.assert_close(rbm.free_energy(states(visible)), -joint(rbm).logsumexp(1))


@pytest.mark.parametrize("visible, hidden", [(4, 3), (3, 5), (1, 1), (10, 6)])
def test_log_partition_is_the_sum_over_all_states(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    log_z = rbm.log_partition()
    torch.testing.assert_close(log_z, joint(rbm).flatten().logsumexp(0))
    total = (-rbm.free_energy(states(visible)) - log_z).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


def test_log_partition_adds_up_over_blocks() -> None:
    couplings = machine(6, 4).couplings
    torch.testing.assert_close(
        couplings.log_partition(torch.zeros(1, 6), block=7), couplings.log_partition(torch.zeros(1, 6))
    )


def test_hidden_probabilities_are_those_of_the_joint() -> None:
    rbm = machine()
    expected = joint(rbm).softmax(1) @ states(rbm.hidden)
    torch.testing.assert_close(rbm.hidden_probabilities(states(rbm.features)), expected)


@pytest.mark.parametrize("chains", [7, 12])
def test_contrast_is_the_gradient_at_the_chains_rows(chains: int) -> None:
    rbm = machine(5, 4)
    x = states(5)[:12]
    torch.manual_seed(1)
    rows = rbm.start(chains)
    gap, gradients, moved = rbm.contrast(x, rows, 2)
    assert moved.shape == (chains, 5)
    assert ((moved == 0) | (moved == 1)).all()
    loss = rbm.free_energy(x).mean() - rbm.free_energy(rows).mean()
    for ours, autograds in zip(gradients, torch.autograd.grad(loss, list(rbm.parameters())), strict=True):
        torch.testing.assert_close(ours, autograds)

    def energy(v: torch.Tensor) -> torch.Tensor:  # at the mean of the hidden units, which enter linearly
        p = rbm.hidden_probabilities(v)
        return -((v @ rbm.weights) * p).sum(1) - v @ rbm.visible_bias - p @ rbm.hidden_bias

    torch.testing.assert_close(gap(), (energy(x).mean() - energy(rows).mean()).detach())


def test_contrast_moves_its_chains_by_gibbs_steps() -> None:
    rbm = machine()
    start = states(4)
    torch.manual_seed(5)
    rows = rbm.contrast(start, start, 3)[2]
    torch.manual_seed(5)
    expected = start
    for _ in range(3):
        expected = rbm.gibbs_step(expected)
    assert torch.equal(rows, expected)


def test_gibbs_leaves_the_exact_distribution_as_it_is() -> None:
    """The transition matrix by enumeration keeps p, and draws of gibbs_step follow that matrix."""
    rbm = machine(3, 2)
    x, h = states(3), states(2)
    table = joint(rbm)
    p = table.flatten().softmax(0).reshape(table.shape)
    transition = table.softmax(1) @ table.softmax(0).t()  # p(h | x) p(x' | h)
    torch.testing.assert_close(p.sum(1) @ transition, p.sum(1))
    torch.manual_seed(0)
    draws = 20_000
    for row, expected in zip(x, transition, strict=True):
        after = rbm.gibbs_step(row.expand(draws, -1))
        share = torch.stack([(after == state).all(1).double().mean() for state in x])
        error = (expected * (1 - expected) / draws).sqrt()
        assert ((share - expected).abs() < 4.5 * error + 1e-12).all()
    assert h.shape == (4, 2)


def test_samples_follow_the_exact_distribution() -> None:
    rbm = machine(3, 2)
    rbm.sweeps = 30
    torch.manual_seed(0)
    draws = rbm.sample(20_000)
    expected = (-rbm.free_energy(states(3)) - rbm.log_partition()).exp()
    share = torch.stack([(draws == state).all(1).double().mean() for state in states(3)])
    assert ((share - expected).abs() < 4.5 * (expected * (1 - expected) / 20_000).sqrt()).all()


def test_images_keep_their_shape() -> None:
    rbm = RBM((1, 4, 4), hidden=5)
    torch.manual_seed(0)
    x = rbm.start(7)
    assert x.shape == (7, 1, 4, 4)
    assert rbm.gibbs_step(x).shape == (7, 1, 4, 4)
    assert rbm.contrast(x, rbm.start(3), 1)[2].shape == (3, 1, 4, 4)
    assert torch.equal(rbm.free_energy(x), rbm.free_energy(x.bool()))
    assert rbm.measure == "mass"


def test_as_a_pyro_model_it_scores_up_to_log_z() -> None:
    rbm = machine()
    x = states(4)
    trace = poutine.trace(rbm.model).get_trace(x)
    torch.testing.assert_close(trace.log_prob_sum(), -rbm.free_energy(x).sum())


def test_initialise_sets_the_biases_once() -> None:
    rbm = RBM(3, hidden=2)
    x = torch.tensor([[1.0, 0.0, 1.0]] * 6 + [[1.0, 0.0, 0.0]] * 2)
    rbm.initialise(x)
    torch.testing.assert_close(rbm.visible_bias.sigmoid().detach(), torch.tensor([0.9, 0.1, 0.7]))
    torch.manual_seed(0)
    torch.testing.assert_close(rbm.start(20_000).mean(0), torch.tensor([0.9, 0.1, 0.7]), atol=0.02, rtol=0)
    rbm.initialise(1 - x)
    torch.testing.assert_close(rbm.visible_bias.sigmoid().detach(), torch.tensor([0.9, 0.1, 0.7]))
    again = RBM(3, hidden=2)
    again.load_state_dict(rbm.state_dict())
    again.initialise(1 - x)
    assert torch.equal(again.visible_bias, rbm.visible_bias)


def test_a_large_machine_refuses_log_z() -> None:
    large = RBM(21, hidden=21)
    assert "log_partition" not in large.capabilities
    assert not hasattr(large, "log_partition")
    with pytest.raises(Refusal, match="AIS"):
        large.log_partition()
    for small in (RBM(21, hidden=20), RBM(20, hidden=21)):
        assert "log_partition" in small.capabilities
        assert hasattr(copy.deepcopy(small), "log_partition")


@pytest.mark.parametrize("hidden", [0, -1, 2.5])
def test_refuses_a_number_of_hidden_units_that_is_none(hidden: float) -> None:
    with pytest.raises(ValueError, match="hidden"):
        RBM(4, hidden=hidden)  # type: ignore[arg-type]


def test_refuses_a_context() -> None:
    with pytest.raises(ValueError, match="context"):
        RBM(4, context_shape=2)
