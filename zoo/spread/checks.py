"""What is given to run a spread, as numbers that can be run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.registry import near

Limit = tuple[Any, str]
FROM_ZERO: Limit = constraints.nonnegative, "a number from 0 on"
ABOVE_ZERO: Limit = constraints.positive, "a number above 0"
SHARE: Limit = constraints.unit_interval, "a share from 0 to 1"
LARGE, SMALL = 1e6, 1e-6
"""The end of a support that has none, and how far within an end it is asked what a prior draws."""


def numbers(what: str, given: Any, device: torch.device | None = None) -> Tensor:
    """Numbers from 0 on, float64.

    What is within `vmap`, where it can't be looked at, and what is differentiated passes as it is.

    Raises:
        TypeError: no numbers.
        ValueError: one that is negative or not finite.
    """
    try:
        values = torch.as_tensor(given, dtype=torch.float64, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{what} must be numbers, not {given!r}") from error
    if values.requires_grad or not readable(values):
        return values
    if not bool((right := values.isfinite() & (values >= 0)).all()):
        raise ValueError(f"{what} must be finite and not negative, but there is {float(values[~right].flatten()[0]):g}")
    return values


def readable(values: Tensor) -> bool:
    """Whether numbers can be looked at: within `vmap` they can't."""
    try:
        bool(values.isnan().any())
    except RuntimeError:
        return False
    return True


def different(what: str, given: Iterable[Any]) -> tuple[Any, ...]:
    """One at least, and none twice.

    Raises:
        ValueError: there is none, or one that is there twice.
    """
    found = tuple(given)
    if not found:
        raise ValueError(f"{what} are needed, and none is given")
    if twice := [each for i, each in enumerate(found) if each in found[:i]]:
        raise ValueError(f"{what} differ from each other, but {twice[0]} is there twice")
    return found


def within(what: str, given: Any, limit: Limit) -> None:
    """That numbers are such as may be, and that a prior draws no others, as far as its support says.

    Raises:
        ValueError: they are not, or it does.
    """
    allowed, told = limit
    if not hasattr(given, "log_prob"):
        if not bool(allowed.check(torch.as_tensor(given)).all()):
            raise ValueError(f"{what} is {told}, not {given}")
        return
    support = given.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    low, high = getattr(support, "lower_bound", -LARGE), getattr(support, "upper_bound", LARGE)
    for inside in (torch.as_tensor(low) + SMALL, torch.as_tensor(high) - SMALL):
        if bool((support.check(inside) & ~allowed.check(inside)).any()):
            others = "" if limit is SHARE else ": a PositiveNormal or a LogNormal does not"
            raise ValueError(f"{what} is {told}, and its prior, {type(given).__name__}, draws others too{others}")


def known(what: str, given: Iterable[str], names: Sequence[str]) -> None:
    """That names are among those there are.

    Raises:
        ValueError: one that is not.
    """
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"there is no {what} {unknown[0]!r}{near(unknown[0], names)}")


def rates_at(parameters: Sequence[str], given: Mapping[str, Any], time: float) -> Tensor:
    """The rates [..., P] at a time, in the order of the parameters.

    Within `vmap`, and where they are differentiated, one that is negative is NaN, and so is all that follows from it:
    to a sampler that went too far this says more than an error.

    Raises:
        TypeError: no names, or no numbers.
        ValueError: one that is missing, unknown, negative or not finite; batches that do not fit.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"rates are given by name, {{name: rate}}, and not by a {type(given).__name__}")
    known("rate", given, parameters)
    if missing := [name for name in parameters if name not in given]:
        raise ValueError(f"the rate {missing[0]!r} is missing")
    now = {name: rate(time) if callable(rate) else rate for name, rate in given.items()}
    device = device_of(now)
    values = {name: numbers(f"the rate {name!r} at time {time:g}", now[name], device) for name in parameters}
    one_batch({name: value.shape for name, value in values.items()})
    if not values:
        return torch.zeros(0, dtype=torch.float64)
    found = torch.stack(torch.broadcast_tensors(*values.values()), -1)
    return torch.where(found >= 0, found, torch.nan)


def heads_of(start: Tensor, size: int) -> Tensor:
    """Heads [..., size], float64.

    Raises:
        TypeError: no tensor.
        ValueError: another width; heads that are negative or not finite.
    """
    if not isinstance(start, Tensor):
        raise TypeError(f"a start must be a tensor of heads, as `state` makes it, not {type(start).__name__}")
    if not start.ndim or start.shape[-1] != size:
        raise ValueError(f"a start must be [..., {size}], heads as `state` makes it, not {list(start.shape)}")
    return numbers("heads of a start", start)


def matrix(what: str, given: Any, otherwise: Tensor) -> Tensor:
    """Numbers from 0 on in the shape of what is taken where none are given."""
    if given is None:
        return otherwise
    values = numbers(what, given)
    if values.shape != otherwise.shape:
        raise ValueError(f"{what} of {len(otherwise)} groups is {list(otherwise.shape)}, not {list(values.shape)}")
    return values


def clock(times: Tensor | Sequence[float]) -> list[float]:
    """Times that increase.

    Raises:
        ValueError: none, or some that do not increase or are not finite.
    """
    given = torch.as_tensor(times, dtype=torch.float64)
    if given.ndim != 1 or not len(given):
        raise ValueError(f"times are a list of numbers, not of shape {list(given.shape)}")
    if not given.isfinite().all():
        raise ValueError("a time is not finite")
    if len(wrong := (given.diff() <= 0).nonzero()):
        place = int(wrong[0])
        raise ValueError(f"times must increase, but {float(given[place + 1]):g} comes after {float(given[place]):g}")
    return list(given.tolist())


def one_batch(shapes: Mapping[str, Sequence[int]]) -> torch.Size:
    """What these shapes broadcast to.

    Raises:
        ValueError: they do not.
    """
    try:
        return torch.broadcast_shapes(*shapes.values())
    except RuntimeError as error:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"these must be of one batch: {told}") from error


def add_up(sizes: Tensor, population: Tensor) -> None:
    """Hold the heads of each group to a population.

    Raises:
        ValueError: they make another.
    """
    sizes, population = torch.broadcast_tensors(sizes, population)
    wrong = (sizes - population).abs() > 1e-9 * population.clamp(min=1)
    if wrong.any():
        made, told = float(sizes[wrong][0]), float(population[wrong][0])
        raise ValueError(f"the heads of all compartments add up to {made:g}, but the population is {told:g}")


def device_of(values: Mapping[str, Any]) -> torch.device | None:
    """Where the first tensor among them is."""
    return next((value.device for value in values.values() if isinstance(value, Tensor)), None)
