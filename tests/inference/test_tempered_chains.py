"""Parallel tempering: detailed balance by enumeration, and a mode that plain chains do not leave."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from inference.fit import fit
from inference.objectives import ContrastiveDivergence, PersistentChains, TemperedChains
from inference.objectives.tempered_chains import swap_chance, swapped
from zoo.app.settings import objective
from zoo.rbm import RBM


def states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def machine(scale: float = 1.0, seed: int = 0) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(3, hidden=2).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    rbm.initialised.fill_(True)
    return rbm


def two_modes(units: int = 8, pull: float = 4.0) -> RBM:
    """All zeros or all ones, as likely as each other, and hardly anything between."""
    rbm = RBM(units, hidden=2).double()
    with torch.no_grad():
        rbm.weights.fill_(pull)
        rbm.visible_bias.fill_(-pull)
        rbm.hidden_bias.fill_(-pull * units / 2)
    rbm.initialised.fill_(True)
    return rbm


def test_swaps_are_in_detailed_balance() -> None:
    """p_a(x) p_b(y) chance(x, y) is the same with x and y exchanged, for each pair of states."""
    path, x = machine().annealing(), states(3)
    a, b = path.at(0.3), path.at(0.9)
    first, second = x.repeat_interleave(8, 0), x.repeat(8, 1)
    log_p = [(-energy.free_energy(x)).log_softmax(0) for energy in (a, b)]
    both = (log_p[0].repeat_interleave(8) + log_p[1].repeat(8)).exp().view(8, 8).detach()
    chance = swap_chance(a, b, first, second).view(8, 8).detach()
    torch.testing.assert_close(both * chance, (both * chance).T)
    assert chance.max() == 1 and chance.min() < 0.9


def test_swaps_keep_the_distribution_of_every_place() -> None:
    path, x, n = machine(1.5, seed=2).annealing(), states(3), 40_000
    energies = [path.at(place / 3) for place in range(4)]
    torch.manual_seed(0)
    shares = [(-energy.free_energy(x)).softmax(0).detach() for energy in energies]
    rows = torch.stack([x[torch.multinomial(share, n, replacement=True)] for share in shares])
    moved = swapped(energies, rows)
    assert not torch.equal(moved, rows)
    torch.testing.assert_close(moved.sum(0), rows.sum(0))  # rows change places, and nothing else
    for place, share in zip(moved, shares, strict=True):
        found = torch.stack([(place == state).all(1).double().mean() for state in x])
        assert ((found - share).abs() < 4.5 * (share * (1 - share) / n).sqrt()).all()


def test_it_leaves_a_mode_that_plain_chains_stay_in() -> None:
    rbm = two_modes()
    share_of_ones = {}
    for name, chains in (("plain", PersistentChains(200)), ("tempered", TemperedChains(200, 8))):
        torch.manual_seed(0)
        chains.prepare(rbm, 1)
        chains.state = torch.zeros_like(chains.state)
        for _ in range(150):
            rows = chains.rows(rbm, torch.zeros(1, 8), 1)
        share_of_ones[name] = float(rows.mean())
    assert share_of_ones["plain"] < 0.05
    assert 0.35 < share_of_ones["tempered"] < 0.65


def test_the_gradient_is_the_likelihoods_in_the_limit() -> None:
    rbm, x = machine(), states(3)
    objective = ContrastiveDivergence(30, TemperedChains(20_000, 3))
    torch.manual_seed(0)
    objective.prepare(rbm, x)
    (player,) = objective.players(rbm)
    loss = player.loss(x, None)
    player.backward(loss, player.parameters)
    exact = rbm.free_energy(x).mean() + (-rbm.free_energy(x)).logsumexp(0)
    for parameter, expected in zip(rbm.parameters(), torch.autograd.grad(exact, list(rbm.parameters())), strict=True):
        assert parameter.grad is not None
        assert (parameter.grad - expected).abs().max() < 4.5 * 0.5 / 20_000**0.5


def test_a_resumed_fit_is_the_uninterrupted_one_and_a_spec_names_it(tmp_path: Any) -> None:
    table = {"name": "contrastive_divergence", "chains": {"name": "tempered", "count": 5, "temperatures": 3}}
    x = states(3).float()

    def run(steps: int, **more: Any) -> RBM:
        torch.manual_seed(0)
        rbm = RBM(3, hidden=2)
        fit(rbm, x, objective(table), steps=steps, batch_size=4, progress=False, **more)
        return rbm

    whole = run(20)
    run(9, checkpoint=tmp_path / "half.pt")
    for name, tensor in run(20, resume=tmp_path / "half.pt").state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_refuses_what_has_no_path() -> None:
    class Bare(torch.nn.Module):
        free_energy = gibbs_step = start = lambda self, x: x

    with pytest.raises(TypeError, match="Bare offers no annealing"):
        TemperedChains().check(Bare(), torch.zeros(1, 2))
    for wrong in ({"count": 0}, {"temperatures": 1}, {"count": 2.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TemperedChains(**wrong)  # type: ignore[arg-type]
