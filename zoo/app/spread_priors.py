"""What a spec believes of a number of a spread: the number itself, a prior by its name, or a rate that changes.

beta = 0.5
beta = {name = "positive_normal", mean = 2.0, sd = 1.0}    # log_normal, exponential, gamma, beta, uniform
beta = {name = "piecewise", prior = {name = "exponential", rate = 1.0}, at = [7]}    # before day 7, from it on
beta = {name = "random_walk", first = {name = "exponential", rate = 1.0}, scale = 0.2, at = [7, 14]}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import torch

from zoo.app.recipe import as_table
from zoo.app.settings import called
from zoo.spec import SpecError, in_short
from zoo.spread import Piecewise, PositiveNormal, RandomWalk


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


def piecewise(prior: Any, at: list[float]) -> Piecewise:
    return Piecewise(prior, at)


def random_walk(first: Any, scale: Any, at: list[float]) -> RandomWalk:
    return RandomWalk(first, scale, at)


PRIORS = {each.__name__: each for each in (positive_normal, exponential, log_normal, gamma, beta, uniform)}
CHANGING = {each.__name__: each for each in (piecewise, random_walk)}


def each(given: Any, path: str, read: Callable[[Any, str], Any]) -> dict[str, Any]:
    """A table's values, read one by one."""
    return {name: read(value, f"{path}.{name}") for name, value in as_table(given, path).items()}


def rate(value: Any, path: str) -> Any:
    """A number, a prior, or what changes."""
    if not isinstance(value, Mapping) or str(value.get("name")) not in CHANGING:
        return number_or_prior(value, path, {**PRIORS, **CHANGING})
    parts = {key: PARTS[key](part, f"{path}.{key}") if key in PARTS else part for key, part in value.items()}
    with told_at(path):
        return called(parts, path, CHANGING)


def heads(value: Any, path: str) -> Any:
    """A number, one for each group, or a prior."""
    if isinstance(value, list):
        return [number(head, f"{path}[{i}]") for i, head in enumerate(value)]
    return number_or_prior(value, path)


def number_or_prior(value: Any, path: str, choices: Mapping[str, Any] = PRIORS) -> Any:
    return prior(value, path, choices) if isinstance(value, Mapping) else number(value, path, "a number or a prior")


def prior(value: Any, path: str, choices: Mapping[str, Any] = PRIORS) -> Any:
    if not isinstance(value, Mapping):
        raise SpecError(f"{path} is {in_short(value)}, but a prior was expected, a table with a name")
    with told_at(path):
        return called(value, path, choices)


PARTS: dict[str, Callable[[Any, str], Any]] = {"prior": prior, "first": prior, "scale": number_or_prior}
"""How what changes is read, part by part."""


def number(value: Any, path: str, expected: str = "a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(f"{path} is {in_short(value)}, but {expected} was expected")
    return value


@contextmanager
def told_at(path: str) -> Iterator[None]:
    """What is wrong within, told with the path of what it is wrong of."""
    try:
        yield
    except SpecError:
        raise
    except (ValueError, TypeError) as error:
        raise SpecError(f"{path}: {error}") from error


def _double(number: float) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.float64)
