"""What a flow settles by itself on small tables, and what a fit takes from it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor

import zoo
from inference.fit import fit
from inference.settings import adam
from tests.zoo.shaking import normal
from zoo.conditionals import Gaussian
from zoo.maf import MAF
from zoo.realnvp import RealNVP
from zoo.small_tables import TableFlow, is_small
from zoo.vae import VAE


def table(n: int = 60) -> Tensor:
    return (normal(n, 6) @ normal(6, 6, seed=1) + 3).float()


def small_flow() -> RealNVP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RealNVP(6, layers=2, hidden=8)


def clamp(model: RealNVP) -> float:
    return round(float(model.transform.map.map.clamp), 6)


@pytest.mark.parametrize(
    ("rows", "shape", "small"),
    [(95, (6,), True), (96, (6,), False), (50, (1, 8, 8), False), (1000, (200,), False), (427, (30,), True)],
)
def test_what_a_small_table_is(rows, shape, small):
    assert is_small(rows, torch.Size(shape)) is small


def test_few_rows_settle_what_was_left_open_once():
    model, x = small_flow(), 3 * normal(60, 6).float() + 1
    model.initialise(x)
    z, _ = model.transform.inverse_and_log_det(x)
    assert np.allclose(np.cov(z.detach().T.numpy(), ddof=0), np.eye(6), atol=0.05)
    assert clamp(model) == 0.5
    assert float(model.base.df) == 5
    before = copy.deepcopy(model.state_dict())
    model.initialise(table(10))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_many_rows_and_images_leave_a_flow_as_it_was_built():
    for model, x in ((small_flow(), table(96)), (RealNVP((1, 2, 3), layers=2, hidden=8), table().view(-1, 1, 2, 3))):
        before = copy.deepcopy(model.state_dict())
        model.initialise(x)
        moved = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
        assert moved == {"settled"}
        assert clamp(model) == 3
        assert model.recipe(len(table(96))) == {}


def test_what_was_decided_by_hand_stays():
    base = Gaussian(6)
    model = RealNVP(6, layers=2, hidden=8, clamp=1.5, base=base, start="identity")
    model.initialise(table())
    assert clamp(model) == 1.5
    assert model.base is base
    assert not len(model.transform.whitening.loc)
    assert model.recipe(60)["transform"](table()).equal(table())
    always = RealNVP(6, layers=2, hidden=8, start="whitened")
    always.initialise(table(500))
    assert len(always.transform.whitening.loc) == 6
    assert clamp(always) == 3
    with pytest.raises(ValueError, match="start must be 'identity' or 'whitened', not 'white'"):
        RealNVP(6, start="white")


def test_it_starts_as_the_gaussian_of_the_rows_with_heavier_tails():
    model, x = small_flow(), table()
    before = model.log_prob(x).mean()
    model.initialise(x)
    assert float(model.log_prob(x).mean().detach()) > float(before.detach()) + 5


def test_a_fit_takes_the_recipe_where_nothing_is_said():
    result = fit(small_flow(), table(), progress=False)
    assert "held_out" in result.history
    assert result.stopped == "early stopping"
    assert set(result.extra["recipe"]) == {"steps", "optimizer", "validation", "patience", "every", "transform"}
    assert result.history.step.iloc[0] == 20


def test_the_recipe_s_noise_is_a_fifth_of_the_spread_and_its_optimiser_pulls_to_zero():
    model, x = small_flow(), table()
    model.initialise(x)
    recipe = model.recipe(60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = recipe["transform"](x.repeat(100, 1)) - x.repeat(100, 1)
    white = noise @ model.transform.whitening.matrix.mT
    assert torch.allclose(white.std(0), torch.full((6,), 0.2), atol=0.01)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = recipe["optimizer"]([weight], 0.01)
    weight.grad = torch.zeros(3)
    optimizer.step()
    assert torch.allclose(weight, torch.full((3,), 0.99))


def test_a_fit_is_what_its_arguments_say():
    asked = {"optimizer": [], "transform": 0}

    def optimizer(parameters, lr):
        asked["optimizer"].append(lr)
        return adam(parameters, lr)

    def transform(x):
        asked["transform"] += 1
        return x

    rows = table(20)
    result = fit(
        small_flow(), table(), validation=rows, patience=2, every=7, lr=0.1, optimizer=optimizer,
        transform=transform, progress=False,
    )  # fmt: skip
    assert asked["optimizer"] == [0.1]
    assert asked["transform"] >= result.steps
    assert list(result.history.step[:2]) == [7, 14]
    told = fit(small_flow(), table(), steps=30, progress=False)
    assert told.extra == {}
    assert told.steps == 30
    assert "held_out" not in told.history
    many = fit(small_flow(), table(200), batch_size=8, callbacks=[lambda progress: True], progress=False)
    assert many.extra == {}
    assert many.history.step.iloc[0] == 50


def test_a_recipe_that_is_none_is_refused_and_the_caller_is_served_first():
    class Odd(RealNVP):
        def recipe(self, rows):
            return {"rate": 1.0}

    with pytest.raises(ValueError, match="recipe has 'rate', which is no argument of fit"):
        fit(Odd(6, hidden=8), table(), progress=False)
    assert fit(Odd(6, hidden=8), table(), steps=2, progress=False).steps == 2


@pytest.mark.parametrize("rows", [1, 2])
def test_rows_too_few_to_hold_any_out_are_fitted_without(rows):
    model = small_flow()
    assert model.recipe(rows) == {}
    assert model.recipe(3)["validation"] == 0.2
    result = fit(model, table(rows), callbacks=[lambda progress: True], progress=False)
    assert result.extra == {}
    assert torch.isfinite(model.log_prob(table(rows))).all()


def test_a_start_from_what_is_not_finite_is_refused_and_nothing_is_settled():
    model, x = small_flow(), table()
    bad = x.clone()
    bad[3, 2] = torch.nan
    with pytest.raises(ValueError, match="RealNVP takes its start from x, which is not finite"):
        model.initialise(bad)
    assert not model.settled
    model.initialise(x)
    assert len(model.transform.whitening.loc) == 6


def test_resumed_it_is_the_same_to_the_bit(tmp_path):
    path = tmp_path / "half"
    whole, halves = small_flow(), small_flow()
    fit(whole, table(), progress=False)
    # stopped in the middle of what the recipe asks for, and gone on from there with another fresh model
    fit(halves, table(), checkpoint=path, callbacks=[lambda progress: progress.step >= 40], progress=False)
    again = small_flow()
    fit(again, table(), resume=path, progress=False)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_saved_and_loaded_with_what_it_settled(tmp_path):
    model = zoo.build({"family": "realnvp", "layers": 2, "hidden": 8}, event_shape=6)
    fit(model, table(), progress=False)
    zoo.save(model, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    assert torch.equal(again.log_prob(table()), model.log_prob(table()))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        draws = model.sample(5)
        torch.manual_seed(1)
        assert torch.equal(again.sample(5), draws)
    assert torch.equal(copy.deepcopy(model).log_prob(table()), model.log_prob(table()))


def test_a_part_of_another_model_is_never_settled():
    model = VAE(16, latent=3, hidden=(8,), prior=lambda shape, context_shape=None: RealNVP(shape, layers=2, hidden=8))
    x = torch.bernoulli(torch.full((20, 16), 0.3), generator=torch.Generator().manual_seed(0))
    fit(model, x, steps=5, batch_size=10, progress=False)
    assert not model.prior_model.settled
    assert not len(model.prior_model.transform.whitening.loc)


def breast_cancer(seed: int) -> tuple[Tensor, Tensor]:
    """427 rows to fit to and 142 to test on, standardised by the first 342."""
    x = load_breast_cancer().data
    x = x[np.random.RandomState(seed).permutation(len(x))]
    standard = torch.tensor((x - x[:342].mean(0)) / x[:342].std(0), dtype=torch.float32)
    return standard[:427], standard[427:]


def nats(seed: int, family: type[TableFlow] = RealNVP, **arguments) -> float:
    train, test = breast_cancer(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = family(30)
    fit(model, train, progress=False, **arguments)
    with torch.no_grad():
        return -float(model.log_prob(test).mean())


def test_breast_cancer_is_no_worse_than_the_best_mixture_after_a_moment():
    assert nats(103, steps=60) < 10.9


@pytest.mark.slow
@pytest.mark.parametrize(("family", "mean", "worst"), [(RealNVP, 4.2, 8.5), (MAF, 3.0, 8.0)])
def test_breast_cancer_by_defaults(family, mean, worst):
    reached = [nats(seed, family) for seed in range(100, 110)]
    assert np.mean(reached) < mean
    assert max(reached) < worst


def test_a_masked_flow_settles_the_same():
    model, x = MAF(6, layers=2, hidden=8), table()
    result = fit(model, x, progress=False)
    assert "patience" in result.extra["recipe"]
    assert len(model.transform.whitening.loc) == 6
    assert float(model.base.df) == 5
    draws = model.sample(4)
    z, log_det = model.transform.inverse_and_log_det(draws)
    again, back_det = model.transform.forward_and_log_det(z)
    assert torch.allclose(again, draws, atol=1e-4)
    assert torch.allclose(back_det, -log_det, atol=1e-4)
