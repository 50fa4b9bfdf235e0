"""Machines of bits against enumeration: every state of machines small enough to list, term by term."""

from __future__ import annotations

import pytest
import torch

from inference import log_likelihood
from inference.ais import ais, bracket
from inference.fit import fit
from inference.likelihood import Ais
from inference.objectives import JointDivergence
from tests.zoo.bit_machines import GRID, MACHINES, joint, made, negative_energy, rows, shaken, states
from zoo.base import Refusal
from zoo.boltzmann_machine import BoltzmannMachine
from zoo.deep_boltzmann_machine import DeepBoltzmannMachine
from zoo.machines import UnitMachine
from zoo.units import mean_field, sweep, variational_free_energy

machines = pytest.mark.parametrize("name", MACHINES)


@machines
def test_free_energy_and_log_partition_are_the_sums(name: str) -> None:
    model, table = made(name), joint(made(name))
    torch.testing.assert_close(model.free_energy(rows(model)), -table.logsumexp(1))
    torch.testing.assert_close(model.log_partition(), table.flatten().logsumexp(0))


@machines
def test_marginals_and_moments_are_those_of_the_joint(name: str) -> None:
    model, table = made(name), joint(made(name))
    p, s = table.flatten().softmax(0), states(model.units)
    torch.testing.assert_close(model.marginals(), p @ s)
    torch.testing.assert_close(model.moments(), torch.einsum("k,ki,kj->ij", p, s, s))


def test_sixteen_units_with_hidden_ones() -> None:
    model = shaken(BoltzmannMachine(10, hidden=6), scale=0.4)
    table = joint(model)
    torch.testing.assert_close(model.free_energy(rows(model)[::37]), -table.logsumexp(1)[::37])
    torch.testing.assert_close(model.log_partition(), table.flatten().logsumexp(0))
    p = table.flatten().softmax(0)
    torch.testing.assert_close(model.marginals(), p @ states(16))
    gap = model.free_energy(rows(model)[:3]).mean() + p @ -model.joint.free_energy(states(16))
    (ours,) = torch.autograd.grad(gap, [model.biases])
    told = table[:3].softmax(1) @ states(6)  # the chance of each hidden unit given x
    exact = torch.cat([rows(model)[:3].mean(0), told.mean(0)]) - p @ states(16)
    torch.testing.assert_close(-ours, exact)


@machines
def test_contrastive_divergence_in_the_limit_is_the_likelihoods_gradient(name: str) -> None:
    """With all states as the chains, each by its probability, the gap's gradient is that of -log p(x)."""
    model = made(name)
    x, s = rows(model)[1:4], states(model.units)
    p = joint(model).flatten().softmax(0)
    gap = model.free_energy(x).mean() + p @ -model.joint.free_energy(s)
    ours = torch.autograd.grad(gap, list(model.parameters()))
    h = torch.autograd.grad((model.free_energy(x) + model_log_z(model)).mean(), list(model.parameters()))
    for mine, exact in zip(ours, h, strict=True):
        torch.testing.assert_close(mine, exact)


def model_log_z(model: UnitMachine) -> torch.Tensor:
    """log Z with its gradient: by the machine's matrix, over all states."""
    s, machine = states(model.units), model.machine
    return (((s @ machine.matrix) * s).sum(1) / 2 + s @ machine.bias).logsumexp(0)


@machines
def test_coded_energies_and_fields_agree_with_the_terms(name: str) -> None:
    model = made(name)
    s, machine = states(model.units), model.machine
    torch.testing.assert_close(machine.energy(s), -negative_energy(model, s))
    assert sorted(torch.cat(list(machine.groups)).tolist()) == list(range(model.units))
    for k, at in enumerate(machine.groups):
        assert (machine.matrix[at][:, at] == 0).all()
        for place, unit in enumerate(at.tolist()):
            on, off = s.clone(), s.clone()
            on[:, unit], off[:, unit] = 1.0, 0.0
            gained = negative_energy(model, on) - negative_energy(model, off)
            torch.testing.assert_close(machine.field(s, k)[:, place], gained)


@machines
def test_a_sweeps_transition_matrix_keeps_the_joint(name: str) -> None:
    """The matrix of each group's move by enumeration keeps p, and draws of `sweep` follow the product."""
    model = made(name)
    s, machine = states(model.units), model.machine
    p = joint(model).flatten().softmax(0)
    whole = torch.eye(len(s), dtype=torch.float64)
    for k, at in enumerate(machine.groups):
        rest = torch.ones(model.units, dtype=torch.bool)
        rest[at] = False
        same = (s[:, None, rest] == s[None, :, rest]).all(-1)
        odds = machine.field(s, k).sigmoid()
        to = torch.where(s[None][:, :, at] == 1, odds[:, None], 1 - odds[:, None]).prod(-1)
        whole = whole @ (to * same)
    torch.testing.assert_close(whole.sum(1), torch.ones(len(s), dtype=torch.float64))
    torch.testing.assert_close(p @ whole, p)
    torch.manual_seed(0)
    start, draws = 5, 20_000
    after = sweep(machine, s[start].expand(draws, -1)) @ (2.0 ** torch.arange(model.units - 1, -1, -1).double())
    share = torch.bincount(after.long(), minlength=len(s)).double() / draws
    error = (whole[start] * (1 - whole[start]) / draws).sqrt()
    assert ((share - whole[start]).abs() < 5 * error + 1e-4).all()


@pytest.mark.parametrize("name", ["all coupled", "two layers"])
def test_gibbs_step_keeps_the_distribution_of_x(name: str) -> None:
    model = made(name)
    x, p = rows(model), joint(model).logsumexp(1).softmax(0)
    torch.manual_seed(1)
    draws = 40_000
    begin = x[torch.multinomial(p, draws, replacement=True)]
    after = model.gibbs_step(begin)
    assert after.shape == begin.shape and not torch.equal(after, begin)
    code = (after.flatten(1) @ (2.0 ** torch.arange(model.features - 1, -1, -1).double())).long()
    share = torch.bincount(code, minlength=len(x)).double() / draws
    assert ((share - p).abs() < 5 * (p * (1 - p) / draws).sqrt() + 1e-4).all()


@machines
def test_mean_field_is_a_lower_bound_that_coordinate_ascent_cannot_raise(name: str) -> None:
    model = made(name)
    x = rows(model)
    if model.units == model.features:
        return
    model._summed_hidden = False
    assert "mean field" in model.free_energy_kind
    bound = model.free_energy(x)
    exact = -joint(model).logsumexp(1)
    assert (bound >= exact - 1e-9).all() and (bound - exact).max() > 1e-4
    assert (bound - exact).mean() < 0.3
    s = torch.nn.functional.pad(x.flatten(1), (0, model.units - model.features))
    means = mean_field(model.machine, s, model._known(s))
    torch.testing.assert_close(variational_free_energy(model.machine, means), bound)
    hidden = means[:, model.features :]
    for shift in (0.02, -0.02):
        moved = torch.cat([means[:, : model.features], (hidden + shift).clamp(1e-6, 1 - 1e-6)], 1)
        assert (variational_free_energy(model.machine, moved) >= bound - 1e-9).all()


def test_a_likelihood_says_that_its_free_energy_is_a_bound() -> None:
    model = BoltzmannMachine(3, hidden=20)
    found = log_likelihood(model, torch.zeros(2, 3), method=Ais(chains=4, temperatures=5))
    assert found.kind == "estimate" and found.method.endswith("free energy an upper bound, by mean field")
    found = log_likelihood(made("all coupled"), torch.zeros(2, 5).double(), method=Ais(chains=4, temperatures=5))
    assert "bound" not in found.method
    assert log_likelihood(made("all coupled"), torch.zeros(2, 5).double()).kind == "exact"


def test_mean_field_is_exact_where_hidden_units_are_not_coupled() -> None:
    pairs = [(i, 4 + j) for i in range(4) for j in range(3)]
    model = shaken(BoltzmannMachine(4, hidden=3, pairs=pairs))
    exact = model.free_energy(rows(model))
    model._summed_hidden = False
    torch.testing.assert_close(model.free_energy(rows(model)), exact)


def test_groups_of_a_grid_are_two_and_of_all_pairs_one_each() -> None:
    assert len(BoltzmannMachine(6, pairs=GRID).machine.groups) == 2
    assert len(BoltzmannMachine(6).machine.groups) == 6


@machines
def test_ais_finds_log_z(name: str) -> None:
    model = made(name)
    found = ais(model, chains=256, temperatures=150, seed=1)
    assert abs(float(found.value - model.log_partition())) < 4 * float(found.standard_error) + 0.01
    assert float(found.standard_error) < 0.2


def test_the_path_begins_at_independent_bits_and_sums_one_group_out() -> None:
    model = shaken(DeepBoltzmannMachine(3, hidden=(2, 2)))
    path = model.annealing(rows(model)[2:5])
    for beta, machine in ((0.0, None), (1.0, model)):
        step = path.at(beta)
        kept = [i for i in range(model.units) if i not in model.machine.groups[path.summed].tolist()]
        s = states(model.units)
        summed = torch.zeros(2 ** len(kept), dtype=torch.float64)
        target = negative_energy(model, s) if machine else s @ path.base_bias
        code = (s[:, kept] @ (2.0 ** torch.arange(len(kept)).double())).long()
        summed = torch.zeros(2 ** len(kept), dtype=torch.float64).index_add(0, code, target.exp())
        torch.testing.assert_close(step.free_energy(s), -summed.log()[code])
    torch.testing.assert_close(path.log_partition(), (states(model.units) @ path.base_bias).logsumexp(0))


def test_the_reverse_step_undoes_the_step() -> None:
    """p(r) K(r -> r') = p(r') R(r' -> r) of the units that are not summed out, K and R counted over many draws."""
    model = shaken(BoltzmannMachine(3), scale=1.2)
    step = model.annealing().at(1.0)
    s = states(3)
    kept = [k for k in range(3) if k not in model.machine.groups[step.summed].tolist()]
    weight = torch.tensor([2.0, 1.0]).double()
    p = torch.zeros(4).double().index_add(0, (s[:, kept] @ weight).long(), joint(model).flatten().softmax(0))
    torch.manual_seed(0)
    draws, flows = 100_000, []
    begin = s.repeat_interleave(draws, 0)
    for move in (step.gibbs_step, step.reverse_step, step.gibbs_step):
        code = (begin[:, kept] @ weight).long() * 4 + (move(begin)[:, kept] @ weight).long()
        counts = torch.bincount(code, minlength=16).double().view(4, 4)
        flows.append(p[:, None] * counts / counts.sum(1, keepdim=True))
    assert (flows[0] - flows[1].t()).abs().max() < 0.002
    assert (flows[0] - flows[2].t()).abs().max() > 0.004


@pytest.mark.parametrize("name", ["all coupled", "three layers"])
def test_ais_and_reverse_ais_bracket_log_z(name: str) -> None:
    model = made(name)
    model.sweeps = 50
    found = bracket(model, chains=256, temperatures=100, seed=1)
    exact = model.log_partition()
    for end in (found.lower, found.upper):
        assert abs(end.value.item() - exact.item()) < 4 * end.standard_error.item() + 0.01
        assert end.standard_error.item() < 0.1


def test_all_units_together_have_the_models_log_z() -> None:
    model = made("two layers")
    found = ais(model.joint, chains=256, temperatures=150, seed=1)
    assert abs(found.value.item() - model.log_partition().item()) < 4 * found.standard_error.item() + 0.01
    assert model.joint.sample(3).shape == (3, model.units)


def test_the_family_refuses_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="pair of two different units"):
        BoltzmannMachine(3, pairs=[(0, 0)])
    with pytest.raises(ValueError, match="hidden must be"):
        BoltzmannMachine(3, hidden=-1)
    with pytest.raises(ValueError, match="an RBM has one layer"):
        DeepBoltzmannMachine(3, hidden=(4,))
    with pytest.raises(Refusal, match="AIS"):
        BoltzmannMachine(30).log_partition()
    with pytest.raises(ValueError, match="too many to sum"):
        BoltzmannMachine(30).marginals()


def test_chains_that_leave_the_data_raise_an_alarm() -> None:
    torch.manual_seed(0)
    model = BoltzmannMachine((2, 2), hidden=2)
    x = (torch.rand(50, 2, 2) < 0.1).float()
    objective = JointDivergence(chains=20)
    objective.prepare(model, x)
    assert objective.chains.state.shape == (20, 6)
    ill = [objective.watch(model, {}) for _ in range(5)]
    objective.chains.state = torch.ones(20, 6)
    ill += [objective.watch(model, {}) for _ in range(20)]
    assert ill[:5] == [{}] * 5 and "diverging chains" in {name for found in ill for name in found}


def test_the_default_fit_learns_the_moments_of_a_machine() -> None:
    """At the maximum of the likelihood a fully visible machine has the data's moments; chains get there."""
    truth = shaken(BoltzmannMachine(4), seed=3, scale=1.0)
    p = joint(truth).flatten().softmax(0)
    torch.manual_seed(0)
    x = states(4)[torch.multinomial(p, 2000, replacement=True)]
    model = BoltzmannMachine(4).double()
    fit(model, x, JointDivergence(chains=500), steps=400, batch_size=None, lr=0.05, seed=0, progress=False)
    torch.testing.assert_close(model.moments(), x.t() @ x / len(x), atol=0.03, rtol=0)
    with torch.no_grad():
        divergence = (p * (p.log() + model.free_energy(states(4)) + model.log_partition())).sum()
    assert float(divergence) < 0.01
