"""What an outbreak is declared with, and the cases that it is shown: whether they can be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.spread.changing import Changing
from zoo.spread.checks import FROM_ZERO, known, numbers, within
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
    known("compartment", start, model.names)
    known("rate", priors, model.parameters)
    if missing := [name for name in model.parameters if name not in priors]:
        raise ValueError(f"the rate {missing[0]!r} has no prior: give one, or a number")
    if isinstance(observes, str):
        model.index(observes)
    elif not any((t.source, t.target) == tuple(observes) for t in model.transitions):
        source, target = observes
        raise ValueError(f"there is no transition from {source} to {target}; there are {', '.join(model.events)}")


def all_heads(model: Compartments, population: Any) -> Tensor | None:
    """The population, [] or [G] with groups."""
    if population is None:
        return None
    sizes = numbers("the population", population)
    if sizes.dim() != (model.groups is not None) or (model.groups and len(sizes) != len(model.groups)):
        wanted = "a number" if model.groups is None else f"a number for each of {', '.join(model.groups)}"
        raise ValueError(f"the population is {wanted}, not {sizes.tolist()}")
    return sizes


def rates_can_be(priors: Mapping[str, Any]) -> None:
    """That no rate is negative."""
    for name, prior in priors.items():
        within(f"the rate {name!r}", prior.prior if isinstance(prior, Changing) else prior, FROM_ZERO)


def with_numbers(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of sites, and those that are given as numbers."""
    fixed = {name: v for name, v in given.items() if not is_prior(v) and not isinstance(v, Changing)}
    if missing := [name for name in given if name not in values and name not in fixed]:
        raise ValueError(f"there is no value of {missing[0]!r}: a course needs one of {', '.join(given)}")
    return {**fixed, **values}


def heads_add_up(model: Compartments, start: Mapping[str, Any], population: Tensor | None) -> None:
    """Numbers that are known, and how many heads they are together."""
    for name, heads in start.items():
        within(f"a number of heads of {name} at the start", heads, FROM_ZERO)
    told = {n: torch.as_tensor(v, dtype=torch.float64) for n, v in start.items() if not is_prior(v)}
    for name, heads in told.items():
        if heads.dim() > 1 or (heads.dim() and len(heads) != len(model.groups or "1")):
            wanted = "a number" if model.groups is None else f"a number, or one for each of {', '.join(model.groups)}"
            raise ValueError(f"heads of {name} at the start are {wanted}, not {heads.tolist()}")
    if population is None:
        return
    if (first := model.names[0]) in start:
        raise ValueError(f"the population gives how many heads are in {first}, and so does start: leave one out")
    given = sum(told.values(), torch.zeros_like(population))
    if (over := given > population).any():
        many, allowed = float(given[over][0]), float(population[over][0])
        raise ValueError(f"the start has {many:g} heads, more than the population of {allowed:g}")


def most(model: Compartments, start: Mapping[str, Any], population: Tensor | None, observes: Observed) -> Tensor:
    """The largest number there can be to observe, [] or [G]: all heads; infinity where they grow or are not known.

    Events have no such bound where a head can come back to where they take it from.
    """
    grows = bool((model.change.sum(-1) > 0).any()) or _returns(model, observes)
    if grows or (population is None and any(is_prior(heads) for heads in start.values())):
        return torch.tensor(torch.inf, dtype=torch.float64)
    sizes = population
    if sizes is None:
        none = torch.zeros(() if model.groups is None else len(model.groups), dtype=torch.float64)
        sizes = sum((torch.as_tensor(heads, dtype=torch.float64) for heads in start.values()), none)
    travels = len(model.change) > len(model.transitions) * len(model.groups or "1")
    return sizes.sum() if travels else sizes


def _returns(model: Compartments, observes: Observed) -> bool:
    """Whether a head to whom the observed event has happened can come to where it happens again."""
    if isinstance(observes, str):
        return False
    reached = {observes[1]}
    while more := {move.target for move in model.transitions if move.source in reached} - reached - {None}:
        reached |= more
    return observes[0] in reached


def increasing(given: Sequence[float] | Tensor, begin: float) -> Tensor:
    """Times after the begin."""
    times = torch.as_tensor(np.asarray(given, dtype=float))
    if times.dim() != 1 or not len(times) or not bool((times.diff(prepend=times.new_tensor([begin])) > 0).all()):
        raise ValueError(f"times are numbers that increase from after the begin, {begin:g}, not {list(given)}")
    return times


def cases_seen(
    given: Tensor, shape: Sequence[int], allowed: Tensor, reporting: Reporting
) -> tuple[Tensor, Tensor | None]:
    """Cases with zeros where they are missing, and where those are; None if none is."""
    cases = torch.as_tensor(given, dtype=torch.float64)
    if list(cases.shape) != list(shape):
        raise ValueError(f"cases are {list(shape)}, one for each of the times, not {list(cases.shape)}")
    try:
        seen = cases.cpu().numpy()  # not by torch, whose answer would be recorded as a part of the density
    except RuntimeError:  # within `torch.func`, where no number can be looked at
        return cases.nan_to_num(nan=0.0), cases.isnan()
    there = ~np.isnan(seen)
    _possible(seen[there], np.broadcast_to(allowed.numpy(), seen.shape)[there], reporting)
    return (cases, None) if there.all() else (cases.nan_to_num(nan=0.0), cases.isnan())


def _possible(seen: np.ndarray, allowed: np.ndarray, reporting: Reporting) -> None:
    """Refuses what no report can be."""
    if (seen < 0).any():
        raise ValueError(f"cases are numbers from 0 on (NaN where missing), not {seen.min():g}")
    if (over := seen > allowed).any():
        raise ValueError(f"an observation of {seen[over][0]:g} is larger than the population of {allowed[over][0]:g}")
    if reporting.whole and (parts := seen[seen != np.floor(seen)]).size:
        raise ValueError(
            f"{type(reporting).__name__} reports whole numbers, not {parts[0]:g}; rates are reported by Normal"
        )
