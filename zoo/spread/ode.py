"""The deterministic course of a spread: the rate equations, solved by Runge and Kutta's fourth-order method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from zoo.spread.checks import one_batch
from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course
from zoo.spread.rate_equations import Plan, by_torch


def ode(
    model: Compartments,
    rates: Mapping[str, Rate],
    start: Tensor,
    times: Tensor | Sequence[float],
    *,
    step: float = 0.2,
) -> Course:
    """Solve d heads / dt = hazards(heads, rates) @ change, from `start` at the first of `times`.

    Differentiable in rates and start, and works within `torch.func.vmap` and `grad`. The error falls as step^4.

    Parameters:
        model: compartments and transitions.
        rates: by name, a unit of time each: a number, a tensor [*batch], or a function of time that gives either.
        start: heads [K] or [*batch, K].
        times: [T], increasing; the course is told at each.
        step: the longest step, in the unit of the times; each interval is divided evenly.

    Returns:
        heads [*batch, T, K] and events since the first time [*batch, T, E].

    Raises:
        ValueError: a rate that is missing, unknown, negative or not finite; a start that is none; times that do not
            increase; a step that is not above 0.

    References:
        A contribution to the mathematical theory of epidemics (Kermack and McKendrick, 1927),
        https://doi.org/10.1098/rspa.1927.0118
    """
    moments = model.clock(times)
    if not step > 0:
        raise ValueError(f"a step must be a time above 0, not {step}")
    plan, start = Plan.of(model, moments, step), model.checked(start)
    paces = _paces(plan, rates, moments[0])
    batch = one_batch({"rates": paces.shape[:-2], "a start": start.shape[:-1]})
    start = start.to(paces.device).expand(*batch, -1).reshape(-1, model.size)
    paces = paces.expand(*batch, -1, -1).reshape(len(start), *paces.shape[-2:])
    heads, happened = (x.reshape(*batch, *x.shape[1:]) for x in _solver(plan, start)(start, paces, plan))
    return Course(model, torch.tensor(moments, dtype=torch.float64), heads, happened)


def _paces(plan: Plan, rates: Mapping[str, Rate], begin: float) -> Tensor:
    """The rate of every event [*batch, S, E], at each stage of the plan where one of them changes, else once."""
    each = [plan.model.rates(rates, begin)]
    if any(callable(rate) for rate in rates.values()):
        each = [plan.model.rates(rates, time) for time in plan.stages(begin)]
    return plan.model.to(each[0].device).paces(torch.stack(torch.broadcast_tensors(*each), -2))


def _solver(plan: Plan, start: Tensor) -> Callable[[Tensor, Tensor, Plan], tuple[Tensor, Tensor]]:
    """Plain loops compiled by numba where it is installed, on a CPU; torch's operations elsewhere."""
    if start.device.type == "cpu" and find_spec("numba"):
        from zoo.spread.compiled_equations import by_loops

        return by_loops
    return by_torch
