"""An outbreak whose course is a matter of chance: a state that moves, hidden behind the reports of cases.

hidden = HiddenCourse(flu, run=partial(tau_leaping, step=0.25))
inference.particle_filter(hidden, {"beta": 1.7, "gamma": 0.5, "phi_inv": 0.1}, cases, flu.times, begin=flu.begin)
inference.particle_mcmc(hidden.program(inference.StateSpaceData, particles=500), {"cases": cases})
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution

from zoo.registry import near
from zoo.spread.changing import Changing
from zoo.spread.course import Course
from zoo.spread.jumps import tau_leaping
from zoo.spread.outbreak import Outbreak

Chain = Callable[..., Course]


class HiddenCourse:
    """p(heads at the start) prod_t p(heads_t | heads_t-1) p(cases_t | heads up to t), given the sites of an outbreak.

    What is reported, how late, and how reports scatter is the outbreak's; that heads are whole and move by chance is
    what its own `run` leaves out. Heads of a prior are rounded to whole ones. Parameters are {site: [B, *shape]}; sites
    whose prior is a number need not be among them. A state is [B, n, K + D G]: heads, then for each group what is
    reported at this time and, where reports are late, in the D - 1 units of time after it.

    Parameters:
        outbreak: what is declared, believed and observed.
        run: how heads move: `tau_leaping`, `binomial_chain`, `gillespie`, or one of their signature.
    """

    def __init__(self, outbreak: Outbreak, *, run: Chain = tau_leaping) -> None:
        self.outbreak, self.run = outbreak, run
        self.shares = torch.ones(1, dtype=torch.float64) if outbreak.delay is None else outbreak.delay
        self._given = outbreak.given()
        self._groups = len(outbreak.compartments.groups or "1")

    def program(self, data: Callable[..., Any], **settings: Any) -> Callable[..., Tensor]:
        """The outbreak as a Pyro program whose "cases" have the distribution data(self, values, times, ...)."""
        outbreak = self.outbreak
        shape = [self._groups] if outbreak.compartments.groups else []

        def model(cases: Tensor | None = None) -> Tensor:
            outbreak.checked(cases)
            values = {name: value for name, value in outbreak.draw_sites().items() if isinstance(value, Tensor)}
            told = data(self, values, outbreak.times, begin=outbreak.begin, shape=shape, **settings)
            return pyro.sample("cases", told, obs=cases)

        return model

    # ---- the state-space model

    def draw_start(self, parameters: Mapping[str, Tensor], n: int) -> Tensor:
        """n states at the outbreak's begin, [B, n, K + D G], at which nothing is observed: what is due is NaN."""
        values = self._values(parameters)
        rows = max((len(value) for value in parameters.values()), default=1)
        heads = self._whole(self.outbreak.start_heads(values)).expand(rows, n, -1)
        due = heads.new_zeros(rows, n, len(self.shares), self._groups)
        due[:, :, 0] = torch.nan
        return torch.cat([heads, due.flatten(-2)], -1)

    def advance(self, parameters: Mapping[str, Tensor], state: Tensor, t: float, t_next: float) -> Tensor:
        """The states at `t_next` of those at `t`."""
        values, model = self._values(parameters), self.outbreak.compartments
        heads, late = self._apart(state)
        late = torch.cat([late[..., 1:, :], torch.zeros_like(late[..., :1, :])], -2)
        new, reported = torch.zeros_like(late[..., 0, :]), torch.zeros_like(late[..., 0, :])
        shares = self.shares.to(state.device)[:, None]
        for begin, end, report in self._spans(t, t_next):
            course = self.run(model, self.outbreak.rates_from(values, begin), heads, [begin, end], seed=_seed())
            heads, new = course.heads[..., -1, :], new + self._counted(course)
            if report:
                late = late + shares * new[..., None, :]
                reported = reported + late[..., 0, :]
                late = torch.cat([late[..., 1:, :], torch.zeros_like(late[..., :1, :])], -2)
                new = torch.zeros_like(new)
        if isinstance(self.outbreak.observes, str):
            reported = self._counted(course)
        due = torch.cat([reported[..., None, :], late[..., :-1, :]], -2)
        return torch.cat([heads, due.flatten(-2)], -1)

    def log_observation(self, parameters: Mapping[str, Tensor], state: Tensor, y_t: Tensor) -> Tensor:
        """log p(cases | state), [B, n] nats; groups that are NaN say nothing."""
        seen = ~y_t.isnan()
        found = self._told(parameters, state).log_prob(torch.where(seen, y_t, 0.0))
        found = torch.where(seen, found, 0.0)
        return found.sum(-1) if self.outbreak.compartments.groups else found

    def draw_observation(self, parameters: Mapping[str, Tensor], state: Tensor) -> Tensor:
        """Cases, [B, n] or [B, n, G]."""
        drawn: Tensor = self._told(parameters, state).sample()
        return drawn

    # ---- what these need

    def _told(self, parameters: Mapping[str, Tensor], state: Tensor) -> Any:
        expected, values = self._apart(state)[1][..., 0, :], self._values(parameters)
        if expected.isnan().any():
            begin = self.outbreak.begin
            raise ValueError(f"nothing is observed at the begin of an outbreak: give begin={begin:g} beside the times")
        if self.outbreak.compartments.groups is None:
            expected = expected[..., 0]
        else:
            values = {name: v[..., None] if isinstance(v, Tensor) and v.dim() == 2 else v for name, v in values.items()}
        return self.outbreak.reporting.distribution(expected, self.outbreak.everyone(values), values)

    def _apart(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Heads [B, n, K], and what is due [B, n, D, G]."""
        size = self.outbreak.compartments.size
        return state[..., :size], state[..., size:].unflatten(-1, (-1, self._groups))

    def _counted(self, course: Course) -> Tensor:
        """What is observed of a course of two times, [..., G]."""
        observes = self.outbreak.observes
        found = course[observes] if isinstance(observes, str) else course.new(*observes)
        return found[..., -1, :] if self.outbreak.compartments.groups else found[..., -1:]

    def _spans(self, t: float, t_next: float) -> list[tuple[float, float, bool]]:
        """Pieces in which no rate changes, and whether reports are made at the end of each."""
        ends = {t_next}
        if self.outbreak.delay is not None:
            ends |= {t + unit for unit in range(1, round(t_next - t))}
        marks = sorted({t, *ends, *(change for change in self.outbreak.changes if t < change < t_next)})
        return [(begin, end, end in ends) for begin, end in itertools.pairwise(marks)]

    def _values(self, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
        """Values of all sites: numbers as they are, parameters [B, 1, *shape]."""
        known = {name: value for name, value in self._given.items() if not isinstance(value, Changing | Distribution)}
        if missing := [name for name in self._given if name not in known and name not in parameters]:
            raise ValueError(f"the parameter {missing[0]!r} is missing")
        if unknown := [name for name in parameters if name not in self._given]:
            raise ValueError(f"the outbreak has no parameter {unknown[0]!r}{near(unknown[0], self._given)}")
        return {**known, **{name: value[:, None] for name, value in parameters.items()}}

    def _whole(self, heads: Tensor) -> Tensor:
        """Whole heads, as many in each group as before; the first compartment has what others leave."""
        groups = heads.unflatten(-1, (self._groups, -1))
        others = groups[..., 1:].round()
        first = (groups.sum(-1, keepdim=True).round() - others.sum(-1, keepdim=True)).clamp(min=0)
        return torch.cat([first, others], -1).flatten(-2)


def _seed() -> int:
    """Of torch's generator, as whoever runs a state-space model seeds it."""
    return int(torch.randint(2**62, ()))
