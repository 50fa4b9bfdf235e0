"""An outbreak as a Pyro program: compartments with priors, seen through reports of cases.

flu = Outbreak(sir(), {"S": 762, "I": 1}, {"beta": PositiveNormal(2, 1), "gamma": PositiveNormal(0.4, 0.5)},
               observes="I", times=range(1, 15))
posterior = inference.mcmc(flu, {"cases": cases})           # NaN: not seen, predicted
inference.query(posterior, ["R0", "peak", "peak_time"])
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor

from zoo.spread import delays, derived
from zoo.spread import outbreak_checks as checks
from zoo.spread.changing import Changing
from zoo.spread.compartments import Compartments
from zoo.spread.course import Course
from zoo.spread.ode import ode
from zoo.spread.reporting import NegativeBinomial, Reporting, Uncertain

Prior = Uncertain | Changing
Run = Callable[[Compartments, Mapping[str, Any], Tensor, Tensor], Course]


class Outbreak:
    """p(rates, start) p(cases | the course of the compartments): `mcmc(outbreak, {"cases": cases})`.

    Sites: each rate by its name, heads at the start as NAME0, the reporting's parameters, and "cases" [T] (or [T, G]
    with groups) in the plate "time". Deterministic: curve (what is expected), peak and peak_time of it; and where it
    spreads by meetings alone R0 (all heads in the first compartment), R [T] (at each time, as depleted as it is), and
    total (how often a head was infected until the end).

    Parameters:
        compartments: what can happen.
        start: heads at the time `begin`: numbers, or priors of them.
        priors: of each rate: a prior, a number, or a `Changing` one.
        observes: a compartment, whose heads are counted at each time; or a transition (source, target), whose events
            since the time before are.
        times: [T], after `begin`, increasing.
        reporting: how reports scatter.
        population: all heads, one number for each of the groups; those that `start` does not name are in the first
            compartment, none where a prior draws more than all.
        delay: shares of events that are reported 0, 1, 2, ... units of time later; times are then whole units.
        run: what gives the course: `ode`, or one of its signature. One by chance (`tau_leaping`, ...) is for looking at
            courses; cases are scored under it by a `HiddenCourse`.
    """

    def __init__(
        self,
        compartments: Compartments,
        start: Mapping[str, Uncertain],
        priors: Mapping[str, Prior],
        *,
        observes: checks.Observed,
        times: Sequence[float] | Tensor,
        reporting: Reporting | None = None,
        begin: float = 0.0,
        population: float | Sequence[float] | Tensor | None = None,
        delay: Sequence[float] | None = None,
        run: Run = ode,
    ) -> None:
        self.compartments, self.priors = compartments, dict(priors)
        self.start = {name: checks.numbers_or_prior(heads) for name, heads in start.items()}
        self.observes, self.reporting, self.run = observes, reporting or NegativeBinomial(), run
        self.begin, self.population = float(begin), checks.all_heads(compartments, population)
        self.times = checks.increasing(times, self.begin)
        self.delay = None if delay is None else delays.shares_of(delay)
        checks.known_names(compartments, self.start, self.priors, observes)
        checks.rates_can_be(self.priors)
        checks.heads_add_up(compartments, self.start, self.population)
        marks = self.times if self.delay is None else delays.units_between(self.begin, self.times, observes)
        self._grid = torch.cat([marks.new_tensor([self.begin]), marks])
        self.seen = torch.searchsorted(self._grid, self.times)

    def __repr__(self) -> str:
        seen = self.observes if isinstance(self.observes, str) else " -> ".join(map(str, self.observes))
        return f"Outbreak({self.compartments}; {seen} observed at {len(self.times)} times)"

    # ---- the program

    def model(self, cases: Tensor | None = None) -> Tensor:
        """Draw or score cases, [T] or [T, G]; those that are NaN are missing, and only predicted."""
        if checks.is_random(self.run):
            raise ValueError(
                "this outbreak's run draws its course by a seed, and all parameters would be scored by one course's "
                "chance: give the outbreak run=ode, and the chain to HiddenCourse(outbreak, run=...)"
            )
        cases, missing = self.checked(cases)
        values = self.draw_sites()
        course = self.course(values)
        expected = self.expected(course)
        for name, found in derived.of(self, values, course, expected).items():
            pyro.deterministic(name, found, event_dim=found.dim())
        told = self.reporting.distribution(expected, self.everyone(values), values)
        with contextlib.ExitStack() as plates:
            for dim, (name, size) in enumerate(self._axes().items(), -expected.dim()):
                plates.enter_context(pyro.plate(name, size, dim=dim))
            if cases is None:
                return pyro.sample("cases", told)
            return pyro.sample("cases", told if missing is None else told.mask(~missing), obs=cases)

    def __call__(self, cases: Tensor | None = None) -> Tensor:
        return self.model(cases)

    def given(self) -> dict[str, Any]:
        """A prior or a number for each site that is drawn."""
        return {**self.priors, **{f"{n}0": v for n, v in self.start.items()}, **self.reporting.given()}

    def draw_sites(self) -> dict[str, Any]:
        """Values of the sites by name, drawn in Pyro; numbers as they are."""
        return {name: _drawn(name, prior) for name, prior in self.given().items()}

    # ---- the course for values of the sites

    def course(self, values: Mapping[str, Any]) -> Course:
        """At `begin` and each time (each unit of time with a delay), for values of the sites [*batch] by name.

        What the outbreak has as a number need not be among them.

        Raises:
            ValueError: no value of a site that has a prior.
        """
        values = checks.with_numbers(values, {**self.priors, **{f"{name}0": v for name, v in self.start.items()}})
        first, last = self.begin, float(self._grid[-1])
        ends = [first, *(time for time in self.changes if first < time < last), last]
        heads = self.start_heads(values)
        parts: list[Course] = []
        for begin, end in itertools.pairwise(ends):
            inside = self._grid[(self._grid > begin) & (self._grid < end)]
            within = torch.cat([inside.new_tensor([begin]), inside, inside.new_tensor([end])])
            parts.append(self.run(self.compartments, self.rates_from(values, begin), heads, within))
            heads = parts[-1].heads[..., -1, :]
        return parts[0].joined(parts[1:], self._grid)

    @property
    def changes(self) -> list[float]:
        """The times at which rates change."""
        return sorted({time for prior in self.priors.values() if isinstance(prior, Changing) for time in prior.at})

    def expected(self, course: Course) -> Tensor:
        """What there is to report at each time, [..., T] or [..., T, G]."""
        axis = -2 if self.compartments.groups else -1
        if isinstance(self.observes, str):
            counted = course[self.observes]
            return counted.narrow(axis, 1, counted.shape[axis] - 1)
        new = course.new(*self.observes)
        if self.delay is None:
            return new
        return delays.between(delays.late(new, self.delay, axis), self.seen, axis)

    def rates_from(self, values: Mapping[str, Any], time: float) -> dict[str, Any]:
        """The rates from a time on, until one changes."""
        now = {}
        for name, prior in self.priors.items():
            piece = sum(time >= t for t in prior.at) if isinstance(prior, Changing) else None
            now[name] = values[name] if piece is None else values[name][..., piece]
        return now

    def start_heads(self, values: Mapping[str, Any]) -> Tensor:
        """Heads [*batch, K] at the begin, for values of the sites."""
        none = torch.zeros(self.compartments.size // len(self.compartments.names), dtype=torch.float64)
        heads = {n: torch.as_tensor(values[f"{n}0"], dtype=torch.float64)[..., None] for n in self.start}
        if self.compartments.groups is not None:
            heads = {n: value[..., 0] for n, value in heads.items()}
        if self.population is not None:
            named = torch.stack(torch.broadcast_tensors(none, *heads.values())).sum(0)
            heads[self.compartments.names[0]] = (self.population - named).clamp(min=0.0)
        columns = torch.broadcast_tensors(none, *(heads.get(name, none) for name in self.compartments.names))
        return torch.stack(columns[1:], -1).flatten(-2)

    def everyone(self, values: Mapping[str, Any]) -> Any:
        """All heads, of each group, for values of the sites."""
        if self.population is not None:
            return self.population
        return sum(values[f"{name}0"] for name in self.start)

    def _axes(self) -> dict[str, int]:
        groups = self.compartments.groups
        return {"time": len(self.times)} if groups is None else {"time": len(self.times), "group": len(groups)}

    def checked(self, cases: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Cases with zeros where they are missing, and where those are."""
        if cases is None:
            return None, None
        most = checks.most(self.compartments, self.start, self.population, self.observes)
        return checks.cases_seen(cases, list(self._axes().values()), most, self.reporting)


def _drawn(name: str, prior: Any) -> Any:
    if isinstance(prior, Changing):
        return prior.draw(name)
    return pyro.sample(name, prior) if checks.is_prior(prior) else prior
