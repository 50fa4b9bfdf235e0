"""Tables of numbers and states: their code against its formulas, choices against their chances, fits, bad input."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from inference.fit import fit
from inference.objectives import GradientPenalty, Wasserstein, default_objective
from inference.quality import usefulness
from zoo.tabular import KINDS, REACH, Table, TableCode, columns_of, gumbel, modes_of
from zoo.tabular_gan import TabularGAN

COLUMNS = {"age": "whole", "dose": "real", "arm": ["left", "right"], "ward": 3}


def frame_of(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Two modes of doses, one for each arm; ages whole; three wards unevenly."""
    random = np.random.default_rng(seed)
    arm = random.random(n) < 0.3
    return pd.DataFrame(
        {
            "age": random.integers(20, 60, n),
            "dose": np.where(arm, 10.0, 1.0) + 0.2 * random.standard_normal(n),
            "arm": pd.Categorical.from_codes(arm.astype(int), ["left", "right"]),
            "ward": random.choice(3, n, p=[0.7, 0.2, 0.1]),
        }
    )


def started(modes: int = 4) -> tuple[TabularGAN, torch.Tensor]:
    torch.manual_seed(0)
    model = TabularGAN(columns=COLUMNS, latent=3, hidden=(8,), modes=modes).double()
    x = model.encode_frame(frame_of())
    model.initialise(x)
    return model, x


def test_frames_come_back_as_they_were() -> None:
    model, x = started()
    frame = frame_of().astype({"ward": "category"})
    pd.testing.assert_frame_equal(model.decode(x), frame, check_dtype=False)
    read = columns_of(frame_of().assign(name=["b", "a"] * 200, sick=True))
    assert read == COLUMNS | {"ward": "whole", "name": ["a", "b"], "sick": [True]}


def test_modes_are_those_of_the_column() -> None:
    loc, scale, log_weight = modes_of(frame_of(4000)["dose"].to_numpy(), 8)
    used = np.isfinite(log_weight)
    assert used.sum() >= 2 and math.isclose(np.exp(log_weight[used]).sum(), 1.0, rel_tol=1e-9)
    high = used & (loc > 5)
    assert np.exp(log_weight[high]).sum() == pytest.approx(0.3, abs=0.03)
    assert (np.exp(log_weight[high]) * loc[high]).sum() / np.exp(log_weight[high]).sum() == pytest.approx(10, abs=0.05)
    assert scale[used].max() < 0.4


def test_a_coded_row_is_decoded_as_it_was() -> None:
    """Written as the network would have to: the inverse of tanh, and choices that no noise moves."""
    model, x = started()
    code = model.code
    coded = code.encode(x)
    numbers = len(code.table.numbers)
    assert coded.shape == (len(x), code.width) and coded[:, :numbers].abs().max() <= 1
    inside = (coded[:, :numbers].abs() < 1).all(1)
    assert inside.double().mean() > 0.95
    written = coded.clone()
    written[:, :numbers] = coded[:, :numbers].clamp(-1 + 1e-12, 1 - 1e-12).atanh()
    written[:, numbers:] = 100 * coded[:, numbers:]
    back = code.decode(written, torch.zeros_like(coded[:, numbers:]))
    torch.testing.assert_close(back[inside], x[inside])
    choices = coded[:, numbers:].split([code.modes] * numbers + code.sizes, 1)
    assert all((each.sum(1) == 1).all() and ((each == 0) | (each == 1)).all() for each in choices)


def test_a_number_is_coded_by_its_own_mode_as_often_as_it_is_likely_of_it() -> None:
    code = TableCode(Table({"x": "real"}), 3).double()
    code.loc[0] = torch.tensor([0.0, 2.0, 50.0])
    code.scale[0] = torch.tensor([1.0, 0.5, 1.0])
    code.log_weight[0] = torch.tensor([0.8, 0.2, 0.0]).log()
    x = torch.full((20_000, 1), 1.4, dtype=torch.float64)
    torch.manual_seed(0)
    coded = code.encode(x)
    density = 0.8 * math.exp(-0.5 * 1.4**2), 0.2 / 0.5 * math.exp(-0.5 * (0.6 / 0.5) ** 2)
    chance = density[1] / sum(density)
    assert coded[:, 2].mean().item() == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 20_000))
    assert not coded[:, 3].any()
    second = coded[:, 2] == 1
    assert coded[second, 0] == pytest.approx((1.4 - 2.0) / 0.5 / REACH)
    assert coded[~second, 0] == pytest.approx(1.4 / REACH)


def test_choices_are_draws_by_the_softmax_of_their_logits() -> None:
    code = TableCode(Table({"ward": 3}), 1)
    written = torch.tensor([0.5, -1.0, 0.2]).expand(40_000, 3)
    torch.manual_seed(0)
    x = code.decode(written, gumbel(torch.empty(40_000, 3)))
    share = torch.bincount(x[:, 0].long(), minlength=3) / 40_000
    torch.testing.assert_close(share, written[0].softmax(0), atol=0.012, rtol=0)


@given(st.integers(0, 1000), st.sampled_from([0.05, 0.2, 1.0]))
@settings(max_examples=20, deadline=None)
def test_the_softened_row_leans_to_the_choice_that_is_made(seed: int, temperature: float) -> None:
    model, _ = started()
    torch.manual_seed(seed)
    noise = model.noise(5)
    x, written = model.generate(noise), model._written(noise, None)
    soft = model.code.choose(*written, temperature)
    *_, arm, ward = soft.split([2, 2 * model.code.modes, 2, 3], 1)
    assert torch.equal(arm.argmax(1), x[:, 2].long()) and torch.equal(ward.argmax(1), x[:, 3].long())
    torch.testing.assert_close(ward.sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(ward, ((written[0][:, -3:] + written[1][:, -3:]) / temperature).softmax(1))
    assert (x[:, 0] == x[:, 0].round()).all()


def test_modes_that_are_not_used_are_never_chosen() -> None:
    model, _ = started(modes=10)
    unused = model.code.log_weight.isinf()
    assert unused.any()
    soft = model.imitate(model.noise(500))[:, 2 : 2 + unused.numel()].unflatten(1, unused.shape)
    assert not soft[:, unused].any()


def test_the_critic_sees_coded_rows_and_the_generator_learns_through_softened_ones() -> None:
    model, x = started()
    game = default_objective(model)
    assert isinstance(game, Wasserstein) and isinstance(game.penalty, GradientPenalty)
    torch.manual_seed(1)
    loss = game.generator_loss(model, x[:16])
    torch.manual_seed(1)
    assert loss.value.item() == pytest.approx(-model.critic(model.imitate(model.noise(16))).mean().item())
    loss.value.backward(inputs=list(model.generator.parameters()))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.generator.parameters())
    torch.manual_seed(2)
    value = game.critic_loss(model, x[:16]).terms["real"]
    torch.manual_seed(2)
    model.imitate(model.noise(16))
    torch.testing.assert_close(value, model.critic(model.shown(x[:16])).mean().detach())


def test_a_fit_learns_modes_shares_and_what_hangs_together() -> None:
    frame = frame_of(1000)
    torch.manual_seed(0)
    model = TabularGAN.of(frame.astype({"ward": "category"}), latent=8, hidden=(64, 64), modes=5)
    adam = lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9))  # noqa: E731
    fit(model, frame, steps=600, batch_size=128, lr=2e-3, optimizer=adam, average=0.98, progress=False)
    made = model.decode(model.sample(2000))
    assert (made["arm"] == "right").mean() == pytest.approx(0.3, abs=0.12)
    assert (made["ward"] == 0).mean() == pytest.approx(0.7, abs=0.15)
    agrees = (made["dose"] > 5) == (made["arm"] == "right")
    assert agrees.mean() > 0.9
    assert made["age"].between(10, 70).mean() > 0.95 and made["age"].std() == pytest.approx(11.5, abs=4)
    near_mode = np.minimum((made["dose"] - 1).abs(), (made["dose"] - 10).abs()) < 1
    assert near_mode.mean() > 0.85


def test_it_is_saved_with_its_modes_and_conditional_on_a_context() -> None:
    model, _ = started()
    other = TabularGAN(columns=COLUMNS, latent=3, hidden=(8,), modes=4).double()
    other.load_state_dict(model.state_dict())
    noise = model.noise(7)
    assert torch.equal(other.generate(noise), model.generate(noise))
    before = copy.deepcopy(model.code.loc)
    model.initialise(model.sample(50))
    assert torch.equal(model.code.loc, before)
    labelled = zoo.build({"family": "tabular_gan", "columns": COLUMNS, "context_shape": [2], "hidden": [8]})
    x = labelled.sample(3, context=torch.eye(2)[[0, 1, 0]])
    assert x.shape == (3, 4)


def test_one_column_is_a_table_too() -> None:
    for columns in ({"x": "real"}, {"colour": ["red", "green"]}):
        model = TabularGAN(columns=columns, latent=2, hidden=(8,), modes=2)
        x = torch.tensor([[0.0], [1.0]]).repeat(20, 1)
        fit(model, x, steps=2, progress=False)
        assert model.sample(5).shape == (5, 1)


def test_bad_tables_get_one_sentence() -> None:
    model, _ = started()
    frame = frame_of()
    with pytest.raises(ValueError, match="column 'age' is constant \\(30\\): leave it out"):
        TabularGAN(columns=COLUMNS).initialise(model.encode_frame(frame.assign(age=30)))
    with pytest.raises(ValueError, match="row 0: 'arm' has no state 'rigth'; did you mean right"):
        model.encode_frame(frame.assign(arm="rigth"))
    with pytest.raises(ValueError, match="row 1 lacks 'dose'"):
        model.encode_frame(frame.assign(dose=[1.0, None] + [2.0] * 398))
    with pytest.raises(TypeError, match="'dose' is not numeric"):
        model.encode_frame(frame.assign(dose="much"))
    with pytest.raises(ValueError, match="no column 'ward'"):
        model.encode_frame(frame.drop(columns="ward"))
    with pytest.raises(ValueError, match="row 0 has 3 for 'ward', whose codes are 0 to 2"):
        fit(model, torch.tensor([[30.0, 1.0, 0.0, 3.0]]), steps=1, progress=False)
    with pytest.raises(ValueError, match="needs two or more different states"):
        TabularGAN(columns={"sex": ["f"]})
    with pytest.raises(ValueError, match="is 'wohle', but"):
        TabularGAN(columns={"age": "wohle"})
    with pytest.raises(ValueError, match="2 columns, but event_shape is \\[3\\]"):
        TabularGAN(3, columns={"a": "real", "b": KINDS[1]})


@pytest.mark.slow
def test_made_rows_teach_a_classifier_nearly_what_real_ones_do() -> None:
    from sklearn.datasets import load_wine

    wine = load_wine(as_frame=True)
    frame = wine.data.assign(label=pd.Categorical.from_codes(wine.target, ["a", "b", "c"]))
    order = np.random.RandomState(0).permutation(len(frame))
    train, test = frame.iloc[order[:133]], frame.iloc[order[133:]]
    torch.manual_seed(0)
    model = TabularGAN.of(train)
    adam = lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9), fused=True)  # noqa: E731
    fit(model, train, steps=1500, lr=1e-3, optimizer=adam, average=0.995, progress=False)

    def parts(rows: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = (rows.iloc[:, :-1] - train.iloc[:, :-1].mean()) / train.iloc[:, :-1].std()
        return torch.tensor(numbers.to_numpy()), torch.tensor(rows["label"].cat.codes.to_numpy().astype(int))

    found = usefulness(parts(train), parts(model.decode(model.sample(1000))), parts(test))
    assert found.synthetic.value > 0.9, found
