"""Draws of the flu's posterior judged alike for all, and CPU seconds with those of children, as compilers are."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.diagnostics.arviz_io import arviz

PUBLISHED = {"beta": 1.74, "gamma": 0.54, "R0": 3.2}
"""Posterior means of the case study."""


def cpu() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def judged(draws: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """The fewest effective draws of beta, gamma and phi_inv [chains, draws], bulk or tail, a CPU second; the means."""
    az = arviz()
    found = {name: np.asarray(draws[name]) for name in ("beta", "gamma", "phi_inv")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that are more than draws: they are meant to be many
        data = az.convert_to_dataset(found)
        ess = float(min(az.ess(data, method=method).to_array().min() for method in ("bulk", "tail")))
        rhat = float(az.rhat(data).to_array().max())
    found["R0"] = found["beta"] / found["gamma"]
    means = {name: float(value.mean()) for name, value in found.items()}
    return {"rate": ess / seconds, "ess": ess, "seconds": seconds, "rhat": rhat, **means}
