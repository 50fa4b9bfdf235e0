"""Clamped queries of machines of bits against the conditional by all states of x and hidden units."""

from __future__ import annotations

import copy

import pytest
import torch

from inference import query
from inference.query import ClampedChains, MeanField
from tests.zoo.bit_machines import joint, made, rows, shaken, states
from zoo.boltzmann_machine import BoltzmannMachine
from zoo.deep_boltzmann_machine import DeepBoltzmannMachine
from zoo.machines import UnitMachine
from zoo.rbm import RBM

names = pytest.mark.parametrize("name", ["all coupled", "no hidden", "a grid", "two layers", "three layers"])


def gapped(model: UnitMachine) -> torch.Tensor:
    """Rows with gaps of several patterns, one without any, one that is all gap."""
    x = rows(model).flatten(1)[[1, 2, 5, 6, 3]].clone()
    x[0, 0] = x[1, 2] = x[1, 1] = x[2, 1] = float("nan")
    x[3] = float("nan")
    return x.view(-1, *model.event_shape)


def truth(model: UnitMachine, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """P(unit = 1 | known cells) [N, units] and log p(known cells) [N], state by state."""
    log_p, s = joint(model).flatten().log_softmax(0), states(model.units)
    means, evidence = [], []
    for row in x.flatten(1):
        fits = torch.ones(len(s), dtype=torch.bool)
        for cell, value in enumerate(row.tolist()):
            fits &= torch.tensor(value != value) | (s[:, cell] == value)
        kept = log_p.masked_fill(~fits, -torch.inf)
        means.append(kept.softmax(0) @ s)
        evidence.append(kept.logsumexp(0))
    return torch.stack(means), torch.stack(evidence)


def ones(answer, target: str) -> torch.Tensor:
    return torch.as_tensor(answer[target].sel(level=1).values).flatten(1)


@names
def test_cells_and_hidden_units_are_exact_where_few_are_free(name: str) -> None:
    model = made(name)
    x = gapped(model)
    means, evidence = truth(model, x)
    answer = query(model, "x", given={"x": x})
    assert answer.kind == "exact"
    assert answer["x"].shape == (*x.shape, 2)
    torch.testing.assert_close(ones(answer, "x"), means[:, : model.features])
    torch.testing.assert_close(torch.as_tensor(answer.log_evidence.values), evidence)
    if model.units > model.features:
        hidden = query(model, "h", given={"x": x})
        assert hidden.kind == "exact"
        torch.testing.assert_close(ones(hidden, "h"), means[:, model.features :])


@names
def test_chains_agree_with_the_sums_within_their_errors(name: str) -> None:
    model = made(name)
    x = gapped(model)
    means, _ = truth(model, x)
    answer = query(model, "x", given={"x": x}, method=ClampedChains(chains=32, warmup=30), draws=6400, seed=3)
    assert answer.kind == "estimate" and "32 chains" in answer.method
    assert answer.reliability["r_hat_max"] < 1.05 and answer.reliability["ess_min"] > 100
    error = torch.as_tensor(answer.reliability["error"].values)[:, None]
    off = (ones(answer, "x") - means[:, : model.features]).abs()
    assert (off < 5 * error + 1e-9).all() and float(error.max()) < 0.02
    known = ~x.isnan().flatten(1)
    assert torch.equal(ones(answer, "x")[known], x.flatten(1)[known])


def test_chains_that_do_not_mix_are_called_so() -> None:
    """Two modes far apart: chains stay where they began, and R-hat says it."""
    model = BoltzmannMachine(6).double()
    with torch.no_grad():
        model.weights.fill_(8.0)
        model.biases.fill_(-20.0)
    x = torch.full((1, 6), float("nan"), dtype=torch.float64)
    answer = query(model, "x", given={"x": x}, method=ClampedChains(chains=8, warmup=5), draws=160)
    assert answer.reliability["r_hat_max"] > 1.05
    assert any("mix badly" in warning for warning in answer.warnings)


def test_more_gaps_than_can_be_summed_are_drawn_by_chains() -> None:
    model = shaken(BoltzmannMachine(26, hidden=4), scale=0.05)
    x = torch.full((2, 26), float("nan"), dtype=torch.float64)
    x[:, :3] = 1.0
    answer = query(model, "x", given={"x": x}, draws=320)
    assert answer.kind == "estimate" and answer.log_evidence is None
    assert (ones(answer, "x")[:, :3] == 1).all()


@pytest.mark.parametrize("name", ["all coupled", "two layers"])
def test_mean_field_is_labelled_and_warned_of(name: str) -> None:
    model = made(name)
    x = gapped(model)
    answer = query(model, "x", given={"x": x}, method=MeanField())
    assert answer.kind == "approximation" and "independent" in answer.warnings[0]
    means, _ = truth(model, x)
    off = (ones(answer, "x") - means[:, : model.features]).abs()
    assert 1e-4 < float(off.max()) < 0.3
    _, bound = model.clamped(x.nan_to_num(0.0), ~x.isnan()).mean_field()
    log_known = truth(model, x)[1] + model.log_partition()
    assert (bound <= log_known + 1e-9).all() and (log_known - bound).max() > 1e-4


def small_rbm() -> tuple[RBM, DeepBoltzmannMachine]:
    """An RBM, and a machine whose second layer is not coupled: the same distribution of x."""
    torch.manual_seed(4)
    rbm = RBM(4, hidden=3).double()
    deep = DeepBoltzmannMachine(4, hidden=(3, 1)).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.normal_()
        deep.weights[0].copy_(rbm.weights)
        deep.biases[0].copy_(rbm.visible_bias)
        deep.biases[1].copy_(rbm.hidden_bias)
        deep.weights[1].zero_()
    return rbm, deep


class FreeEnergyAlone:
    """A user's own energy of bits: nothing but what `Energy` asks."""

    support = torch.distributions.constraints.boolean
    event_shape = torch.Size([4])

    def __init__(self, rbm: RBM) -> None:
        self.free_energy, self.gibbs_step, self.start = rbm.free_energy, rbm.gibbs_step, rbm.start


@pytest.mark.parametrize("wrap", [lambda rbm: rbm, FreeEnergyAlone], ids=["rbm", "own"])
def test_an_rbm_and_a_users_own_energy_are_asked_too(wrap) -> None:
    rbm, deep = small_rbm()
    x = gapped(deep)
    means, evidence = truth(deep, x)
    model = wrap(rbm)
    answer = query(model, "x", given={"x": x})
    assert answer.kind == "exact"
    torch.testing.assert_close(ones(answer, "x"), means[:, :4])
    if answer.log_evidence is not None:
        torch.testing.assert_close(torch.as_tensor(answer.log_evidence.values), evidence)
    answer = query(model, "x", given={"x": x}, method=ClampedChains(chains=16, warmup=20), draws=3200)
    error = torch.as_tensor(answer.reliability["error"].values)[:, None]
    assert ((ones(answer, "x") - means[:, :4]).abs() < 5 * error + 1e-9).all()


def test_the_model_and_the_callers_random_numbers_stay_as_they_were() -> None:
    model = made("all coupled")
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = query(model, "x", given={"x": gapped(model)}, method=ClampedChains(4, 4), draws=40, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again = query(model, "x", given={"x": gapped(model)}, method=ClampedChains(4, 4), draws=40, seed=1)
    assert first["x"].equals(again["x"])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_has_no_answer_is_refused() -> None:
    model = made("two layers")
    whole = rows(model)
    with pytest.raises(ValueError, match=r"do\(\) needs a pgmpy graph.*units condition each other"):
        query(model, "x", given={"x": gapped(model)}, do={"x": 1})
    with pytest.raises(ValueError, match="NaN or -1 at what is asked"):
        query(model, "x", given={"x": whole})
    with pytest.raises(ValueError, match="by clamping"):
        query(model, "z", given={"x": whole}, method=MeanField())
    with pytest.raises(ValueError, match="2 chains"):
        ClampedChains(chains=1)
    wrong = gapped(model)
    wrong[4, 0] = 0.5
    with pytest.raises(ValueError, match="support"):
        query(model, "x", given={"x": wrong})
