"""What an outbreak is declared with, and the cases that it is shown: whether they can be."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.registry import near
from zoo.spread.changing import Changing
from zoo.spread.checks import numbers as from_zero_on
from zoo.spread.compartments import Compartments
from zoo.spread.reporting import Reporting

Observed = str | tuple[str | None, str | None]


def is_prior(given: Any) -> bool:
    return hasattr(given, "log_prob")


def numbers_or_prior(given: Any) -> Any:
    """What is no prior and no single number as a tensor."""
    single = is_prior(given) or isinstance(given, int | float)
    return given if single else torch.as_tensor(given, dtype=torch.float64)


def is_random(run: Callable[..., Any]) -> bool:
    """Whether what gives a course draws it: it takes a seed."""
    return "seed" in inspect.signature(run).parameters


def known_names(model: Compartments, start: Mapping[str, Any], priors: Mapping[str, Any], observes: Observed) -> None:
    """That compartments, rates and what is observed are there."""
    for what, given, known in (("compartment", start, model.names), ("rate", priors, model.parameters)):
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"there is no {what} {unknown[0]!r}{near(unknown[0], known)}")
    if missing := [name for name in model.parameters if name not in priors]:
        raise ValueError(f"the rate {missing[0]!r} has no prior: give one, or a number")
    if isinstance(observes, str):
        model.index(observes)
    elif not any((t.source, t.target) == tuple(observes) for t in model.transitions):
        source, target = observes
        raise ValueError(f"there is no transition from {source} to {target}; there are {', '.join(model.events)}")


def not_negative(priors: Mapping[str, Any]) -> None:
    """That no rate can be below 0."""
    for name, given in priors.items():
        if is_prior(given):
            support = getattr(given, "support", None)
            lowest = -math.inf if support is constraints.real else getattr(support, "lower_bound", 0.0)
            if bool(torch.as_tensor(lowest < 0).any()):
                raise ValueError(
                    f"the prior of the rate {name!r} reaches below 0: take PositiveNormal, or a log-normal"
                )
        elif not isinstance(given, Changing):
            from_zero_on(f"the rate {name!r}", given)


def with_numbers(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of sites, and those that are given as numbers."""
    fixed = {name: v for name, v in given.items() if not is_prior(v) and not isinstance(v, Changing)}
    if missing := [name for name in given if name not in values and name not in fixed]:
        raise ValueError(f"there is no value of {missing[0]!r}: a course needs one of {', '.join(given)}")
    return {**fixed, **values}


def heads_add_up(model: Compartments, start: Mapping[str, Any], population: float | None) -> None:
    """Numbers that are known, and how many heads they are together."""
    known = {n: torch.as_tensor(v, dtype=torch.float64) for n, v in start.items() if not is_prior(v)}
    for name, heads in known.items():
        if not (heads.isfinite() & (heads >= 0)).all():
            raise ValueError(f"heads of {name} at the start are numbers from 0 on, not {start[name]}")
        if heads.dim() > 1 or (heads.dim() and len(heads) != len(model.groups or "1")):
            wanted = "a number" if model.groups is None else f"a number, or one for each of {', '.join(model.groups)}"
            raise ValueError(f"heads of {name} at the start are {wanted}, not {heads.tolist()}")
    if population is None:
        return
    first, given = model.names[0], sum(float(heads.sum()) for heads in known.values())
    if first in start:
        raise ValueError(f"the population gives how many heads are in {first}, and so does start: leave one out")
    if given > (allowed := most(model, start, population)):
        raise ValueError(f"the start has {given:g} heads, more than the population of {allowed:g}")


def most(model: Compartments, start: Mapping[str, Any], population: float | None) -> float:
    """All heads, infinity where that is not known or they grow."""
    if bool((model.change.sum(-1) > 0).any()):
        return math.inf
    if population is not None:
        return float(torch.as_tensor(population, dtype=torch.float64).sum())
    if any(is_prior(v) for v in start.values()):
        return math.inf
    none = torch.zeros(len(model.groups or "1"), dtype=torch.float64)
    return sum(float((torch.as_tensor(v, dtype=torch.float64) + none).sum()) for v in start.values())


def increasing(given: Sequence[float] | Tensor, begin: float) -> Tensor:
    """Times after the begin."""
    times = torch.as_tensor(np.asarray(given, dtype=float))
    if times.dim() != 1 or not len(times) or not bool((times.diff(prepend=times.new_tensor([begin])) > 0).all()):
        raise ValueError(f"times are numbers that increase from after the begin, {begin:g}, not {list(given)}")
    return times


def cases_seen(
    given: Tensor, shape: Sequence[int], allowed: float, reporting: Reporting
) -> tuple[Tensor, Tensor | None]:
    """Cases with zeros where they are missing, and where those are; None if none is."""
    cases = torch.as_tensor(given, dtype=torch.float64)
    if list(cases.shape) != list(shape):
        raise ValueError(f"cases are {list(shape)}, one for each of the times, not {list(cases.shape)}")
    try:
        numbers = cases.cpu().numpy()  # not by torch, whose answer would be recorded as a part of the density
    except RuntimeError:  # within `torch.func`, where no number can be looked at
        return cases.nan_to_num(nan=0.0), cases.isnan()
    seen = numbers[~np.isnan(numbers)]
    _possible(seen, allowed, reporting)
    return (cases, None) if len(seen) == numbers.size else (cases.nan_to_num(nan=0.0), cases.isnan())


def _possible(seen: np.ndarray, allowed: float, reporting: Reporting) -> None:
    """Refuses what no report can be."""
    if (seen < 0).any():
        raise ValueError(f"cases are numbers from 0 on (NaN where missing), not {seen.min():g}")
    if (seen > allowed).any():
        raise ValueError(f"an observation of {seen.max():g} is larger than the population of {allowed:g}")
    if reporting.whole and (parts := seen[seen != np.floor(seen)]).size:
        raise ValueError(
            f"{type(reporting).__name__} reports whole numbers, not {parts[0]:g}; rates are reported by Normal"
        )
