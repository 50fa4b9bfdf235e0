"""Alarms while a model is fitted: each provoked by a fit that has the illness, and none raised by one that has not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from inference import Alarm, diagnose, fit
from inference.objectives import ContrastiveDivergence, LeastSquares, NonSaturating, Wasserstein
from inference.objectives.base import Objective
from inference.objectives.chain_watch import WINDOW, ChainWatch, split_r_hat
from inference.objectives.game_watch import MISSED, STAYS, GameWatch
from inference.objectives.penalties import R1
from inference.results import Fit
from zoo.gan import GAN
from zoo.networks import mlp
from zoo.rbm import RBM

CORNERS = torch.tensor([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])
FOUR = {"steps": 300, "every": 10, "batch_size": 64, "progress": False}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def corners(n: int = 400) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return CORNERS[torch.arange(n) % 4] + 0.1 * torch.randn(n, 2, generator=generator)


class Perceptron(nn.Module):
    """A critic of any slope."""

    def __init__(self, event_shape: torch.Size, *, context_shape: torch.Size | None = None) -> None:
        super().__init__()
        self.network = mlp(event_shape.numel(), 1, (32, 32))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.network(x).squeeze(-1)


def warned(*arguments: Any, **settings: Any) -> tuple[Fit, list[str]]:
    """A fit and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(*arguments, **settings)
    return fitted, [str(each.message) for each in caught if each.category is Alarm]


# ---- what `fit` does with what an objective says


class Ailing(NonSaturating):
    """Says so from the third report on."""

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        self.terms = dict(terms)
        self.looks = getattr(self, "looks", 0) + 1
        return {"fever": "it is hot."} if self.looks > 2 else {}


def test_an_illness_is_warned_of_once_kept_and_repeated_by_diagnose() -> None:
    objective = Ailing()
    fitted, said = warned(GAN(2, latent=2, hidden=(8,)), corners(), objective, **(FOUR | {"steps": 60}))
    assert said == ["Step 30: it is hot."] and fitted.alarms == {"fever": "Step 30: it is hot."}
    assert {"critic.loss", "generator.loss"} <= set(objective.terms)
    found = diagnose(fitted, corners())
    assert found.alarms["fever"] == "The fit warned. Step 30: it is hot."
    assert any(line.startswith("! ") and "it is hot" in line for line in repr(found).splitlines())


def test_the_warning_points_at_the_call_of_fit() -> None:
    with pytest.warns(Alarm) as caught:
        fit(GAN(2, latent=2, hidden=(8,)), corners(), Ailing(), **(FOUR | {"steps": 30}))  # type: ignore[arg-type]
    assert caught[0].filename == __file__


def test_alarms_are_in_a_checkpoint_and_not_warned_of_anew(tmp_path: Any) -> None:
    path = tmp_path / "c.pt"
    model = partial(GAN, 2, latent=2, hidden=(8,))
    warned(model(), corners(), Ailing(), **(FOUR | {"steps": 30}), checkpoint=path)
    fitted, said = warned(model(), corners(), Ailing(), **(FOUR | {"steps": 130}), resume=path)
    assert said == [] and fitted.alarms == {"fever": "Step 30: it is hot."}


def test_an_objective_says_nothing_unless_it_watches() -> None:
    assert Objective().watch(object(), {}) == {}


# ---- mode collapse


class OneCorner(GAN):
    """Makes rows of some of the corners alone, whatever it learns."""

    reached = 2

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return super().generate(noise) * 0.01 + CORNERS.to(noise)[torch.arange(len(noise)) % self.reached]


def test_a_generator_that_misses_modes_is_told_of_which() -> None:
    fitted, said = warned(OneCorner(2, latent=2, hidden=(8,)), corners(), **FOUR)
    assert "mode collapse" in fitted.alarms and fitted.alarms["mode collapse"] in said
    sentence = fitted.alarms["mode collapse"]
    assert sentence.startswith(f"Step {10 * STAYS}: ") and "2 of the 4 modes" in sentence and "50%" in sentence
    assert "(-2, 2)" in sentence and "(2, 2)" in sentence and "(2, -2)" not in sentence
    found = diagnose(fitted, corners())
    assert "2 of the 4 modes" in found.alarms["mode collapse"] and "(-2, 2)" in found.alarms["mode collapse"]
    assert found.table.loc["modes reached, of 4", "value"] == 2
    assert "missing" in {str(c.get_label()) for c in found.plots()["modes"].axes[0].collections}


def adam(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr, betas=(0.5, 0.9))


def test_the_vanilla_game_collapses_on_its_own_and_a_penalty_with_less_momentum_cures_it() -> None:
    build = partial(GAN, 2, latent=4, hidden=(32, 32), critic=Perceptron)
    settings: dict[str, Any] = {**FOUR, "steps": 400, "every": 20, "optimizer": torch.optim.Adam, "lr": 5e-3}
    torch.manual_seed(0)
    ill, _ = warned(build(), corners(), NonSaturating(), **settings)
    assert "mode collapse" in ill.alarms
    torch.manual_seed(0)
    well, said = warned(
        build(), corners(), NonSaturating(penalty=R1(1.0)), **(settings | {"optimizer": adam, "lr": 3e-3})
    )
    assert said == [] and well.alarms == {}
    assert "mode collapse" not in diagnose(well, corners()).alarms


def watch_of(x: Tensor) -> GameWatch:
    watch = GameWatch()
    watch.prepare(x, None)
    return watch


class Making:
    """Makes the rows that are put in `rows`."""

    generator, critic = nn.Linear(1, 1), nn.Linear(1, 1)

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def noise(self, n: int) -> Tensor:
        return torch.arange(n)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.rows[noise % len(self.rows)]


def looks(watch: GameWatch, rows: list[Tensor], terms: Mapping[str, float] | None = None) -> list[set[str]]:
    return [set(watch.look(Making(each), terms or {}, 1.0)) for each in rows]


def test_a_collapse_that_gets_better_is_a_young_fit() -> None:
    by_corner = [corners()[torch.arange(400) % 4 == k] for k in range(4)]
    growing = [torch.cat(by_corner[: 1 + k // 4]) for k in range(16)]
    assert looks(watch_of(corners()), growing) == [set()] * 16
    stuck = [by_corner[0]] * STAYS
    assert looks(watch_of(corners()), stuck) == [set()] * (STAYS - 1) + [{"mode collapse"}]


def test_a_collapse_is_of_a_tenth_of_the_data_at_least() -> None:
    """One mode of 24 rows in 400 is less than that."""
    data = torch.cat([corners(376), torch.tensor([20.0, 20.0]) + 0.2 * torch.randn(24, 2)])
    assert MISSED > 24 / 400
    assert looks(watch_of(data), [corners()] * 12) == [set()] * 12


def test_a_collapse_is_seen_in_pictures_and_in_columns_of_other_units() -> None:
    pictures = corners().repeat(1, 8).reshape(400, 1, 4, 4)
    assert looks(watch_of(pictures), [pictures] * 10)[-1] == set()
    assert looks(watch_of(pictures), [pictures[::4]] * 10)[-1] == {"mode collapse"}
    table = corners() * torch.tensor([1e-3, 1e3])
    assert looks(watch_of(table), [table] * 10)[-1] == set()
    of_two = table[(torch.arange(400) % 2) == 0]  # parted by the small column
    assert looks(watch_of(table), [of_two] * 10)[-1] == {"mode collapse"}


def test_data_without_modes_and_constant_data_raise_nothing() -> None:
    normal = torch.randn(800, 3)
    assert looks(watch_of(normal[:400]), [normal[400:]] * 10)[-1] == set()
    assert looks(watch_of(torch.ones(40, 2)), [torch.zeros(5, 2)] * 10)[-1] == set()


# ---- a critic that overpowers, gradients that vanish


class Saturating(NonSaturating):
    """The game as first written: the generator makes log(1 - sigmoid(c)) small, flat where the critic is right."""

    def generator_value(self, made: Tensor, real: Any) -> Tensor:
        return F.logsigmoid(-made).mean()


def test_a_critic_ahead_of_a_saturating_game_leaves_no_gradient() -> None:
    """Real rows far from all that is made, and a critic that learns much faster."""
    far = 20 + torch.randn(300, 2)
    model = GAN(2, latent=2, hidden=(8,), critic=Perceptron)
    lrs = {"critic": 1e-2, "generator": 1e-6}
    fitted, said = warned(model, far, Saturating(), **FOUR, lr=lrs)
    assert {"vanishing gradients", "critic overpowering"} <= set(fitted.alarms) and len(said) == len(fitted.alarms)
    assert "non-saturating" in fitted.alarms["vanishing gradients"]
    assert "of what guessing costs" in fitted.alarms["critic overpowering"]
    assert {"vanishing gradients", "critic overpowering"} <= set(diagnose(fitted, far).alarms)


def test_a_least_squares_critic_overpowers_by_its_own_guess() -> None:
    far = 20 + torch.randn(300, 2)
    model = GAN(2, latent=2, hidden=(8,), critic=Perceptron)
    fitted, _ = warned(model, far, LeastSquares(), **FOUR, lr={"critic": 3e-3, "generator": 1e-8})
    assert "critic overpowering" in fitted.alarms and "vanishing gradients" not in fitted.alarms


def test_the_bounds_of_an_overpowering_critic() -> None:
    """Below 2 % of a guess, penalty aside, in each of the last reports, and the generator's loss not falling."""

    def alarmed(critic: float, generator: list[float], penalty: float = 0.0) -> bool:
        watch, found = watch_of(torch.ones(9, 2)), {}
        for value in generator:
            terms = {"critic.loss": critic + penalty, "critic.penalty": penalty, "generator.loss": value}
            terms |= {"critic.real": 1.0, "critic.fake": -1.0}
            found = watch.look(Making(torch.ones(9, 2)), terms, 2 * math.log(2))
        return "critic overpowering" in found

    assert alarmed(0.027, [1.0] * 5) and alarmed(0.027, [1.0] * 5, penalty=0.5)
    assert not alarmed(0.029, [1.0] * 5)
    assert not alarmed(0.027, [1.0] * 4) and not alarmed(0.027, [5.0, 4.0, 3.0, 2.0, 1.0])


def test_a_wasserstein_critic_has_no_loss_of_guessing_to_be_below() -> None:
    objective = Wasserstein()
    objective.prepare(Making(corners()), corners())
    terms = {"critic.loss": -50.0, "generator.loss": 9.0, "critic.real": 60.0, "critic.fake": 10.0}
    assert [objective.watch(Making(corners()), terms) for _ in range(6)] == [{}] * 6


# ---- a watched fit is the fit it would have been


def test_watching_leaves_the_fit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch normalisation and all: made rows leave no trace, in the model or in the random numbers."""
    models = []
    for watch in (NonSaturating.watch, Objective.watch):
        monkeypatch.setattr(NonSaturating, "watch", watch)
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        model = GAN(2, latent=2, hidden=(8,), generator=generator)
        fit(model, corners(), steps=50, every=5, progress=False)
        models.append(model.state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_resumed_game_is_the_uninterrupted_one_and_warns_at_the_same_step(tmp_path: Any) -> None:
    settings: dict[str, Any] = FOUR | {"steps": 130}
    build = partial(OneCorner, 2, latent=2, hidden=(8,))
    torch.manual_seed(0)
    whole, _ = warned(build(), corners(), **settings)
    torch.manual_seed(0)
    half = fit(build(), corners(), **(settings | {"steps": 30}), checkpoint=tmp_path / "c.pt")
    assert half.alarms == {}
    resumed, said = warned(build(), corners(), **settings, resume=tmp_path / "c.pt")
    pairs = zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert resumed.alarms == whole.alarms and said == list(whole.alarms.values())


# ---- diverging chains


def poles(n: int = 400) -> Tensor:
    """Rows of nearly all ones or of nearly all zeros, as many of each."""
    generator = torch.Generator().manual_seed(0)
    flipped = torch.rand(n, 12, generator=generator) < 0.03
    return ((torch.arange(n)[:, None] % 2 == 0) ^ flipped).float()


def inked() -> Tensor:
    """Digits, black and white."""
    return (torch.as_tensor(load_digits().data) > 7.5).float()


def sgd(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr)


def test_chains_that_each_keep_to_a_mode_are_told_by_r_hat() -> None:
    fitted, said = warned(RBM(12, hidden=8), poles(), steps=1500, lr=0.05, optimizer=sgd, progress=False)
    assert list(fitted.alarms) == ["diverging chains"] and said == list(fitted.alarms.values())
    assert float(said[0].split("R-hat over them is ")[1].split()[0]) > 1.5
    assert diagnose(fitted, poles()).alarms["diverging chains"].endswith(said[0])


def test_a_learning_rate_that_explodes_drives_the_chains_off_the_data() -> None:
    fitted, _ = warned(RBM(64, hidden=64), inked(), steps=400, lr=20.0, optimizer=sgd, every=10, progress=False)
    assert "lower lr" in fitted.alarms["diverging chains"]


def test_sound_chains_raise_nothing() -> None:
    x = torch.bernoulli(torch.full((400, 12), 0.3), generator=torch.Generator().manual_seed(0))
    fitted, said = warned(RBM(12, hidden=8), x, steps=1500, lr=0.05, optimizer=sgd, progress=False)
    assert said == [] and fitted.alarms == {}


def test_the_chains_reports_are_in_a_checkpoint(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"lr": 20.0, "optimizer": sgd, "every": 10, "progress": False}
    x, build = inked(), partial(RBM, 64, hidden=64)
    torch.manual_seed(0)
    whole, _ = warned(build(), x, steps=700, **settings)
    torch.manual_seed(0)
    warned(build(), x, steps=70, checkpoint=tmp_path / "c.pt", **settings)
    resumed, _ = warned(build(), x, steps=700, resume=tmp_path / "c.pt", **settings)
    assert whole.alarms == resumed.alarms and whole.alarms
    assert torch.equal(whole.model.weights, resumed.model.weights)


def test_r_hat_is_arvizs() -> None:
    """Rank-normalised and split, not folded: ArviZ's `z_scale`."""
    import arviz as az

    series = torch.randn(6, 10, dtype=torch.double).cumsum(1) + torch.randn(6, 1, dtype=torch.double)
    assert split_r_hat(series) == pytest.approx(float(az.rhat(series.numpy(), method="z_scale")), rel=1e-6)
    ties = (series * 2).round()
    assert split_r_hat(ties) == pytest.approx(float(az.rhat(ties.numpy(), method="z_scale")), rel=1e-6)
    assert split_r_hat(torch.ones(4, 10)) == 1 and split_r_hat(torch.arange(4.0)[:, None].expand(4, 10)) == math.inf


def test_chains_of_rows_with_lacking_cells_are_not_watched() -> None:
    watch = ChainWatch()
    watch.prepare(torch.tensor([[1.0, math.nan], [0.0, 1.0]]))
    assert all(watch.look(RBM(2, hidden=2), torch.zeros(5, 2)) == {} for _ in range(WINDOW))


def test_objectives_of_chains_that_begin_anew_have_none_to_watch() -> None:
    from inference.objectives.contrastive_divergence import DataChains

    fitted, said = warned(
        RBM(12, hidden=8), poles(), ContrastiveDivergence(chains=DataChains()), steps=600, every=20, progress=False
    )
    assert said == [] and fitted.alarms == {}
