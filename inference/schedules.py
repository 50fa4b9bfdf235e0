"""Schedules: functions from the step (1, 2, ...) to a factor on the learning rate, or to a weight in an objective."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same at every step."""
    return lambda step: value


def warmup(steps: int) -> Schedule:
    """Up from zero in a line over `steps`, then constant."""
    return lambda step: min(1.0, step / steps)


def linear(steps: int, final: float = 0.0) -> Schedule:
    """Down from 1 to `final` in a line over `steps`."""
    return lambda step: 1.0 + (final - 1.0) * min(1.0, step / steps)


def cosine(steps: int, final: float = 0.0, warmup: int = 0) -> Schedule:
    """Down from 1 to `final` along half a cosine until `steps` (Loshchilov and Hutter, 2017).

    The first `warmup` of the steps go up in a line instead, and the cosine takes the rest.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must be 0 or more and below the {steps} steps, not {warmup}")

    def factor(step: int) -> float:
        if step <= warmup:
            return step / warmup
        along = min(1.0, (step - warmup) / (steps - warmup))
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * along))

    return factor


def cooldown(steps: int, last: int, final: float = 0.0) -> Schedule:
    """Constant, then down to `final` in a line over the last of the steps."""
    return lambda step: 1.0 + (final - 1.0) * max(0.0, min(1.0, (step - steps + last) / last))
