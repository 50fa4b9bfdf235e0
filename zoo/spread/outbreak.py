"""An outbreak as a Pyro program: compartments with priors, seen through reports of cases.

flu = Outbreak(sir(), {"S": 762, "I": 1}, {"beta": PositiveNormal(2, 1), "gamma": PositiveNormal(0.4, 0.5)},
               observes="I", times=range(1, 15))
posterior = inference.mcmc(flu, {"cases": cases})           # NaN: not seen, predicted
inference.query(posterior, ["R0", "peak", "peak_time"])
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from zoo.registry import near
from zoo.spread.changing import Changing
from zoo.spread.compartments import Compartments
from zoo.spread.course import Course
from zoo.spread.ode import ode
from zoo.spread.reporting import Given, NegativeBinomial, Reporting
from zoo.spread.threshold import reproduction_number

Prior = Given | Changing
Run = Callable[[Compartments, Mapping[str, Any], Tensor, Tensor], Course]


class Outbreak:
    """p(rates, start) p(cases | the course of the compartments): `mcmc(outbreak, {"cases": cases})`.

    Sites: each rate by its name, heads at the start as NAME0, the reporting's parameters, and "cases" [T] (or [T, G]
    with groups) in the plate "time". Deterministic: R0 (all heads in the first compartment), R [T] (at each time, as
    depleted as it is), curve (what is expected), peak and peak_time of the curve, total (infected until the end).

    Parameters:
        compartments: what can happen.
        start: heads at the time `begin`: numbers, or priors of them.
        priors: of each rate: a prior, a number, or a `Changing` one.
        observes: a compartment, whose heads are counted at each time; or a transition (source, target), whose events
            since the time before are.
        times: [T], after `begin`, increasing.
        reporting: how reports scatter.
        population: all heads; those that `start` does not name are in the first compartment.
        delay: shares of events that are reported 0, 1, 2, ... units of time later; times are then whole units.
        run: what gives the course: `ode`, or one of its signature.
    """

    def __init__(
        self,
        compartments: Compartments,
        start: Mapping[str, Given],
        priors: Mapping[str, Prior],
        *,
        observes: str | tuple[str | None, str | None],
        times: Sequence[float] | Tensor,
        reporting: Reporting | None = None,
        begin: float = 0.0,
        population: float | None = None,
        delay: Sequence[float] | None = None,
        run: Run = ode,
    ) -> None:
        self.compartments, self.priors = compartments, dict(priors)
        self.start = {name: _numbers(heads) for name, heads in start.items()}
        self.observes, self.reporting, self.run = observes, reporting or NegativeBinomial(), run
        self.begin, self.population = float(begin), population
        self.times = _times(times, self.begin)
        self.delay = None if delay is None else _shares(delay)
        self._check()
        everywhere = self.times if self.delay is None else torch.arange(1.0, self.times[-1] - self.begin + 1) + begin
        self._grid = torch.cat([torch.tensor([self.begin]), everywhere]).double()
        self._seen = torch.searchsorted(self._grid, self.times)

    # ---- the program

    def model(self, cases: Tensor | None = None) -> Tensor:
        """Draw or score cases, [T] or [T, G]; those that are NaN are missing, and only predicted."""
        cases, missing = self._checked(cases)
        values = self._draw()
        course = self.course(values)
        expected = self.expected(course)
        self._tell(values, course, expected)
        told = self.reporting.distribution(expected, self._everyone(values), values)
        with contextlib.ExitStack() as plates:
            for dim, (name, size) in enumerate(self._axes().items(), -expected.dim()):
                plates.enter_context(pyro.plate(name, size, dim=dim))
            if cases is None:
                return pyro.sample("cases", told)
            return pyro.sample("cases", told if missing is None else told.mask(~missing), obs=cases)

    def __call__(self, cases: Tensor | None = None) -> Tensor:
        return self.model(cases)

    def _draw(self) -> dict[str, Any]:
        given = {**self.priors, **{f"{n}0": v for n, v in self.start.items()}, **self.reporting.given()}
        return {name: _drawn(name, prior) for name, prior in given.items()}

    def _tell(self, values: Mapping[str, Any], course: Course, expected: Tensor) -> None:
        """The deterministic sites."""
        model, curve = self.compartments, expected
        groups = course.heads[0].unflatten(-1, (-1, len(model.names)))
        everyone = groups.sum(-1, keepdim=True)
        healthy = torch.cat([everyone, torch.zeros_like(groups[..., 1:])], -1).flatten()
        at = torch.cat([healthy[None], course.heads[self._seen]])
        numbers = reproduction_number(model, self._rates_at(values, [self.begin, *self.times.tolist()]), at)
        infected = course.happened[-1, : len(model.contagious)] * model.contagious
        pyro.deterministic("R0", numbers[0])
        pyro.deterministic("R", numbers[1:], event_dim=1)
        pyro.deterministic("curve", curve, event_dim=curve.dim())
        highest, when = curve.max(0)
        pyro.deterministic("peak", highest, event_dim=highest.dim())
        pyro.deterministic("peak_time", self.times[when], event_dim=highest.dim())
        pyro.deterministic("total", infected.sum())

    # ---- the course for values of the sites

    def course(self, values: Mapping[str, Any]) -> Course:
        """At `begin` and each time (each unit of time with a delay), for values of the sites [*batch] by name."""
        changes = {t for p in self.priors.values() if isinstance(p, Changing) for t in p.at}
        ends = [self.begin, *sorted(t for t in changes if self.begin < t < self._grid[-1]), float(self._grid[-1])]
        heads = self._start(values)
        parts: list[Course] = []
        for begin, end in itertools.pairwise(ends):
            inside = self._grid[(self._grid > begin) & (self._grid < end)]
            within = torch.cat([inside.new_tensor([begin]), inside, inside.new_tensor([end])])
            parts.append(self.run(self.compartments, self._rates(values, begin), heads, within))
            heads = parts[-1].heads[..., -1, :]
        return self._joined(parts)

    def _joined(self, parts: Sequence[Course]) -> Course:
        if len(parts) == 1:
            return parts[0]
        heads, happened, before = [parts[0].heads[..., :1, :]], [parts[0].happened[..., :1, :]], 0.0
        for part in parts:
            kept = torch.isin(part.times[1:], self._grid).nonzero().flatten() + 1
            heads.append(part.heads[..., kept, :])
            happened.append(before + part.happened[..., kept, :])
            before = before + part.happened[..., -1:, :]
        return Course(self.compartments, self._grid, torch.cat(heads, -2), torch.cat(happened, -2))

    def expected(self, course: Course) -> Tensor:
        """What there is to report at each time, [..., T] or [..., T, G]."""
        axis = -2 if self.compartments.groups else -1
        if isinstance(self.observes, str):
            counted = course[self.observes]
            return counted.narrow(axis, 1, counted.shape[axis] - 1)
        new = course.new(*self.observes)
        if self.delay is None:
            return new
        late = torch.zeros_like(new)
        for days, share in enumerate(self.delay.tolist()[: new.shape[axis]]):
            kept = new.narrow(axis, 0, new.shape[axis] - days)
            none = torch.zeros_like(new.narrow(axis, 0, days))
            late = late + share * torch.cat([none, kept], axis)
        until = torch.cat([torch.zeros_like(late.narrow(axis, 0, 1)), late.cumsum(axis)], axis)
        seen = until.index_select(axis, torch.cat([self._seen.new_zeros(1), self._seen]))
        return seen.diff(dim=axis)

    def _rates(self, values: Mapping[str, Any], time: float) -> dict[str, Any]:
        """The rates from a time on, until one changes."""
        now = {}
        for name, prior in self.priors.items():
            piece = sum(time >= t for t in prior.at) if isinstance(prior, Changing) else None
            now[name] = values[name] if piece is None else values[name][..., piece]
        return now

    def _rates_at(self, values: Mapping[str, Any], times: Sequence[float]) -> dict[str, Tensor]:
        """The rates at times, [T] each."""
        each = [self._rates(values, time) for time in times]
        return {name: torch.stack([torch.as_tensor(now[name]).double() for now in each]) for name in self.priors}

    def _start(self, values: Mapping[str, Any]) -> Tensor:
        """Heads [*batch, K]."""
        none = torch.zeros(self.compartments.size // len(self.compartments.names), dtype=torch.float64)
        heads = {n: torch.as_tensor(values[f"{n}0"], dtype=torch.float64)[..., None] for n in self.start}
        if self.compartments.groups is not None:
            heads = {n: value[..., 0] for n, value in heads.items()}
        if self.population is not None:
            named = torch.stack(torch.broadcast_tensors(none, *heads.values())).sum(0)
            everyone = torch.as_tensor(self.population, dtype=torch.float64)
            heads[self.compartments.names[0]] = (everyone - named).clamp(min=0.0)
        columns = torch.broadcast_tensors(none, *(heads.get(name, none) for name in self.compartments.names))
        return torch.stack(columns[1:], -1).flatten(-2)

    def _everyone(self, values: Mapping[str, Any]) -> Any:
        if self.population is not None:
            return self.population
        return sum(values[f"{name}0"] for name in self.start)

    def _axes(self) -> dict[str, int]:
        groups = self.compartments.groups
        return {"time": len(self.times)} if groups is None else {"time": len(self.times), "group": len(groups)}

    # ---- what was given wrong

    def _check(self) -> None:
        model = self.compartments
        for what, given, known in (
            ("compartment", self.start, model.names),
            ("rate", self.priors, model.parameters),
        ):
            if unknown := [name for name in given if name not in known]:
                raise ValueError(f"there is no {what} {unknown[0]!r}{near(unknown[0], known)}")
        if missing := [name for name in model.parameters if name not in self.priors]:
            raise ValueError(f"the rate {missing[0]!r} has no prior: give one, or a number")
        if isinstance(self.observes, str):
            model.index(self.observes)
        elif not any((t.source, t.target) == tuple(self.observes) for t in model.transitions):
            source, target = self.observes
            raise ValueError(f"there is no transition from {source} to {target}; there are {', '.join(model.events)}")
        if self.delay is not None and (isinstance(self.observes, str) or self._off_grid().any()):
            raise ValueError(
                "a delay is of events, of a transition (source, target), at whole units of time after `begin`; this "
                f"outbreak observes {self.observes!r} at {', '.join(f'{t:g}' for t in self.times[:4].tolist())} ..."
            )
        self._add_up()

    def _off_grid(self) -> Tensor:
        since = self.times - self.begin
        return (since - since.round()).abs() > 1e-9

    def _add_up(self) -> None:
        """Numbers that are known, and how many heads they are together."""
        known = {n: torch.as_tensor(v, dtype=torch.float64) for n, v in self.start.items() if not _is_prior(v)}
        for name, heads in known.items():
            if not (heads.isfinite() & (heads >= 0)).all():
                raise ValueError(f"heads of {name} at the start are numbers from 0 on, not {self.start[name]}")
        first, given = self.compartments.names[0], sum(float(heads.sum()) for heads in known.values())
        if self.population is None:
            return
        if first in self.start:
            raise ValueError(f"the population gives how many heads are in {first}, and so does start: leave one out")
        if given > self._most():
            raise ValueError(f"the start has {given:g} heads, more than the population of {self._most():g}")

    def _most(self) -> float:
        """All heads, infinity where that is not known or they grow."""
        if bool((self.compartments.change.sum(-1) > 0).any()):
            return math.inf
        if self.population is not None:
            return float(torch.as_tensor(self.population, dtype=torch.float64).sum())
        if any(_is_prior(v) for v in self.start.values()):
            return math.inf
        return sum(float(torch.as_tensor(v, dtype=torch.float64).sum()) for v in self.start.values())

    def _checked(self, cases: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Cases with zeros where they are missing, and where those are."""
        if cases is None:
            return None, None
        given = torch.as_tensor(cases, dtype=torch.float64)
        wanted = list(self._axes().values())
        if list(given.shape) != wanted:
            raise ValueError(f"cases are {wanted}, one for each of the times, not {list(given.shape)}")
        if self._all_seen(given):
            return given, None
        return given.nan_to_num(nan=0.0), given.isnan()

    def _all_seen(self, given: Tensor) -> bool:
        """Whether no case is missing; refuses what no report can be."""
        try:
            numbers = given.cpu().numpy()  # not by torch, whose answer would be recorded as a part of the density
        except RuntimeError:  # within `torch.func`, where no number can be looked at
            return False
        seen = numbers[~np.isnan(numbers)]
        if (seen < 0).any():
            raise ValueError(f"cases are numbers from 0 on (NaN where missing), not {seen.min():g}")
        if (seen > self._most()).any():
            raise ValueError(f"an observation of {seen.max():g} is larger than the population of {self._most():g}")
        if self.reporting.whole and (seen != np.floor(seen)).any():
            raise ValueError(
                f"{type(self.reporting).__name__} reports whole numbers, not {seen[seen != np.floor(seen)][0]:g}; "
                "rates are reported by Normal"
            )
        return len(seen) == numbers.size


def _is_prior(given: Any) -> bool:
    return hasattr(given, "log_prob")


def _numbers(given: Any) -> Any:
    """What is no prior and no single number as a tensor."""
    single = _is_prior(given) or isinstance(given, int | float)
    return given if single else torch.as_tensor(given, dtype=torch.float64)


def _drawn(name: str, prior: Any) -> Any:
    if isinstance(prior, Changing):
        return prior.draw(name)
    return pyro.sample(name, prior) if _is_prior(prior) else prior


def _times(given: Sequence[float] | Tensor, begin: float) -> Tensor:
    times = torch.as_tensor(np.asarray(given, dtype=float))
    if times.dim() != 1 or not len(times) or not bool((times.diff(prepend=times.new_tensor([begin])) > 0).all()):
        raise ValueError(f"times are numbers that increase from after the begin, {begin:g}, not {list(given)}")
    return times


def _shares(given: Sequence[float]) -> Tensor:
    shares = torch.as_tensor(np.asarray(given, dtype=float))
    if shares.dim() != 1 or not bool((shares >= 0).all()) or abs(float(shares.sum()) - 1) > 1e-6:
        raise ValueError(
            f"a delay is the shares reported 0, 1, 2, ... units of time later, of sum 1, not {list(given)}"
        )
    return shares
