"""Pretraining of a deep Boltzmann machine: RBMs with copied layers against all their states, and what it gives."""

from __future__ import annotations

import pytest
import torch

from inference import log_likelihood
from inference.objectives import ContrastiveDivergence
from inference.stacking import fit_layers
from tests.zoo.bit_machines import states
from zoo.deep_boltzmann_machine import DeepBoltzmannMachine
from zoo.tied_rbm import TiedRBM


@pytest.mark.parametrize("copies", [(2, 1), (1, 2), (2, 2)])
def test_free_energy_sums_the_copies_out(copies: tuple[int, int]) -> None:
    torch.manual_seed(0)
    rbm = TiedRBM(2, 2, *copies).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.normal_()
    rows, hidden = states(2 * copies[0]), states(2 * copies[1])
    total = torch.zeros(len(rows), len(hidden)).double()
    for v in rows.split(2, 1):
        total += (v @ rbm.visible_bias)[:, None]
        for h in hidden.split(2, 1):
            total += v @ rbm.weights @ h.t()
    for h in hidden.split(2, 1):
        total += (h @ rbm.hidden_bias)[None]
    torch.testing.assert_close(rbm.free_energy(rows), -total.logsumexp(1))
    p = total.logsumexp(1).softmax(0).detach()
    torch.manual_seed(1)
    after = rbm.gibbs_step(rows[torch.multinomial(p, 20_000, replacement=True)])
    share = (after[:, None] == rows[None]).all(-1).double().mean(0)
    assert ((share - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 1e-4).all()


def test_a_hidden_layer_of_the_machine_is_driven_as_hard_as_in_the_stack() -> None:
    """Where the layers above and below say the same as each other, h is drawn as in either RBM."""
    torch.manual_seed(0)
    machine = DeepBoltzmannMachine(3, hidden=(3, 3)).double()
    stack = machine.pretraining()
    with torch.no_grad():
        first, last = stack.layers
        for parameter in first.parameters():
            parameter.normal_()
        last.weights.copy_(first.weights.t())
        last.visible_bias.copy_(first.hidden_bias)
    machine.take(stack)
    x = states(3)
    s = torch.cat([x, torch.zeros(8, 3).double(), x], 1)
    expected = first.couplings.hidden(x.repeat(1, 2))
    torch.testing.assert_close(machine.machine.field(s, 1).sigmoid(), expected)
    assert stack.upward(x, 0).shape == (8, 6) and stack.upward(x, 1).shape == (8, 3)


def test_middle_layers_are_halved() -> None:
    machine = DeepBoltzmannMachine(2, hidden=(3, 4, 5))
    stack = machine.pretraining()
    machine.take(stack)
    for k, share in enumerate((1.0, 0.5, 1.0)):
        torch.testing.assert_close(machine.weights[k], stack.layers[k].weights * share)
    assert [m.visible_copies for m in stack.layers] == [2, 1, 1]
    assert [m.hidden_copies for m in stack.layers] == [1, 1, 2]


def test_pretraining_is_a_start_better_than_none() -> None:
    torch.manual_seed(0)
    y = torch.randint(0, 2, (600, 1))
    x = (torch.rand(600, 6) < torch.where(y == 1, 0.85, 0.15)).float()
    machine = DeepBoltzmannMachine(6, hidden=(3, 3))
    machine.initialise(x)
    before = log_likelihood(machine, x).mean
    stack = machine.pretraining()
    fits = fit_layers(stack, x, ContrastiveDivergence, steps=300, batch_size=100, lr=0.03, seed=0, progress=False)
    machine.take(stack)
    assert len(fits) == 2
    assert log_likelihood(machine, x).mean > before + 0.3
