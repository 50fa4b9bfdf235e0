"""Where chains begin: points of finite density and slope, or the site that has none in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.predictive_draws import prior_draws
from inference.program_data import settings
from inference.program_sites import log_prob, scored

if TYPE_CHECKING:
    from inference.sampling.density import LogDensity

TRIES = 50
"""Times that all chains without a start are given one anew, half of them uniform, half of the prior."""


def start(density: LogDensity, chains: int, radius: float) -> Tensor:
    """q [chains, dim] of finite density and slope, by torch's generator.

    Uniform within `radius` of zero; where that fails, draws of the prior, where it has any.

    Raises:
        ValueError: none is found; names the site whose density is not finite.
    """
    program = density.program
    q = torch.zeros(chains, density.dim, dtype=program.precision, device=program.device)
    missing = torch.ones(chains, dtype=torch.bool, device=q.device)
    tried = q
    for attempt in range(TRIES):
        tried = radius * (2 * torch.rand_like(q) - 1) if attempt % 2 == 0 else _of_prior(density, missing, q)
        value, slope = density.value_and_grad(tried)
        found = missing & value.isfinite() & slope.isfinite().all(-1)
        q = torch.where(found[:, None], tried, q)
        missing = missing & ~found
        if not missing.any():
            return q
    row = int(missing.nonzero()[0])
    raise ValueError(f"{program.name}: {why(density, tried[row])}")


def _of_prior(density: LogDensity, missing: Tensor, q: Tensor) -> Tensor:
    """A draw of the prior for each chain without a start; the others stay."""
    q = q.clone()
    drawn = prior_draws(density.program, int(missing.sum()))
    q[missing] = density.unconstrain(drawn, check=False)
    return q


def why(density: LogDensity, q: Tensor) -> str:
    """Which site keeps a point q [dim] from being a start."""
    program = density.program
    values = {name: value[0] for name, value in density.constrain(q[None]).items()}
    with torch.no_grad():
        nodes = scored(program.trace(values))
        with settings(program.precision, program.device):
            found = {name: log_prob(node) for name, node in nodes.items()}
    where = ", ".join(f"{name} = {value.flatten()[0].item():.3g}" for name, value in list(values.items())[:3])
    for name, value in found.items():
        part = "the prior of" if name in program.latents else "the likelihood of"
        if value.isnan().any():
            data = name in program.observed and nodes[name]["value"].isnan().any()
            advice = "its data hold nan" if data else "see what its distribution is given"
            return f"{part} the site {name!r} is nan at the start ({where}): {advice}"
        if (value == -torch.inf).any() and name not in program.discrete:
            what = "its data lie outside of its support" if name in program.observed else "it has no support there"
            return f"{part} the site {name!r} is zero at every start tried, as at {where}: {what}"
    return f"the density of no start is finite with its slope, as at {where}: see where the program takes roots"
