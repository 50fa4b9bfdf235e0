"""A posterior as ArviZ's groups, dims and coords named by the program's plates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from inference.diagnostics.arviz_io import Labelled, to_idata
from inference.diagnostics.predictive import to_numpy
from inference.posterior import Posterior


def groups_of(posterior: Posterior, predictive: bool, prior: bool, coords: Mapping[str, Any] | None, seed: int) -> Any:
    """The container of a posterior."""
    even = posterior.resampled(seed)
    groups = {
        "posterior": {name: _chained(name, tensor, posterior.program) for name, tensor in even.draws.items()},
        "sample_stats": {name: (("chain", "draw"), to_numpy(tensor)) for name, tensor in even.stats.items()},
    }
    return to_idata(groups, {"model": posterior.name, "method": posterior.method, "seconds": posterior.seconds})


def _chained(name: str, tensor: Tensor, program: Any) -> Labelled:
    site = None if program is None else program.latents.get(name)
    plates = (None,) * (tensor.dim() - 2) if site is None else site.plates
    axes = [plate or f"{name}_dim_{i}" for i, plate in enumerate(plates)]
    return ("chain", "draw", *axes), to_numpy(tensor)
