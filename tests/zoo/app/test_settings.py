"""The objective of a fit, from what can be written down."""

import pytest
import torch

from inference.objectives import (
    R1,
    Elbo,
    FeatureMatching,
    GradientPenalty,
    Hinge,
    HistoricalAveraging,
    ImportanceWeightedElbo,
    LeastSquares,
    NonSaturating,
    OneTimestep,
    Relativistic,
    Relaxed,
    Wasserstein,
    pathwise,
    sampled,
)
from inference.objectives.diffusion import bound, independent
from zoo.app.settings import gradient_settings, objective
from zoo.spec import SpecError


def test_a_schedule_is_a_table_of_its_own():
    found = objective({"name": "elbo", "beta": {"name": "warmup", "steps": 40}, "free_bits": 0.25, "kl": "sampled"})
    assert isinstance(found, Elbo) and found.kl is sampled
    assert [found.beta(step) for step in (10, 40, 50)] == [0.25, 1.0, 1.0] and found.free_bits(3) == 0.25
    relaxed = objective({"name": "relaxed", "temperature": {"name": "cooling", "steps": 10, "last": 0.25}})
    assert isinstance(relaxed, Relaxed)


def test_a_way_to_estimate_is_a_name():
    found = objective({"name": "importance_weighted_elbo", "draws": 4, "gradient": "pathwise"})
    assert isinstance(found, ImportanceWeightedElbo) and found.gradient is pathwise
    stepwise = objective({"name": "one_timestep", "weighting": "bound", "times": "independent"})
    assert isinstance(stepwise, OneTimestep) and (stepwise.weighting, stepwise.times) == (bound, independent)


def test_a_game_names_its_penalty_and_what_is_beside_it():
    found = objective({"name": "wasserstein", "penalty": {"name": "gradient_penalty"}, "generator_every": 5})
    assert isinstance(found, Wasserstein) and isinstance(found.penalty, GradientPenalty)
    assert (found.penalty.weight, found.generator_every) == (10.0, 5)
    beside = [{"name": "feature_matching", "weight": 0.5}, {"name": "historical_averaging"}]
    found = objective({"name": "relativistic", "penalty": {"name": "r1", "weight": 2.0}, "also": beside})
    assert isinstance(found, Relativistic) and isinstance(found.penalty, R1) and found.penalty.weight == 2.0
    assert [type(term) for term in found.also] == [FeatureMatching, HistoricalAveraging]
    assert found.also[0].weight == 0.5
    for name, kind in (("non_saturating", NonSaturating), ("least_squares", LeastSquares)):
        smooth = objective({"name": name, "smoothing": 0.1})
        assert type(smooth) is kind and smooth.smoothing == 0.1
    assert isinstance(objective("hinge"), Hinge)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "wasserstein", "penalty": {"name": "r2"}}, "fit.objective.penalty.name is 'r2'"),
        ({"name": "wasserstein", "penalty": {"name": "r1"}}, "fit.objective.penalty.weight is missing"),
        (
            {"name": "hinge", "also": [{"name": "feature_match"}]},
            r"also\[0\].name.*did you mean feature_matching",
        ),
        ({"name": "hinge", "smoothing": 0.1}, "fit.objective.smoothing is not a parameter"),
        ({"name": "game"}, "fit.objective.name is 'game'"),
        ({"name": "elbo", "beta": {"name": "warmpu", "steps": 3}}, "fit.objective.beta.name is 'warmpu'.*did you mean"),
        ({"name": "elbo", "beta": {"name": "warmup"}}, "fit.objective.beta.steps is missing: a whole number is needed"),
        ({"name": "elbo", "beta": "warm"}, "fit.objective.beta is 'warm', but a number or an object"),
        ({"name": "importance_weighted_elbo", "gradient": "pathwize"}, "fit.objective.gradient is 'pathwize'"),
    ],
)
def test_what_is_not_known_is_named(asked, message):
    with pytest.raises(SpecError, match=message):
        objective(asked)


def test_it_goes_to_fit():
    known = gradient_settings({"steps": 3, "objective": {"name": "elbo", "particles": 2}, "precision": "float64"})
    assert known["objective"].particles == 2 and known["precision"] is torch.float64
