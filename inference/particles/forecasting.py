"""Courses of a state that is not seen, given all data, and how they go on: for draws of the parameters' posterior."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from inference.batched_runs import of_each
from inference.particles.state_space_data import AT_ONCE, StateSpaceData, continued
from inference.particles.task import Task
from inference.posterior import Posterior
from inference.predictive_draws import APART
from inference.program import Program
from inference.program_sites import Draw, Substitute
from inference.resampling import by_seed
from inference.results import tell
from inference.seeding import seeded

SHOWN = 8
"""How many rows of a forecast are printed."""


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """n courses, each for its own draw of the parameters.

    Attributes:
        parameters: {name: [n, *shape]}, of the state-space model.
        times, states: those of the data [T], and the states at them given all data [n, T, ...].
        ahead, later, data: times to come [T'], states at them [n, T', ...], and data to come [n, T', *y].
    """

    parameters: dict[str, Tensor]
    times: Tensor
    states: Tensor
    ahead: Tensor
    later: Tensor
    data: Tensor

    def interval(self, share: float = 0.9) -> tuple[Tensor, Tensor]:
        """Bounds [T', *y] between which data to come lie with this probability, as much beyond either."""
        levels = self.data.new_tensor([0.5 - share / 2, 0.5 + share / 2])
        low, high = self.data.quantile(levels, dim=0)
        return low, high

    def to_frame(self) -> pd.DataFrame:
        """The mean of each number to come, and the interval that nine tenths of its draws are within."""
        figures = torch.stack([self.data.mean(0), *self.interval()], -1).flatten(0, -2)
        table = pd.DataFrame(figures.cpu().numpy(), columns=["mean", "low", "high"])
        places = list(itertools.product(*map(range, self.data.shape[2:])))
        if places != [()]:
            table.insert(0, "place", places * len(self.ahead))
        table.insert(0, "time", self.ahead.repeat_interleave(len(places)).numpy())
        return table

    def __repr__(self) -> str:
        table = self.to_frame()
        shown = table.head(SHOWN).to_string(index=False, float_format="{:.4g}".format)
        more = [f"... of {len(table)}"] if len(table) > SHOWN else []
        told = f"{len(self.data)} courses at {len(self.times)} times, and what is to come, nine tenths of it within:"
        return "\n".join([told, *("  " + line for line in [*shown.splitlines(), *more])])


def forecast(
    posterior: Posterior, times: Iterable[float], *, draws: int = 400, particles: int = 1000, seed: int = 0
) -> Forecast:
    """The unseen courses up to the last datum, and states and data at times after it, given draws of the parameters.

    A filter of so many particles is run for each draw, and one path taken of it.

    Raises:
        ValueError: times that are not after the last of the data; a posterior whose program has no `StateSpaceData`;
            particles that failed for all draws.
    """
    program = posterior._program("forecast")
    with seeded(seed + APART, program.device), torch.no_grad():
        name, site, data = site_of(program)
        ahead = [float(t) for t in times]
        if not ahead or any(t <= now for now, t in itertools.pairwise([site.times[-1], *ahead])):
            raise ValueError(
                f"times to come must grow from after the last datum's, {site.times[-1]:g}, not {ahead[:8]}"
            )
        rows = _thinned(posterior, draws, seed)
        parameters = parameters_of(program, name, rows, draws)
        parts = zip(*(value.split(max(1, AT_ONCE // particles)) for value in parameters.values()), strict=True)
        found = [_ahead(site, dict(zip(parameters, part, strict=True)), data, ahead, particles) for part in parts]
    kept = torch.cat([part.pop("kept") for part in found])
    if not kept.any():
        raise ValueError(f"{program.name}: the particles of all {draws} draws failed; more particles= might find one")
    if not kept.all():
        lost = draws - int(kept.sum())
        tell({"impossible data": f"the particles of {lost} of {draws} draws failed, and the forecast is without those"})
    whole = {key: torch.cat([part[key] for part in found]) for key in found[0]}
    given = {key: value[kept] for key, value in parameters.items()}
    return Forecast(
        given,
        torch.as_tensor(site.times, dtype=torch.float64),
        ahead=torch.as_tensor(ahead, dtype=torch.float64),
        **whole,
    )


def _thinned(posterior: Posterior, draws: int, seed: int) -> dict[str, Tensor]:
    """So many of a posterior's draws, evenly from all chains: {name: [draws, *shape]}."""
    order = by_seed(posterior.weights.flatten(), seed)
    index = order[torch.arange(draws) * len(order) // draws]
    return {name: value[index.to(value.device)] for name, value in posterior.flat.items()}


def _ahead(
    site: StateSpaceData, parameters: dict[str, Tensor], data: Tensor, ahead: list[float], particles: int
) -> dict[str, Tensor]:
    """A path and what follows it for each of the parameters whose particles found one, and whether they did, "kept"."""
    filtered = Task.of(site.states, parameters, data, site.times, site.begin, particles).filtered()
    kept = filtered.log_likelihood.isfinite()
    path = filtered.paths(1)[kept, 0]
    given = {name: value[kept] for name, value in parameters.items()}
    later, seen = continued(site.states, given, path[:, None, -1], site.times[-1], ahead)
    return {"states": path, "later": later[:, 0], "data": seen[:, 0], "kept": kept}


def site_of(program: Program) -> tuple[str, StateSpaceData, Tensor]:
    """The one observed site of a program whose data are of a state that is not seen: name, distribution, data."""
    nodes = program.run(Draw(improper=True)).nodes
    found = [name for name in program.observed if hasattr(nodes[name]["fn"], "states")]
    if len(found) != 1:
        raise ValueError(f"{program.name} observes {len(found)} sites of StateSpaceData, and a forecast is of one")
    return found[0], nodes[found[0]]["fn"], nodes[found[0]]["value"]


def parameters_of(program: Program, site: str, rows: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    """What the site's state-space model is given for n draws of the latents {name: [n, *shape]}."""

    def one(row: Mapping[str, Tensor], _: Tensor) -> dict[str, Tensor]:
        return program.run(Substitute(row)).nodes[site]["fn"].parameters

    return of_each(one, rows, n, n)
