"""What follows from the course of an outbreak besides its cases: R0 and R(t), the peak, how many it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.spread.course import Course
from zoo.spread.threshold import has_threshold, infections, reproduction_number

if TYPE_CHECKING:
    from zoo.spread.outbreak import Outbreak


def of(outbreak: Outbreak, values: Mapping[str, Any], course: Course, curve: Tensor) -> dict[str, Tensor]:
    """By name, for values of the sites, their course and what it makes to be expected, [T] or [T, G]."""
    highest, when = curve.max(0)
    found = {"curve": curve, "peak": highest, "peak_time": outbreak.times[when]}
    if not has_threshold(outbreak.compartments):
        return found
    numbers = _reproduction(outbreak, values, course)
    new = infections(outbreak.compartments)
    total = (course.happened[-1] * new).sum()
    return {"R0": numbers[0], "R": numbers[1:], **found, "total": total}


def _reproduction(outbreak: Outbreak, values: Mapping[str, Any], course: Course) -> Tensor:
    """At the begin, were all heads in the first compartment, then at each time among the heads as they are: [1 + T]."""
    groups = course.heads[:1].unflatten(-1, (-1, len(outbreak.compartments.names)))
    everyone = groups.sum(-1, keepdim=True)
    healthy = torch.cat([everyone, torch.zeros_like(groups[..., 1:])], -1).flatten(-2)
    rates = _rates_at(outbreak, values, [outbreak.begin, *outbreak.times.tolist()])
    return reproduction_number(outbreak.compartments, rates, torch.cat([healthy, course.heads[outbreak.seen]]))


def _rates_at(outbreak: Outbreak, values: Mapping[str, Any], times: Sequence[float]) -> dict[str, Tensor]:
    """The rates at times, [T] each."""
    each = [outbreak.rates_from(values, time) for time in times]
    return {name: torch.stack([torch.as_tensor(now[name]).double() for now in each]) for name in outbreak.priors}
