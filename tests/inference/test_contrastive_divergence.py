"""Contrastive divergence against the exact gradient, its two paths against each other, and its state."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference.descent import descent
from inference.fit import fit
from inference.objectives.contrastive_divergence import ContrastiveDivergence, DataChains, PersistentChains
from zoo.rbm import RBM


def states(units: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)))


def machine(visible: int = 4, hidden: int = 3, seed: int = 0) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(visible, hidden=hidden)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
    rbm.initialised.fill_(True)
    return rbm


def rows(n: int = 200, visible: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(n, 1, generator=generator).lt(0.5).float()
    noise = torch.rand(n, visible, generator=generator).lt(0.1).float()
    return (first - noise).abs()


class AnEnergy(nn.Module):
    """The bare protocol around an RBM: no closed form."""

    def __init__(self, rbm: RBM) -> None:
        super().__init__()
        self.rbm = rbm

    def free_energy(self, x: Tensor) -> Tensor:
        return self.rbm.free_energy(x)

    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.rbm.gibbs_step(x)

    def start(self, n: int) -> Tensor:
        return self.rbm.start(n)


def gradients(model: Any, objective: ContrastiveDivergence, x: Tensor, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    for parameter in model.parameters():
        parameter.grad = None
    torch.manual_seed(seed)
    objective.prepare(model, x)
    (player,) = objective.players(model)
    loss = player.loss(x, None)
    player.backward(loss, player.parameters)
    return [p.grad.clone() for p in player.parameters if p.grad is not None], loss.value


@pytest.mark.parametrize("chains", [50, DataChains()])
def test_closed_form_and_autograd_agree_on_the_same_draws(chains: Any) -> None:
    rbm, x = machine(), rows()
    closed, _ = gradients(rbm, ContrastiveDivergence(2, chains), x)
    by_autograd, _ = gradients(AnEnergy(rbm), ContrastiveDivergence(2, chains), x)
    assert len(closed) == len(by_autograd) == 3
    for ours, autograds in zip(closed, by_autograd, strict=True):
        torch.testing.assert_close(ours, autograds)


def test_each_gap_is_what_its_name_says() -> None:
    rbm, x = machine(), rows()
    seen = []
    for model in (rbm, AnEnergy(rbm)):
        torch.manual_seed(0)
        objective = ContrastiveDivergence(1, 50)
        objective.prepare(model, x)
        chains = objective.chains.state
        (player,) = objective.players(model)
        seen.append((player.loss(x, None).terms, chains))
    (closed, chains), (by_autograd, others) = seen

    def energy(x: Tensor) -> Tensor:  # the mean of E(x, h) over h given x
        h = rbm.hidden_probabilities(x)
        return -((x @ rbm.weights) * h).sum(1) - x @ rbm.visible_bias - h @ rbm.hidden_bias

    assert torch.equal(chains, others)
    assert set(closed) == {"expected_energy_gap"} and set(by_autograd) == {"free_energy_gap"}
    expected = energy(x).mean() - energy(chains).mean()
    torch.testing.assert_close(closed["expected_energy_gap"], expected.detach(), rtol=1e-4, atol=1e-5)
    free = rbm.free_energy(x).mean() - rbm.free_energy(chains).mean()
    torch.testing.assert_close(by_autograd["free_energy_gap"], free.detach())
    assert (expected - free).abs() > 1e-3


@pytest.mark.parametrize("chains", [40_000, DataChains()])
def test_many_sweeps_give_the_gradient_of_the_likelihood(chains: Any) -> None:
    rbm = machine()
    x = rows()
    everything = states(4)
    exact = rbm.free_energy(x).mean() + (-rbm.free_energy(everything)).logsumexp(0)
    expected = torch.autograd.grad(exact, list(rbm.parameters()))
    data = x if isinstance(chains, int) else x.repeat(200, 1)
    found, _ = gradients(rbm, ContrastiveDivergence(40, chains), data)
    for ours, exactly in zip(found, expected, strict=True):
        assert (ours - exactly).abs().max() < 4.5 * 0.5 / 200  # a bit's deviation is at most 1/2, over 200^2 chains


def test_one_sweep_from_the_data_is_not_yet_that_gradient() -> None:
    rbm, x = machine(), rows().repeat(200, 1)
    with torch.no_grad():
        rbm.weights.mul_(4)
    short, _ = gradients(rbm, ContrastiveDivergence(1, DataChains()), x)
    long, _ = gradients(rbm, ContrastiveDivergence(40, DataChains()), x)
    assert (short[1] - long[1]).abs().max() > 0.02


def test_a_frozen_parameter_gets_no_gradient() -> None:
    rbm = machine()
    rbm.visible_bias.requires_grad_(False)
    found, _ = gradients(rbm, ContrastiveDivergence(), rows())
    assert [g.shape for g in found] == [rbm.weights.shape, rbm.hidden_bias.shape]
    assert rbm.visible_bias.grad is None


def test_persistent_chains_go_on_and_are_in_the_state() -> None:
    rbm, objective = machine(), ContrastiveDivergence(chains=6)
    gradients(rbm, objective, rows())
    before = objective.chains.state.clone()  # type: ignore[union-attr]
    saved = objective.state_dict()
    assert torch.equal(saved["chains.state"], before)
    (player,) = objective.players(rbm)
    torch.manual_seed(3)
    player.loss(rows(), None)
    torch.manual_seed(3)
    assert torch.equal(objective.chains.state, rbm.gibbs_step(before))  # type: ignore[union-attr]
    again = ContrastiveDivergence(chains=6)
    again.prepare(rbm, rows())
    again.load_state_dict(saved)
    assert torch.equal(again.chains.state, before)  # type: ignore[union-attr]
    assert "chains.state" not in ContrastiveDivergence(chains=DataChains()).state_dict()


def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path: Any) -> None:
    def run(steps: int, **more: Any) -> RBM:
        torch.manual_seed(0)
        rbm = RBM(4, hidden=3)
        fit(rbm, rows(), ContrastiveDivergence(chains=10), steps=steps, batch_size=32, progress=False, **more)
        return rbm

    whole = run(30)
    run(13, checkpoint=tmp_path / "half.pt")
    resumed = run(30, resume=tmp_path / "half.pt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_fit_nears_the_best_likelihood_and_held_out_falls() -> None:
    torch.manual_seed(0)
    rbm, x = RBM(4, hidden=3), rows(2000)
    entropy = _entropy(x)
    result = fit(
        rbm, x, steps=1500, batch_size=200, lr=0.2, optimizer=descent, validation=0.1, every=500, progress=False
    )
    held = result.history["held_out"]
    assert held.iloc[-1] < held.iloc[0]
    nll = float((rbm.free_energy(x).mean() + (-rbm.free_energy(states(4))).logsumexp(0)).detach())
    assert entropy - 1e-3 < nll < entropy + 0.05


def _entropy(x: Tensor) -> float:
    share = torch.unique(x, dim=0, return_counts=True)[1] / len(x)
    return float(-(share * share.log()).sum())


def test_held_out_is_the_pseudo_likelihood() -> None:
    rbm, x = machine(), states(4)
    p = (-rbm.free_energy(x)).softmax(0).detach()
    table = p.reshape(2, 2, 2, 2)
    expected = 0.0
    for row in x.long().tolist():
        for i in range(4):
            other = [*row[:i], 1 - row[i], *row[i + 1 :]]
            expected -= float((table[tuple(row)] / (table[tuple(row)] + table[tuple(other)])).log()) / len(x)
    assert float(ContrastiveDivergence().held_out(rbm, x)) == pytest.approx(expected, rel=1e-5)
    assert float(ContrastiveDivergence().held_out(rbm, x.bool())) == pytest.approx(expected, rel=1e-5)


def test_held_out_of_long_rows_scales_up() -> None:
    rbm = RBM(130, hidden=2)
    with torch.no_grad():
        rbm.weights.zero_()
    value = ContrastiveDivergence().held_out(rbm, torch.ones(3, 130))
    assert float(value) == pytest.approx(130 * 0.693147, rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="zeros and ones"):
        ContrastiveDivergence().held_out(machine(), torch.full((2, 4), 0.5))
    with pytest.raises(ValueError, match="steps"):
        ContrastiveDivergence(0)
    for chains in (0, -1):
        with pytest.raises(ValueError, match="chains"):
            PersistentChains(chains)
    with pytest.raises(ValueError, match=r"row|x"):
        fit(RBM(4, hidden=2), torch.full((8, 4), 0.5), steps=1, progress=False)


def test_descent_is_sgd() -> None:
    ours, torchs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    for optimizer, parameter in ((descent([ours], 0.1), ours), (torch.optim.SGD([torchs], 0.1), torchs)):
        for _ in range(3):
            parameter.grad = parameter.detach() ** 2
            optimizer.step()
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize(("broken", "named"), [(12, 20), (21, 21), (28, 30)])
def test_a_gap_that_is_not_finite_is_named_though_few_steps_are_looked_at(broken: int, named: int) -> None:
    class Breaks(RBM):
        calls = 0

        def contrast(self, *arguments: Any) -> Any:
            self.calls += 1
            gap, gradients, chains = super().contrast(*arguments)
            if self.calls == broken:
                gradients[0][0, 0] = float("inf")
            return (lambda: gradients[0].sum() - gap()) if self.calls == broken else gap, gradients, chains

    rbm = Breaks(4, hidden=3)
    pattern = rf"expected_energy_gap' became -?\w+ by step {named}; the model is back at step {(broken - 1) // 10 * 10}"
    with pytest.raises(FloatingPointError, match=pattern):
        fit(rbm, rows(), ContrastiveDivergence(chains=10), steps=40, batch_size=32, every=10, progress=False)
    assert all(parameter.isfinite().all() for parameter in rbm.parameters())


@pytest.mark.parametrize("every", [7, 30, 50])
def test_the_history_is_the_mean_over_the_steps_looked_at(every: int) -> None:
    gaps = []

    class Noted(RBM):
        def contrast(self, *arguments: Any) -> Any:
            gap, gradients, chains = super().contrast(*arguments)
            gaps.append(float(gap()))
            return gap, gradients, chains

    result = fit(
        Noted(4, hidden=3),
        rows(),
        ContrastiveDivergence(chains=10),
        steps=37,
        batch_size=32,
        every=every,
        progress=False,
    )
    # a fit too short for a report tells its first step, beside its last
    looks = {
        7: [[1, 7], [8, 14], [15, 21], [22, 28], [29, 35], [36]],
        30: [[1, 26, 30], [31]],
        50: [[1], [1, 26]],
    }[every]
    expected = [sum(gaps[step - 1] for step in steps) / len(steps) for steps in looks]
    assert result.history["expected_energy_gap"].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
