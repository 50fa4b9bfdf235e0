"""States that are not seen, and the likelihood of what is seen of them: any model that can be simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inference.particles.filtered import Filtered
from inference.particles.task import Task, alike
from inference.protocols import StateSpace, name_of
from inference.results import tell
from inference.seeding import seeded


def particle_filter(
    model: StateSpace,
    parameters: Mapping[str, Any],
    data: Any,
    times: Any,
    *,
    begin: float | None = None,
    particles: int = 1000,
    seed: int = 0,
) -> Filtered:
    """The log likelihood of parameters given data at times, and the states, for B values of them in one batch.

    The likelihood, before the log, is unbiased for any number of particles. Particles are drawn anew, systematically,
    where the weights of their batch row are worth less than half of them.

    Parameters:
        model: has `draw_start`, `advance` and `log_observation` (`inference.protocols.StateSpace`).
        parameters: what the model is given, {name: a number, or [B, *shape]}.
        data: [T, *y]; an observation that is NaN throughout is missing, and says nothing.
        times: [T], increasing.
        begin: the time of the start, where it is before the first observation's.

    Raises:
        ValueError, TypeError: times that do not grow or do not fit the data; a likelihood that is NaN or has another
            shape than [B, particles].
    """
    task = Task.of(model, batched(parameters), data, times, begin, particles)
    with seeded(seed, task.device), torch.no_grad():
        filtered = task.filtered()
    if filtered.terms.isnan().any():
        when = task.times[int(filtered.terms.isnan().any(0).nonzero()[0])]
        raise ValueError(f"{name_of(model)}: log_observation is NaN at time {when:g}")
    lost = filtered.lost.isfinite()
    if lost.any():
        first = float(filtered.lost[lost].min())
        told = (
            f"{int(lost.sum())} of {len(lost)} parameter values have no particle that could have made the observation "
            f"at time {first:g} or a later one: their likelihood is estimated to be zero. More particles= might find "
            "one, if the model allows it at all"
        )
        tell({"impossible data": told})
    return filtered


def batched(parameters: Mapping[str, Any]) -> dict[str, Tensor]:
    """{name: [B, *shape]} of numbers and tensors whose first axis is the batch."""
    given = alike(parameters)
    sizes = {name: len(value) for name, value in given.items() if value.dim()}
    if len(set(sizes.values()) - {1}) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"parameters are not of one batch: {told}")
    size = max(sizes.values(), default=1)
    wide = {name: value if value.dim() else value[None] for name, value in given.items()}
    return {name: value.expand(size, *value.shape[1:]) for name, value in wide.items()}
