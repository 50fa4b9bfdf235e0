"""What becomes of an outbreak in a population where one steps in, by draws of its rates, prior or posterior.

query(posterior, "saved", do={"contacts": {10: 0.5}})      # contacts are halved from the time 10 on
query(posterior, "peak", do={"vaccinate": 200})            # 200 of the first compartment, before it begins
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from inference.protocols import Epidemic, name_of, offers
from inference.query.answer import Answer
from inference.seeding import seeded
from inference.spread.do import check_keys, contacts_of
from inference.spread.live_edges import Contacts
from inference.spread.measures import answered, check_target

OWN = ("curve", "peak_time")


def outbreak_of(thing: Any) -> Any:
    """An outbreak, or the one that a posterior is of; None where there is none."""
    asked = getattr(getattr(getattr(thing, "program", None), "model", None), "__self__", thing)
    return asked if offers(asked, Epidemic) else None


def population(
    spread: Any, target: str, given: Mapping[Any, Any], do: Mapping[Any, Any], seed: int, draws: int
) -> Answer:
    """The outcome for each draw of what isn't known, so that the interval holds how little that is.

    "total" counts those who are infected after the beginning, as the outbreak's own site of that name does; "peak" and
    "peak_time" are of the "curve" of what there is to report. The error takes draws for independent, which those of
    chains are where their effective draws are as many.

    Raises:
        ValueError: something given, edges, more vaccinated than there are; all that `outcome` names.
    """
    outbreak = outbreak_of(spread)
    if outbreak is None:
        raise TypeError(f"a spread is on a graph, an outbreak, or a posterior of one, not a {name_of(spread)}")
    if given:
        raise ValueError("an outbreak says how it begins, and its posterior what was seen: leave `given` empty")
    check_asked(outbreak, target, do)
    values, weights, whence = _values(spread, outbreak, seed, draws)
    changed = _Changed(outbreak, contacts_of(do.get("contacts", 1.0)), float(do.get("vaccinate", 0)))
    found = _measured(target, changed.outbreak, values)
    if target == "saved":
        found = _measured(target, outbreak, values) - found
    count = len(found)
    told = answered(target, found.reshape(count, -1).squeeze(-1), f"{count} {whence}", weights)
    return told if spread is outbreak else replace(told, warnings=tuple(spread.alarms.values()))


def check_asked(outbreak: Any, target: Any, do: Mapping[Any, Any]) -> None:
    """That an outbreak has the target, and that this can be done to it."""
    check_keys(do)
    if "cut" in do:
        raise ValueError("a population that is mixed has no edges to cut: multiply its contacts instead")
    check_target(target, outbreak.compartments.names, bool(do), OWN)
    contacts_of(do.get("contacts", 1.0))
    heads = do.get("vaccinate", 0)
    if not (isinstance(heads, Real) and float(heads) >= 0):
        raise ValueError(f"a number of heads is vaccinated, 0 or more, not {heads!r}")


def _values(spread: Any, outbreak: Any, seed: int, draws: int) -> tuple[dict[str, Tensor], Tensor | None, str]:
    """Values of the sites, a draw a row; what each counts for; and whose draws they are."""
    given = {**outbreak.priors, **{f"{name}0": heads for name, heads in outbreak.start.items()}}
    if spread is not outbreak:
        known = {**spread.draws, **spread.derived}
        count = len(spread.weights.flatten())
        values = {n: known[n].flatten(0, 1) if n in known else _told(v, count) for n, v in given.items()}
        return values, spread.weights.flatten(), "draws of the posterior"
    with seeded(seed):
        return {name: _told(value, draws) for name, value in given.items()}, None, "draws of the prior"


def _told(value: Any, count: int) -> Tensor:
    """A number, as often as there are draws; or draws of a prior."""
    if hasattr(value, "log_prob"):
        return value.sample((count,)).double()
    if hasattr(value, "draw"):
        return torch.stack([value.draw("rate") for _ in range(count)]).double()
    number = torch.as_tensor(value, dtype=torch.float64)
    return number.expand(count, *number.shape)


@torch.no_grad()
def _measured(target: str, outbreak: Any, values: Mapping[str, Tensor]) -> Tensor:
    """A number for each draw, [draws], or its curve, [draws, T]."""
    course, model = outbreak.course(values), outbreak.compartments
    if target in ("total", "saved"):
        met = torch.as_tensor(model.contagious) & model.taken[:, :: len(model.names)].any(-1)
        return (course.happened[..., -1, :] * met).sum(-1)
    if target in model.names:
        return course[target][..., -1]
    curve = outbreak.expected(course)
    if target == "curve":
        return curve
    most, when = curve.max(-1)
    return most if target == "peak" else outbreak.times[when]


class _Changed:
    """An outbreak in which something is done, by what runs it: the program stays as it is."""

    def __init__(self, outbreak: Any, contacts: Contacts, vaccinated: float) -> None:
        self.run, self.contacts, self.vaccinated, self.begin = outbreak.run, contacts, vaccinated, outbreak.begin
        self.outbreak = copy.copy(outbreak)
        self.outbreak.run = self

    def __call__(self, model: Any, rates: Mapping[str, Any], start: Tensor, times: Any) -> Any:
        clock = torch.as_tensor(times, dtype=torch.float64)
        begin, end = float(clock[0]), float(clock[-1])
        heads = self._vaccinated(model, start) if begin == self.begin else start
        cuts = [begin, *(t for t in self.contacts.steps if begin < t < end), end]
        parts: list[Any] = []
        for n, (first, last) in enumerate(itertools.pairwise(cuts)):
            inside = clock[(clock > first) & (clock < last)]
            within = torch.cat([clock.new_tensor([first]), inside, clock.new_tensor([last])])
            seeds = {"seed": n} if n and "seed" in inspect.signature(self.run).parameters else {}
            parts.append(self.run(model, self._rates(model, rates, first), heads, within, **seeds))
            heads = parts[-1].heads[..., -1, :]
        return parts[0].joined(parts[1:], clock)

    def _rates(self, model: Any, rates: Mapping[str, Any], time: float) -> dict[str, Any]:
        factor = self.contacts.factor(time)
        met = {transition.rate for transition in model.transitions if transition.by}
        return {name: _times(rate, factor) if name in met else rate for name, rate in rates.items()}

    def _vaccinated(self, model: Any, start: Tensor) -> Tensor:
        """The heads at the beginning, so many of the first compartment in one that keeps them."""
        if not self.vaccinated:
            return start
        if model.groups is not None:
            raise ValueError("vaccination in a population with groups is a matter of its start: say it there")
        names = list(model.names)
        kept = [n for n in ("V", "R") if n in names] or [n for n in names[1:] if not _leads_on(model, n)]
        if not kept:
            raise ValueError(f"none of {', '.join(names)} keeps the vaccinated from being infected: add one, V")
        if (start[..., 0] < self.vaccinated).any():
            raise ValueError(f"{self.vaccinated:g} can't be vaccinated: there are {float(start[..., 0].min()):g}")
        moved = torch.zeros(len(names), dtype=start.dtype)
        moved[0], moved[names.index(kept[0])] = -self.vaccinated, self.vaccinated
        return start + moved


def _leads_on(model: Any, name: str) -> bool:
    """Whether a compartment infects, or anyone leaves it."""
    return any(name in transition.by or transition.source == name for transition in model.transitions)


def _times(rate: Any, factor: float) -> Any:
    return (lambda time: rate(time) * factor) if callable(rate) else rate * factor
