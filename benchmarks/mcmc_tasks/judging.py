"""Draws of the eight posteriors judged alike for all: by ArviZ, parameter by parameter of the reference draws."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.diagnostics.arviz_io import arviz
from zoo import programs

ENOUGH = 1000
SHIFT = 0.3
"""Reference standard deviations off which the mean of 1,000 effective draws can't be by chance."""


def completed(name: str, draws: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reference's parameters {name: [chains, draws, *shape]} of draws of what a program samples."""
    draws = {site: np.asarray(value) for site, value in draws.items()}
    if name == "eight_schools":
        draws["theta"] = draws["mu"][..., None] + draws["tau"][..., None] * draws["eta"]
    if name == "garch11":
        draws["alpha1"], draws["beta1"] = draws["shares"][..., 0], draws["shares"][..., 1]
    return {site: draws[site] for site in programs.reference(name)}


def effective(name: str, draws: Mapping[str, Any]) -> float:
    """The fewest effective draws, bulk or tail, of any parameter."""
    found = completed(name, draws)
    return float(min(_figure("ess", found, method=method).min() for method in ("bulk", "tail")))


def judged(name: str, draws: Mapping[str, Any]) -> dict[str, float]:
    """`effective`, the largest r-hat, and how far off the means are in reference standard deviations.

    Raises:
        RuntimeError: the draws are not of this posterior.
    """
    found, truth = completed(name, draws), programs.reference(name)
    shift = 0.0
    for site, value in found.items():
        reference = truth[site].numpy()
        off = np.abs(value.mean((0, 1)) - reference.mean((0, 1))) / reference.std((0, 1))
        shift = max(shift, float(off.max()))
    ess = effective(name, draws)
    if ess >= ENOUGH and shift > SHIFT:
        raise RuntimeError(f"{name}: a mean is {shift:.2f} reference standard deviations off")
    chains, draws = found[next(iter(found))].shape[:2]
    return {"ess": ess, "rhat": _figure("rhat", found).max(), "shift": shift, "draws": chains * draws}


def _figure(which: str, found: Mapping[str, np.ndarray], **options: str) -> np.ndarray:
    az = arviz()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="More chains")  # than draws: they are meant to be many
        return getattr(az, which)(az.convert_to_dataset(dict(found)), **options).to_array().to_numpy()
