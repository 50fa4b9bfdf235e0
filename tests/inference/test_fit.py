"""The gradient loop: what it accepts, how it stops, what it leaves behind."""

import os
import signal

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from inference import objectives
from inference.batches import Batches
from inference.checkpoint import Checkpoint
from inference.data import TensorRows
from inference.fit import fit
from inference.objectives import Loss, Objective, Player
from inference.schedules import cooldown, cosine, linear, warmup
from inference.settings import adamw
from inference.world import World
from zoo import datasets
from zoo.conditionals import Bernoulli, Gaussian
from zoo.discrete_vae import DiscreteVAE
from zoo.realnvp import RealNVP
from zoo.vae import VAE


def normal_rows(n: int = 400) -> Tensor:
    return 3.0 + 0.5 * torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


def bits(n: int = 200, features: int = 6) -> Tensor:
    return torch.rand(n, features, generator=torch.Generator().manual_seed(2)).round()


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(6, latent=2, hidden=(8,))


def parameters(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


class Items(Dataset):
    """A torch Dataset whose items are pairs (x, context)."""

    def __init__(self, x: Tensor, context: Tensor) -> None:
        self.x, self.context = x, context

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.context[index]


def test_exact_likelihood_finds_the_normal_s_maximum() -> None:
    x = normal_rows()
    model = fit(Gaussian(2), x, steps=1500, batch_size=None, lr=0.02).model
    distribution = model.distribution()
    torch.testing.assert_close(distribution.mean, x.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(distribution.stddev, x.std(0, correction=0), rtol=1e-3, atol=1e-3)


def test_every_form_of_data_gives_the_same_fit() -> None:
    x, context = normal_rows(), torch.randn(400, 3)
    forms = [
        {"x": x, "context": context},
        {"x": x.numpy(), "context": context.numpy()},
        Items(x, context),
        torch.utils.data.TensorDataset(x, context),
    ]
    results = []
    for data in forms:
        torch.manual_seed(0)
        results.append(parameters(fit(Gaussian(2, context_shape=3), data, steps=20, validation=0.2).model))
    for other in results[1:]:
        assert torch.equal(results[0], other)


def test_frames_arrays_and_tensors_are_one() -> None:
    x = normal_rows()
    results = [
        parameters(fit(Gaussian(2), data, steps=20).model)
        for data in (x, x.numpy().astype(np.float64), pd.DataFrame(x.numpy(), columns=["a", "b"]))
    ]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_same_seed_same_fit_and_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = parameters(fit(vae_of_seed_zero(), bits(), steps=30, seed=4).model)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, parameters(fit(vae_of_seed_zero(), bits(), steps=30, seed=4).model))
    assert not torch.equal(first, parameters(fit(vae_of_seed_zero(), bits(), steps=30, seed=5).model))


def vae_of_seed_zero() -> VAE:
    with torch.random.fork_rng():
        return vae()


def test_the_history_of_a_short_fit_has_its_first_and_its_last_step(tmp_path) -> None:
    each = fit(vae(), bits(), steps=30, every=1, batch_size=32).history["loss"]
    short = fit(vae(), bits(), steps=30, batch_size=32, checkpoint=tmp_path / "c.pt").history
    assert short["step"].tolist() == [1, 30]
    assert short["loss"].tolist() == pytest.approx([each[0], each.mean()], rel=1e-5)
    assert fit(vae(), bits(), steps=1).history["step"].tolist() == [1]
    whole = fit(vae(), bits(), steps=60, batch_size=32).history
    assert whole["step"].tolist() == [50, 60]
    pd.testing.assert_frame_equal(whole, fit(vae(), bits(), steps=60, batch_size=32, resume=tmp_path / "c.pt").history)


@pytest.mark.parametrize("at", [20, 33, 50])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path, at: int) -> None:
    settings = {"batch_size": 32, "validation": 0.2, "patience": 50, "every": 20, "clip": 1.0, "schedule": cosine(90)}
    whole = fit(vae(), bits(), steps=90, **settings)
    fit(vae(), bits(), steps=at, checkpoint=tmp_path / "c.pt", **settings)
    resumed = fit(vae(), bits(), steps=90, resume=tmp_path / "c.pt", **settings)
    assert torch.equal(parameters(whole.model), parameters(resumed.model))
    pd.testing.assert_frame_equal(whole.history, resumed.history)
    assert whole.best_step == resumed.best_step


def test_ctrl_c_leaves_a_checkpoint_of_a_whole_step(tmp_path) -> None:
    path = tmp_path / "c.pt"

    def press(progress) -> None:
        if progress.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(vae(), bits(), steps=60, every=10, callbacks=[press], checkpoint=path)
    resumed = fit(vae(), bits(), steps=60, every=10, resume=path)
    assert torch.equal(parameters(resumed.model), parameters(fit(vae(), bits(), steps=60, every=10).model))


def test_checkpoints_come_as_often_as_told_and_nothing_is_left_beside(tmp_path) -> None:
    fit(vae(), bits(), steps=25, checkpoint=Checkpoint(tmp_path / "deep" / "c.pt", every=10))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["c.pt"]


def test_a_damaged_checkpoint_and_another_model_are_refused(tmp_path) -> None:
    path = tmp_path / "c.pt"
    fit(vae(), bits(), steps=5, checkpoint=path)
    with pytest.raises(ValueError, match="another model"):
        fit(VAE(6, latent=3, hidden=(8,)), bits(), steps=9, resume=path)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        fit(vae(), bits(), steps=9, resume=path, seed=1)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        fit(vae(), bits(), steps=9, resume=path)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        fit(vae(), bits(), steps=9, resume=tmp_path / "none.pt")


def test_early_stopping_goes_back_to_the_best() -> None:
    few = normal_rows(30)
    torch.manual_seed(0)
    model = RealNVP(2, layers=4, hidden=64)
    result = fit(model, few, steps=4000, lr=5e-3, validation=normal_rows(600)[300:], patience=3, every=20)
    held_out = result.history["held_out"]
    assert result.stopped == "early stopping"
    assert result.steps < 4000
    assert result.best_step == result.history.loc[held_out.idxmin(), "step"]
    assert -result.model.log_prob(normal_rows(600)[300:]).mean().item() == pytest.approx(held_out.min(), rel=1e-5)


class Breaks(Objective):
    """Fine for a while, then one term is NaN."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.count = at, 0

    def forward(self, model, x, context=None) -> Loss:
        self.count += 1
        loss = -model.log_prob(x).mean()
        kl = loss * float("nan") if self.count >= self.at else loss * 0.0
        return Loss(loss + kl, {"loss": (loss + kl).detach(), "kl": kl.detach()})


def test_nan_names_step_and_term_and_keeps_the_last_good_state() -> None:
    good = parameters(fit(Gaussian(2), normal_rows(), steps=20).model)
    model = Gaussian(2)
    with pytest.raises(FloatingPointError, match=r"'loss' became nan at step 27; the model is back at step 20"):
        fit(model, normal_rows(), Breaks(27), steps=60, every=10)
    assert torch.equal(parameters(model), good)


class Duel(Objective):
    """Two players on one model: each moves only what is its own, at its own pace."""

    def players(self, model) -> list[Player]:
        def loss(part: Tensor):
            return lambda x, context: Loss(part.sum(), {"loss": part.sum().detach()})

        return [Player("one", [model.one], loss(model.one)), Player("two", [model.two], loss(model.two), every=3)]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))


def test_players_move_at_their_own_pace_and_rate() -> None:
    model = Two()
    sgd = lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)  # noqa: E731
    result = fit(model, torch.zeros(10, 1), Duel(), steps=9, optimizer=sgd, lr={"one": 1.0, "two": 10.0})
    assert model.one.item() == -9.0
    assert model.two.item() == -30.0
    assert set(result.history.columns) == {"step", "one.loss", "two.loss"}
    with pytest.raises(ValueError, match=r"lr names the players \['critic'\]"):
        fit(Two(), torch.zeros(10, 1), Duel(), lr={"critic": 1.0})


def test_schedule_clip_and_callbacks() -> None:
    sgd = lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)  # noqa: E731
    model = Two()
    fit(model, torch.zeros(10, 1), Duel(), steps=3, optimizer=sgd, lr=1.0, schedule=lambda step: step, clip=0.5)
    assert model.one.item() == pytest.approx(-0.5 * (1 + 2 + 3), rel=1e-5)
    seen: list[int] = []
    result = fit(Gaussian(2), normal_rows(), every=5, callbacks=[lambda p: seen.append(p.step) or p.step >= 15])
    assert seen == [5, 10, 15]
    assert result.stopped == "stopped by a callback"
    assert (warmup(4)(2), linear(10, 0.5)(10), cosine(10, 0.1)(10)) == pytest.approx((0.5, 0.5, 0.1))
    warm = cosine(12, 0.1, warmup=2)
    assert [warm(step) for step in (1, 2, 7, 12, 40)] == pytest.approx([0.5, 1.0, 0.55, 0.1, 0.1])
    with pytest.raises(ValueError, match="warmup must be 0 or more and below the 10 steps, not 10"):
        cosine(10, warmup=10)
    assert [cooldown(10, 4, 0.5)(step) for step in (1, 6, 8, 10)] == [1.0, 1.0, 0.75, 0.5]


class UsersPair(nn.Module):
    """Somebody's own Pyro pair; nothing of ours is inherited."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 2)

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", len(x)):
            return pyro.sample("x", pyro.distributions.Normal(self.net.bias, 1.0).to_event(1), obs=x)

    def guide(self, x, *, context=None):
        pass


def test_a_users_own_pair_is_fitted_by_pyros_elbo() -> None:
    x = normal_rows()
    pair = UsersPair()
    result = fit(pair, x, steps=800, lr=0.02, batch_size=None)
    assert result.objective == "PyroElbo"
    torch.testing.assert_close(pair.net.bias.detach(), x.mean(0), atol=1e-2, rtol=0)


def test_precision_and_autocast() -> None:
    model = fit(Gaussian(2), normal_rows(), steps=3, precision=torch.float64).model
    assert model.dtype == torch.float64
    halved = fit(
        Gaussian(2, context_shape=2), {"x": normal_rows(), "context": normal_rows()}, steps=3, precision=torch.bfloat16
    ).model
    assert halved.dtype == torch.float32
    with pytest.raises(ValueError, match="precision"):
        fit(Gaussian(2), normal_rows(), precision=torch.float16)


def test_tensorboard_logs_every_report(tmp_path) -> None:
    fit(Gaussian(2), normal_rows(), steps=10, every=5, tensorboard=tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in log.Scalars("loss")] == [5, 10]


def test_the_bar_is_silent_where_output_is_no_terminal(capsys) -> None:
    fit(Gaussian(2), normal_rows(), steps=10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("model", "data", "settings", "error", "message"),
    [
        (Gaussian(2), torch.tensor([[0.0, 1.0], [2.0, float("nan")]]), {}, ValueError, "row 1, column 1"),
        (Gaussian(2), torch.tensor([[0.0, float("inf")]]), {}, ValueError, "not finite at row 0, column 1"),
        (Gaussian(2), pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, None]}), {}, ValueError, "row 1, column 'b'"),
        (Gaussian(2), pd.DataFrame({"a": [1.0], "b": ["x"]}), {}, TypeError, "column 'b' is not numeric"),
        (Gaussian((1, 8, 8)), torch.zeros(5, 1, 8, 8, dtype=torch.uint8), {}, TypeError, "scale it to floats"),
        (Gaussian(2), torch.zeros(5, 3), {}, ValueError, r"shape \[N, 2\], but was given \[5, 3\]"),
        (Gaussian(2), torch.zeros(0, 2), {}, ValueError, "no rows"),
        (Bernoulli(2), torch.tensor([[0.0, 0.4]]), {}, ValueError, "value 0.4 at row 0, column 1"),
        (Gaussian(2), "rows", {}, TypeError, "numbers, not str"),
        (Gaussian(2), (torch.zeros(3, 2), torch.zeros(3, 1)), {}, TypeError, "is a tuple: give"),
        (Gaussian(2), datasets.load("two_moons"), {}, TypeError, r"is a Data: give its rows, such as \.train\.x"),
        (Gaussian(2), {"y": torch.zeros(3, 2)}, {}, ValueError, r"not \['y'\]"),
        (Gaussian(2), {"x": torch.zeros(3, 2), "context": torch.zeros(3, 1)}, {}, ValueError, "takes no context"),
        (Gaussian(2, context_shape=1), torch.zeros(3, 2), {}, ValueError, "give context"),
        (Gaussian(2), torch.zeros(5, 2), {"steps": 0}, ValueError, "steps must be at least 1"),
        (Gaussian(2), torch.zeros(5, 2), {"steps": 5, "epochs": 2}, ValueError, "not both"),
        (Gaussian(2), torch.zeros(5, 2), {"patience": 2}, ValueError, "patience needs validation"),
        (Gaussian(2), torch.zeros(5, 2), {"validation": 0.01}, ValueError, "holds out 0 of 5"),
        (object(), torch.zeros(5, 2), {}, TypeError, "object is not a model that fit knows"),
    ],
)
def test_what_is_wrong_is_named_before_the_first_step(model, data, settings, error, message) -> None:
    with pytest.raises(error, match=message):
        fit(model, data, **settings)


class BreaksGradient(Objective):
    """A loss that stays finite while its gradient does not."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.count = at, 0

    def players(self, model) -> list[Player]:
        def loss(x: Tensor, context: Tensor | None) -> Loss:
            self.count += 1
            value = -model.log_prob(x).mean()
            return Loss(value, {"loss": value.detach()})

        def broken(loss: Loss, parameters: list[nn.Parameter]) -> None:
            loss.value.backward()
            if self.count == self.at:
                parameters[0].grad.fill_(float("nan"))

        return [Player("model", list(model.parameters()), loss, backward=broken)]


@pytest.mark.parametrize(("steps", "every"), [(20, 10), (10, 10), (10, 50)])
def test_a_parameter_that_breaks_is_named_though_the_loss_was_finite(tmp_path, steps, every) -> None:
    model, path = Gaussian(2), tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match=r"parameter 'parameters_of\.free' became nan by step 10"):
        fit(model, normal_rows(), BreaksGradient(10), steps=steps, every=every, checkpoint=path)
    assert torch.isfinite(parameters(model)).all()
    assert not path.exists()


def test_a_checkpoint_is_never_overwritten_by_a_broken_state(tmp_path) -> None:
    path = Checkpoint(tmp_path / "c.pt", every=4)
    with pytest.raises(FloatingPointError):
        fit(Gaussian(2), normal_rows(), Breaks(7), steps=40, every=10, checkpoint=path)
    assert torch.load(path.path, weights_only=True)["step"] == 4


class BreaksHeldOut(Breaks):
    def held_out(self, model, x, context=None) -> Tensor:
        return torch.tensor(float("nan"))


def test_a_held_out_nan_is_named() -> None:
    with pytest.raises(FloatingPointError, match="held-out objective became nan at step 10"):
        fit(Gaussian(2), normal_rows(), BreaksHeldOut(1000), steps=40, every=10, validation=0.2, patience=3)


class AutoPair(nn.Module):
    """A user's pair whose guide has no parameters before its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.guide = pyro.infer.autoguide.AutoNormal(self.model)

    def model(self, x, *, context=None, n=1):
        mu = pyro.sample("mu", pyro.distributions.Normal(torch.zeros(2), 10.0).to_event(1))
        with pyro.plate("data", len(x)):
            return pyro.sample("x", pyro.distributions.Normal(mu, 0.5).to_event(1), obs=x)


def test_an_autoguide_is_found_and_fitted() -> None:
    pyro.clear_param_store()
    try:
        pair = AutoPair()
        fit(pair, normal_rows(), steps=500, lr=0.05, batch_size=None)
        torch.testing.assert_close(pair.guide.median()["mu"], normal_rows().mean(0), atol=0.05, rtol=0)
    finally:
        pyro.clear_param_store()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": -1.0}, "clip must be positive"),
        ({"device": "gpuu"}, "no device 'gpuu'"),
        pytest.param(
            {"device": "cuda"},
            "needs a GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit(Gaussian(2), normal_rows(), **settings)


def test_each_epoch_meets_every_row_once_in_an_order_of_its_own() -> None:
    rows = TensorRows(torch.arange(10.0)[:, None])
    batches = Batches(rows, 4, 0, World(), lambda batch: batch).after(0)
    epochs = [torch.cat([next(batches)[0] for _ in range(3)])[:, 0].tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    resumed = Batches(rows, 4, 0, World(), lambda batch: batch).after(4)
    assert next(resumed)[0][:, 0].tolist() == epochs[1][4:8]


def test_adamw_decays_matrices_and_not_vectors() -> None:
    matrix, vector = (torch.nn.Parameter(torch.ones(*shape)) for shape in ((2, 2), (2,)))
    optimizer = adamw([matrix, vector], 0.1, weight_decay=0.5)
    for parameter in (matrix, vector):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.95))
    assert torch.equal(vector.detach(), torch.ones(2))
    assert len(adamw([vector], 0.1).param_groups) == 1
    with pytest.raises(ValueError, match="weight_decay must be at least 0, not -1"):
        adamw([matrix], 0.1, weight_decay=-1)


@pytest.mark.parametrize("objective", [objectives.OneTimestep, objectives.Enumerated, objectives.LearnedSimilarity])
def test_an_objective_of_another_kind_of_model_is_refused_before_the_first_step(objective) -> None:
    model, x = VAE(4, latent=2, hidden=(8,)), torch.randint(0, 2, (8, 4)).float()
    with pytest.raises(TypeError, match=f"{objective.__name__} can't fit this VAE, which has no .*; .* it is Elbo"):
        fit(model, x, objective(), steps=1, progress=False)


def test_codes_that_no_gradient_goes_through_are_refused_by_the_plain_bound() -> None:
    with pytest.raises(TypeError, match="z is drawn from a Levels, which no gradient goes through"):
        fit(DiscreteVAE(4, codes=2, levels=3), torch.zeros(8, 4), objectives.Elbo(), steps=1, progress=False)
