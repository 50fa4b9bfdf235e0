"""What is given to run a spread, as numbers that can be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

Limit = tuple[Any, str]
FROM_ZERO: Limit = constraints.nonnegative, "a number from 0 on"
ABOVE_ZERO: Limit = constraints.positive, "a number above 0"
SHARE: Limit = constraints.unit_interval, "a share from 0 to 1"
LARGE, SMALL = 1e6, 1e-6


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
            raise ValueError(f"{what} is {told}, and its prior, {type(given).__name__}, draws others too")


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
