"""An outbreak of one's own in a spec: what spreads, what is believed of it, and what is counted.

[program.spread]
compartments = "seir"                       # si, sis, sir, seir, sirs; or {name = "sir", vaccination = true}
start = {S = 762, I = 1}                    # numbers, or priors as below
observes = "I"                              # a compartment; or ["S", "I"], the new events of a transition
times = 14                                  # days 1, ..., 14; or the times themselves
[program.spread.priors]
beta = {name = "positive_normal", mean = 2.0, sd = 1.0}
sigma = 0.5
gamma = {name = "positive_normal", mean = 0.4, sd = 0.5}
[program.spread.reporting]                  # unless told: negative_binomial
name = "poisson"
share = 0.8
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
import torch

from zoo.app.recipe import as_table
from zoo.app.settings import called
from zoo.registry import near
from zoo.spec import SpecError, check
from zoo.spread import Binomial, NegativeBinomial, Normal, Outbreak, Poisson, PositiveNormal, ready
from zoo.spread.compartments import Compartments
from zoo.spread.reporting import Reporting, Uncertain


def positive_normal(mean: float, sd: float) -> PositiveNormal:
    return PositiveNormal(mean, sd)


def exponential(rate: float) -> dist.Exponential:
    return dist.Exponential(_double(rate))


def log_normal(mean: float, sd: float) -> dist.LogNormal:
    """Of the logarithm."""
    return dist.LogNormal(_double(mean), _double(sd))


def gamma(shape: float, rate: float) -> dist.Gamma:
    return dist.Gamma(_double(shape), _double(rate))


def beta(a: float, b: float) -> dist.Beta:
    return dist.Beta(_double(a), _double(b))


def uniform(low: float, high: float) -> dist.Uniform:
    return dist.Uniform(_double(low), _double(high))


PRIORS = {each.__name__: each for each in (positive_normal, exponential, log_normal, gamma, beta, uniform)}
COMPARTMENTS = {each.__name__: each for each in (ready.si, ready.sis, ready.sir, ready.seir, ready.sirs)}
REPORTING = {"poisson": Poisson, "negative_binomial": NegativeBinomial, "binomial": Binomial, "normal": Normal}


def disease(births_and_deaths: bool = False, vaccination: bool = False) -> None:
    """What a spec may say of compartments beside their name."""


def asked(
    compartments: Any,
    start: Any,
    priors: Any,
    observes: Any,
    times: Any,
    reporting: Any = "negative_binomial",
    begin: float = 0.0,
    population: float | None = None,
    delay: Any = None,
) -> dict[str, Any]:
    """What [program.spread] may say."""
    return locals()


def outbreak(given: Any, path: str = "program.spread") -> Outbreak:
    """A checked table as an outbreak."""
    table = asked(**check(as_table(given, path), asked, path, of="of a spread"))
    shares = None if table["delay"] is None else _list(table["delay"], f"{path}.delay")
    observes = table["observes"]
    try:
        return Outbreak(
            _compartments(table["compartments"], f"{path}.compartments"),
            _priors(table["start"], f"{path}.start"),
            _priors(table["priors"], f"{path}.priors"),
            observes=observes if isinstance(observes, str) else tuple(_list(observes, f"{path}.observes")),
            times=_times(table["times"], f"{path}.times"),
            reporting=_reporting(table["reporting"], f"{path}.reporting"),
            begin=table["begin"],
            population=table["population"],
            delay=shares,
        )
    except SpecError:
        raise
    except (ValueError, TypeError) as error:
        raise SpecError(f"{path}: {error}") from error


def _compartments(given: Any, path: str) -> Compartments:
    table = as_table(given, path, "name")
    name = table.pop("name", None)
    if name not in COMPARTMENTS:
        raise SpecError(f"{path} is {name!r}, which is not known here{near(str(name), COMPARTMENTS)}")
    return COMPARTMENTS[name](**check(table, disease, path))


def _priors(given: Any, path: str) -> dict[str, Uncertain]:
    return {name: _prior(value, f"{path}.{name}") for name, value in as_table(given, path).items()}


def _prior(value: Any, path: str) -> Uncertain:
    if isinstance(value, Mapping):
        found: Uncertain = called(value, path, PRIORS)
        return found
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{path} is {value!r}, but a number or a prior was expected")
    return value


def _reporting(given: Any, path: str) -> Reporting:
    table = as_table(given, path, "name")
    made: Reporting = called({"name": table.pop("name", None)}, path, REPORTING)
    if unknown := [key for key in table if key not in made.given()]:
        raise SpecError(f"{path}.{unknown[0]} is not a parameter here: there are {', '.join(made.given())}")
    return type(made)(**_priors(table, path))


def _times(given: Any, path: str) -> Sequence[float]:
    if isinstance(given, int) and given > 0:
        return range(1, given + 1)
    return _list(given, path)


def _list(given: Any, path: str) -> list[Any]:
    if not isinstance(given, list):
        raise SpecError(f"{path} is {given!r}, but a list was expected")
    return given


def _double(number: float) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.float64)
