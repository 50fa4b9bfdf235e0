"""What a model is shown before the first step, and what it may say of its own fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.fit import fit
from inference.objectives import ContrastiveDivergence, NegativeLogLikelihood
from inference.settings import adam
from zoo.rbm import RBM


class Point(nn.Module):
    """Normals around a learned point; remembers the rows that it was started with."""

    def __init__(self, width: int = 2, advice: dict | None = None) -> None:
        super().__init__()
        self.loc, self.shown = nn.Parameter(torch.zeros(width)), []
        self.advice, self.asked = advice, []

    def log_prob(self, x: Tensor) -> Tensor:
        return -(x - self.loc).square().sum(-1)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        self.shown.append((x, context))

    def recipe(self, rows: int) -> dict:
        self.asked.append(rows)
        return self.advice or {}


class Late(NegativeLogLikelihood):
    """The same, prepared on a first batch as it comes."""

    looks_at = 0


def rows(n: int = 50, width: int = 2) -> Tensor:
    return torch.arange(float(n * width)).view(n, width) / (n * width)


def test_all_training_rows_are_shown_once_whatever_the_batch():
    model = Point()
    fit(model, rows(), steps=3, batch_size=8, progress=False)
    ((x, context),) = model.shown
    assert torch.equal(x, rows())
    assert context is None


def test_only_so_many_numbers_are_shown_and_never_less_than_a_batch():
    wide = Point(1000)
    fit(wide, rows(400, 1000), steps=1, batch_size=8, progress=False)
    assert len(wide.shown[0][0]) == 2**18 // 1000
    fit(wide, rows(400, 1000), steps=1, batch_size=None, progress=False)
    assert len(wide.shown[1][0]) == 400


def test_held_out_rows_are_not_shown():
    model = Point()
    fit(model, rows(), steps=3, validation=0.2, progress=False)
    assert len(model.shown[0][0]) == 40


def test_rows_are_shown_as_batches_are_made_and_the_steps_noise_stays_as_it_was():
    def noisy(x):
        drawn.append(torch.randn_like(x))
        return x + drawn[-1] + 10

    noise = []
    for objective in (NegativeLogLikelihood(), Late()):
        model, drawn = Point(), []
        fit(model, rows(), objective, steps=3, batch_size=8, transform=noisy, progress=False)
        noise.append(torch.cat(drawn[-3:]))
        if objective.looks_at:
            assert len(drawn) == 4
            assert float(model.shown[0][0].mean()) > 5
    assert torch.equal(*noise)


def test_contrastive_divergence_is_prepared_on_a_first_batch_as_it_comes():
    shown = []

    class Watched(RBM):
        def initialise(self, x):
            shown.append(x)
            super().initialise(x)

    x = (rows(40, 6) > 0.5).float()
    fit(
        Watched(6, hidden=3),
        x,
        ContrastiveDivergence(),
        steps=2,
        batch_size=8,
        transform=lambda x: 1 - x,
        progress=False,
    )
    assert torch.equal(shown[0], x[:8])


def test_advice_is_asked_for_only_where_nothing_says_how_long():
    model = Point(advice={"steps": 4, "every": 2, "validation": 0.5})
    result = fit(model, rows(), every=1, progress=False)
    assert model.asked == [50]
    assert result.steps == 4
    assert list(result.history.step) == [1, 2, 3, 4]
    assert "held_out" in result.history
    assert result.extra["recipe"] == {"steps": 4, "every": 2, "validation": 0.5}
    assert fit(model, rows(), steps=3, progress=False).steps == 3
    assert fit(model, rows(), epochs=1, batch_size=10, progress=False).steps == 5
    assert model.asked == [50]


def test_without_advice_the_defaults_are_what_they_were():
    asked = []

    def optimizer(parameters, lr):
        asked.append(lr)
        return adam(parameters, lr)

    result = fit(Point(), rows(), optimizer=optimizer, progress=False)
    assert asked == [1e-3]
    assert result.steps == 1000
    assert list(result.history.step) == list(range(50, 1001, 50))
    assert result.extra == {}


def test_advice_that_fit_does_not_know_is_refused():
    with pytest.raises(ValueError, match="recipe has 'rate', which is no argument of fit"):
        fit(Point(advice={"rate": 1.0}), rows(), progress=False)
