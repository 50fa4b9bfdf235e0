"""A posterior as ArviZ's groups, their axes named by the program's plates.

| group                                | holds                                                              |
|--------------------------------------|--------------------------------------------------------------------|
| `posterior`                          | draws that count alike: (chain, draw, *plates, *event axes)        |
| `sample_stats`                       | a number each draw, by ArviZ's names                               |
| `proposal`, `sample_stats_proposal`  | draws of a guide as they were made, and `log_weight`               |
| `log_likelihood`                     | log p(observed site given the draw), nats: (chain, draw, *plates)  |
| `posterior_predictive`               | observed sites drawn anew, given each draw                         |
| `prior`, `prior_predictive`          | latent and observed sites drawn before the data were seen          |
| `observed_data`, `constant_data`     | observed sites, and what else the program was given                |

An axis that is in no plate is NAME_dim_i, i its place in the value, as ArviZ names it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from inference.diagnostics.arviz_io import Labelled, to_idata
from inference.diagnostics.predictive import to_numpy
from inference.posterior import Posterior
from inference.predictive_draws import simulate
from inference.program import Program
from inference.program_sites import Draw, seen

LARGEST = 2**25
"""How many numbers the group of a value each draw and row may hold; beyond it draws are left out, evenly."""
PRIOR = 1000
"""Draws of the prior."""

CHAINED = ("chain", "draw")
Group = dict[str, Labelled]


def container_of(
    posterior: Posterior, predictive: bool, prior: bool, coords: Mapping[str, Any] | None, seed: int
) -> Any:
    """The container of a posterior; draws that have weights are resampled by them, which `proposal` keeps as drawn."""
    even, program = posterior.resampled(seed), posterior.program
    groups: dict[str, Group] = {"posterior": _latents(even), "sample_stats": _stats(even.stats)}
    if posterior.log_weights is not None:
        groups["proposal"] = _latents(posterior)
        groups["sample_stats_proposal"] = _stats({**posterior.stats, "log_weight": posterior.log_weights})
    if program is not None:
        step = stride(even, program)
        few, kept = even.thinned(step), {"draw": (("draw",), np.arange(0, even.shape[1], step))}
        observed = observed_by(program)
        groups["log_likelihood"] = kept | _by_row(few.log_likelihood(), program)
        groups["observed_data"] = sites(observed, program, ())
        groups["constant_data"] = _constants(program, observed)
        if predictive:
            groups["posterior_predictive"] = kept | sites(few.predictive(seed), program)
        if prior:
            groups |= _prior(program, seed)
    return to_idata(groups, _attrs(posterior), {**posterior.extra.get("coords", {}), **(coords or {})})


def sites(values: Mapping[str, Tensor], program: Program | None, lead: tuple[str, ...] = CHAINED) -> Group:
    """Values of sites, with `lead` axes before their own."""
    return {
        name: ((*lead, *axes_of(name, tuple(value.shape[len(lead) :]), program)), to_numpy(value))
        for name, value in values.items()
    }


def _by_row(values: Mapping[str, Tensor], program: Program) -> Group:
    """Likelihoods, without the axes along which rows have none of their own, as they share a discrete latent."""
    group: Group = {}
    for name, (axes, array) in sites(values, program).items():
        summed = [
            i
            for i, size in enumerate(program.observed[name].shape, len(CHAINED))
            if i < array.ndim and array.shape[i] < size
        ]
        group[name] = ([axis for i, axis in enumerate(axes) if i not in summed], array.squeeze(tuple(summed)))
    return group


def axes_of(name: str, shape: tuple[int, ...], program: Program | None) -> list[str]:
    """The names of the first axes of a value, its site's plates where they are in one.

    What is no site's value, but made of them or given, has a plate's name where one alone is as long as one axis alone.
    """
    plates: list[str | None] = [None] * len(shape)
    if program is not None:
        known = {**program.latents, **program.observed}
        fits = name in known and len(known[name].plates) >= len(shape)  # an argument may have a site's name alone
        plates = [*known[name].plates[: len(shape)]] if fits else _guessed(shape, plates_of(program))
    return [plate if plate and plate not in CHAINED else f"{name}_dim_{i}" for i, plate in enumerate(plates)]


def _guessed(shape: tuple[int, ...], plates: Mapping[str, int]) -> list[str | None]:
    found = [
        [plate for plate, size in plates.items() if size == length and shape.count(length) == 1] for length in shape
    ]
    return [plate[0] if len(plate) == 1 else None for plate in found]


def plates_of(program: Program) -> dict[str, int]:
    """The plates that sites have an axis for, and how long they are."""
    known = (*program.latents.values(), *program.observed.values())
    return {plate: size for site in known for plate, size in zip(site.plates, site.shape, strict=True) if plate}


def _latents(posterior: Posterior) -> Group:
    return sites({**posterior.draws, **posterior.derived}, posterior.program)


def _stats(stats: Mapping[str, Tensor]) -> Group:
    return {name: (CHAINED, to_numpy(tensor)) for name, tensor in stats.items()}


def stride(posterior: Posterior, program: Program) -> int:
    """Every how many draws are kept of what has a number each draw and row."""
    rows = sum(site.shape.numel() for site in program.observed.values())
    chains, draws = posterior.shape
    return min(draws, max(1, math.ceil(chains * draws * rows / LARGEST)))


def _prior(program: Program, seed: int) -> dict[str, Group]:
    """Draws of the prior and of data given them, as of one chain; none where the prior is improper."""
    try:
        latents, observed = simulate(program, PRIOR, seed)
    except ValueError:  # of a site that has no draws, so that nothing is said before the data
        return {}
    one = [{name: tensor[None] for name, tensor in values.items()} for values in (latents, observed)]
    return {"prior": sites(one[0], program), "prior_predictive": sites(one[1], program)}


def _attrs(posterior: Posterior) -> dict[str, Any]:
    """What netCDF can hold of what is known besides."""
    known = {"model": posterior.name, "method": posterior.method, "seconds": posterior.seconds}
    numbers = {name: value for name, value in posterior.extra.items() if isinstance(value, int | float | str)}
    groups = {} if posterior.super_chains is None else {"super_chains": posterior.super_chains}
    alarms = {f"alarm: {illness}": sentence for illness, sentence in posterior.alarms.items()}
    return {**numbers, **groups, **known, **alarms}


def observed_by(program: Program) -> dict[str, Tensor]:
    """The values of the observed sites, NaN where they are missing."""
    nodes = program.run(Draw(improper=True)).nodes
    return {name: seen(nodes[name]) for name in program.observed}


def given_to(program: Program) -> dict[str, np.ndarray]:
    """The numbers and arrays that a program was called with, by name."""
    args, kwargs = program.arguments
    bound = inspect.signature(program.model).bind(*args, **kwargs).arguments
    numbers = {name: value for name, value in {**bound, **kwargs}.items() if isinstance(value, Tensor | int | float)}
    return {n: to_numpy(value) if isinstance(value, Tensor) else np.asarray(value) for n, value in numbers.items()}


def _constants(program: Program, observed: Mapping[str, Tensor]) -> Group:
    """What else the program was given: not what is an observed site's value."""
    seen, plates = [to_numpy(value) for value in observed.values()], plates_of(program)
    group: Group = {}
    for name, array in given_to(program).items():
        if not any(array.shape == other.shape and np.array_equal(array, other) for other in seen):
            group[f"{name}_value" if name in plates else name] = (axes_of(name, array.shape, program), array)
    return group
