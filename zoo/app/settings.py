"""The keywords of a fit, from what can be written down."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

import inference.objectives as objectives
from inference import schedules
from inference.descent import descent
from inference.fit import fit
from inference.objectives import Objective
from inference.objectives.diffusion import bound, independent, low_discrepancy, simple
from inference.settings import Settings, adam, adamw
from zoo.app.recipe import as_table
from zoo.datasets import Data
from zoo.datasets.views import Dequantise
from zoo.registry import near
from zoo.spec import SpecError, check

NOT_WRITTEN = ("model", "data", "objective", "callbacks", "progress", "transform")
NAMED = ("objective", "schedule", "optimizer")
OPTIMIZERS = {"adam": adam, "adamw": adamw, "descent": descent}
WAYS = {
    function.__name__: function
    for function in (
        *(objectives.closed_form, objectives.layered, objectives.sampled, objectives.sticking_the_landing),
        *(objectives.pathwise, objectives.doubly_reparameterised),
        *(bound, simple, low_discrepancy, independent),
    )
}
CHAINS = {
    "data": objectives.DataChains,
    "persistent": objectives.PersistentChains,
    "tempered": objectives.TemperedChains,
}
SCHEDULES = {name: getattr(schedules, name) for name in ("warmup", "linear", "cosine", "cooldown")}
PARTS = {
    **SCHEDULES,
    "cooling": objectives.cooling,
    "gradient_penalty": objectives.GradientPenalty,
    "r1": objectives.R1,
    "feature_matching": objectives.FeatureMatching,
    "from_partner": objectives.FromPartner,
    "non_saturating": objectives.NonSaturating,
    "least_squares": objectives.LeastSquares,
    "hinge": objectives.Hinge,
    "wasserstein": objectives.Wasserstein,
    "relativistic": objectives.Relativistic,
    "historical_averaging": objectives.HistoricalAveraging,
    "mmd": objectives.Mmd,
    "energy_distance": objectives.EnergyDistance,
    "sliced_wasserstein": objectives.SlicedWasserstein,
}
"""What a table in an objective may name: schedules, penalties of a critic, generator's terms, games, moments."""


def gradient_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """[fit] as keywords of `inference.fit`, what it names built."""
    given = {key: value for key, value in settings.items() if key not in NAMED}
    if isinstance(given.get("precision"), str):
        given["precision"] = _dtype(given["precision"])
    known = check(given, fit, "fit", of="of fit", skip=(*NOT_WRITTEN, *NAMED))
    if "objective" in settings:
        known["objective"] = objective(settings["objective"])
    if "schedule" in settings:
        known["schedule"] = called(settings["schedule"], "fit.schedule", SCHEDULES)
    if "optimizer" in settings:
        known["optimizer"] = _optimizer(settings["optimizer"])
    Settings.of({**_defaults(fit), **known})  # says now what `fit` would say after an earlier model's fit
    return known


def _defaults(function: Callable) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def noise_anew(data: Data) -> Callable[[Tensor], Tensor] | None:
    """What draws the dequantisation noise of each batch anew; None where the data has none.

    A model that sees the same noise in every epoch learns the noise by heart.
    """
    if not any(isinstance(step, Dequantise) for step in data.steps):
        return None

    def transform(x: Tensor) -> Tensor:
        seed = int(torch.randint(2**31, ()))
        raw = data.restore(x)
        for step in data.steps:
            raw = step.apply(raw, seed)
        return raw

    return transform


def objective(asked: Any) -> Objective:
    """An objective by its name, with its parameters: numbers, schedules as tables, its ways of estimating by name."""
    kinds = (getattr(objectives, name) for name in objectives.__all__)
    table = {
        key: _part(value, f"fit.objective.{key}") for key, value in as_table(asked, "fit.objective", "name").items()
    }
    return called(table, "fit.objective", {_snake(kind): kind for kind in kinds if _is_objective(kind)})


def _part(value: Any, path: str) -> Any:
    """A parameter of an objective: {name = "warmup", steps = 400} is a schedule, "pathwise" the function."""
    if isinstance(value, list):
        return [_part(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return called(value, path, {**PARTS, **CHAINS})
    return WAYS.get(value, value) if isinstance(value, str) else value


def _optimizer(asked: Any) -> Callable:
    """(parameters, lr) -> an optimiser, by name; adam may be given its betas, adamw its weight_decay as well."""
    table = as_table(asked, "fit.optimizer", "name")
    made = _chosen(table.pop("name", None), "fit.optimizer", OPTIMIZERS)
    if made is adamw:
        return partial(adamw, **check(table, adamw, "fit.optimizer", skip=("parameters", "lr")))
    if not table or made is not adam:
        check(table, lambda: None, "fit.optimizer")
        return made
    return partial(torch.optim.Adam, fused=True, **check(table, adam_options, "fit.optimizer"))


def adam_options(betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
    """What a spec may say of Adam."""


def called(asked: Any, path: str, choices: Mapping[str, Any]) -> Any:
    """What a table names, called with the table's other keys."""
    table = as_table(asked, path, "name")
    chosen = _chosen(table.pop("name", None), f"{path}.name", choices)
    function: Any = chosen.__init__ if isinstance(chosen, type) else chosen  # type: ignore[misc]
    return chosen(**check(table, function, path))


def _chosen(name: Any, path: str, choices: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or name not in choices:
        raise SpecError(f"{path} is {name!r}, which is not known here{near(str(name), choices)}")
    return choices[name]


def _is_objective(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Objective) and kind not in (Objective, objectives.Game)


def _snake(kind: Any) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _dtype(name: str) -> torch.dtype:
    names = ["float32", "float64", "bfloat16", "float16"]
    if name not in names:
        raise SpecError(f"fit.precision is {name!r}{near(name, names)}")
    return getattr(torch, name)
