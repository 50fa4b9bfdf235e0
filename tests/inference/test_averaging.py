"""The average of weights that a fit ends with."""

import os
import signal

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from inference.descent import descent
from inference.fit import fit
from inference.objectives import Loss, Objective
from inference.schedules import cosine
from tests.inference.test_distributed import launch, weights
from zoo.conditionals import Gaussian
from zoo.vae import VAE


def bits(n: int = 200) -> Tensor:
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(2)).round()


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(6, latent=2, hidden=(8,))


def parameters(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


class Slope(nn.Module):
    """A number that gradient descent moves by its rate each step, a frozen one, and a buffer that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.frozen = nn.Parameter(torch.full((), 0.3, dtype=torch.float64), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))


class Downhill(Objective):
    def __init__(self, breaks: int = 10**9) -> None:
        super().__init__()
        self.breaks = breaks

    def check(self, model, x, context=None, columns=None) -> None:
        """Any rows will do."""

    def forward(self, model, x, context=None) -> Loss:
        model.seen += 1
        value = model.height * (float("nan") if model.seen >= self.breaks else 1.0)
        return Loss(value, {"loss": value.detach()})

    def held_out(self, model, x, context=None) -> Tensor:
        return model.height.detach()


def walked(steps: int, decay: float) -> float:
    """The weighted mean of 0, -1, -2, ..., -steps, written as a sum: each weight is what all later steps left of it."""
    kept = [min(decay, (1 + k) / (10 + k)) for k in range(1, steps + 1)]
    total = 0.0
    for k in range(1, steps + 1):
        weight = 1 - kept[k - 1]
        for later in kept[k:]:
            weight *= later
        total -= weight * k
    return total


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_model_ends_with_the_average_and_validation_looks_at_it(decay) -> None:
    model = Slope()
    settings = {"lr": 1.0, "optimizer": descent, "every": 10, "validation": torch.zeros(4, 1)}
    result = fit(model, torch.zeros(8, 1), Downhill(), steps=40, average=decay, **settings)
    assert model.height.item() == pytest.approx(walked(40, decay), rel=1e-12)
    expected = [walked(steps, decay) for steps in (10, 20, 30, 40)]
    assert result.history["held_out"].tolist() == pytest.approx(expected, rel=1e-6)
    assert model.frozen.item() == 0.3
    assert model.seen.item() == 40
    fit(plain := Slope(), torch.zeros(8, 1), Downhill(), steps=40, **settings)
    assert plain.height.item() == -40


def test_the_path_is_that_of_a_fit_without_an_average() -> None:
    plain = fit(vae(), bits(), steps=60, every=20)
    averaged = fit(vae(), bits(), steps=60, every=20, average=0.9)
    pd.testing.assert_frame_equal(plain.history, averaged.history)
    assert not torch.equal(parameters(plain.model), parameters(averaged.model))


@pytest.mark.parametrize("at", [20, 33])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path, at: int) -> None:
    settings = {"batch_size": 32, "validation": 0.2, "patience": 50, "every": 20, "schedule": cosine(90)}
    whole = fit(vae(), bits(), steps=90, average=0.95, **settings)
    fit(vae(), bits(), steps=at, checkpoint=tmp_path / "c.pt", average=0.95, **settings)
    resumed = fit(vae(), bits(), steps=90, resume=tmp_path / "c.pt", average=0.95, **settings)
    assert torch.equal(parameters(whole.model), parameters(resumed.model))
    pd.testing.assert_frame_equal(whole.history, resumed.history)
    with pytest.raises(ValueError, match="holds an average of weights, but this fit keeps none"):
        fit(vae(), bits(), steps=90, resume=tmp_path / "c.pt", **settings)


def test_an_average_can_not_be_resumed_from_nothing(tmp_path) -> None:
    fit(vae(), bits(), steps=5, checkpoint=tmp_path / "c.pt")
    with pytest.raises(ValueError, match="holds no average of weights, but this fit keeps one"):
        fit(vae(), bits(), steps=9, resume=tmp_path / "c.pt", average=0.9)


def test_early_stopping_goes_back_to_the_best_average() -> None:
    rows = bits()
    settings = {"validation": bits(300)[200:], "patience": 3, "every": 10, "lr": 0.05, "average": 0.9}
    result = fit(vae(), rows, steps=2000, **settings)
    assert result.stopped == "early stopping"
    assert result.best_step is not None
    until = fit(vae(), rows, steps=result.best_step, **{**settings, "patience": None})
    assert torch.equal(parameters(result.model), parameters(until.model))


def test_ctrl_c_leaves_the_average_and_a_checkpoint_that_goes_on_without_a_seam(tmp_path) -> None:
    def press(progress) -> None:
        if progress.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    model, settings = vae(), {"every": 10, "average": 0.9}
    with pytest.raises(KeyboardInterrupt):
        fit(model, bits(), steps=60, callbacks=[press], checkpoint=tmp_path / "c.pt", **settings)
    assert torch.equal(parameters(model), parameters(fit(vae(), bits(), steps=20, **settings).model))
    resumed = fit(vae(), bits(), steps=60, resume=tmp_path / "c.pt", **settings).model
    assert torch.equal(parameters(resumed), parameters(fit(vae(), bits(), steps=60, **settings).model))


def test_nan_leaves_the_last_good_average() -> None:
    model = Slope()
    with pytest.raises(FloatingPointError, match="back at step 20"):
        settings = {"lr": 1.0, "optimizer": descent, "every": 10, "average": 0.9}
        fit(model, torch.zeros(8, 1), Downhill(breaks=27), steps=60, **settings)
    assert model.height.item() == pytest.approx(walked(20, 0.9), rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2])
def test_a_decay_is_between_0_and_1(decay) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit(Gaussian(2), torch.zeros(5, 2), average=decay)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_processes_average_as_one_does(tmp_path) -> None:
    from tests.inference.test_distributed import run

    run(str(tmp_path), 30, "one.pt", None, average=0.9)
    launch(tmp_path, 30, "two.pt", average=0.9)
    one, two = (weights(tmp_path / f"{name}.pt", "average") for name in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
