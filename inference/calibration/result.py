"""What a calibration found."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from inference.calibration import figures
from inference.calibration.ranking import Ranks
from inference.calibration.scoring import LEVEL
from inference.calibration.uniformity import band
from inference.diagnostics.arviz_io import Labelled, to_idata, to_netcdf
from inference.diagnostics.coordinates import Coordinates

SHOWN = 0.95
"""The band of the figures holds all of one quantity's ranks so often, where the posterior is right."""


@dataclass(frozen=True, repr=False, eq=False)
class Calibration:
    """Whether an inference is calibrated: `verdict` (sentences), `table` (a row a quantity), `plots()`, `idata`.

    `alarms` holds the sentences that say what is wrong by the illness: "too narrow", "too wide", "biased upwards",
    "biased downwards", "of the wrong shape", "test quantities", "draws are correlated", "failed". `pit` is each true
    value's place among the draws of its posterior, [simulations, quantities], uniform where the inference is right.
    """

    name: str
    verdict: list[str]
    alarms: dict[str, str]
    table: pd.DataFrame
    ranks: Ranks = field(repr=False)
    truth: Coordinates = field(repr=False)
    seconds: float = 0.0
    plates: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict, repr=False)

    @property
    def pit(self) -> np.ndarray:
        return self.ranks.pit

    @property
    def uniform(self) -> bool:
        """Whether nothing was found."""
        return not self.alarms

    @property
    def idata(self) -> Any:
        """ArviZ's container: `prior_sbc` (PIT values, as its plot_ecdf_pit takes them), `prior`, `constant_data`."""
        groups = {
            "prior_sbc": self._labelled(self.ranks.pit, ("chain", "draw")),
            "prior": self._labelled(self.truth.values[0], ("chain", "draw")),
            "constant_data": {
                f"{name}_{what}": values
                for what in ("rank", "ranked", "mean", "sd", "effective")
                for name, values in self._labelled(getattr(self.ranks, what), ("simulation",)).items()
            },
        }
        with warnings.catch_warnings():  # the group's name is ArviZ 1's
            warnings.filterwarnings("ignore", message=".*prior_sbc.*", category=UserWarning)
            return to_idata(groups, {"model": self.name, "seconds": self.seconds})

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """The container as one file."""
        to_netcdf(self.idata, path)

    def plots(self) -> dict[str, Figure]:
        """Figures by name: "ranks", "ecdf" (difference, with its simultaneous band), "coverage"; the worst first."""
        order = np.argsort(self.table["p_adjusted"].to_numpy(), kind="stable")
        names = [str(self.table.index[i]) for i in order]
        bad = [bool(self.table["p_adjusted"].iloc[i] <= LEVEL) for i in order]
        pit = self.pit[:, order]
        limits = band(len(pit), SHOWN)
        grid = partial(figures.panels, names, bad)
        return {
            "ranks": grid(
                lambda ax, i: figures.histogram(ax, pit[:, i], bad[i], SHOWN),
                f"{self.name}: ranks of the truth",
                f"share of the posterior's draws below the truth (grey: {SHOWN:.0%} of right code)",
            ),
            "ecdf": grid(
                lambda ax, i: figures.ecdf_difference(ax, pit[:, i], bad[i], limits),
                f"{self.name}: ECDF of the ranks, less the uniform one",
                f"share of the posterior's draws below the truth (grey: {limits.coverage:.0%} of right code)",
            ),
            "coverage": figures.coverage_of(pit, names, bad, SHOWN),
        }

    def __repr__(self) -> str:
        alarming = set(self.alarms.values())
        return "\n".join([f"{self.name}:", *(f"{'! ' if each in alarming else '  '}{each}" for each in self.verdict)])

    def _labelled(self, values: np.ndarray, lead: tuple[str, ...]) -> Mapping[str, Labelled]:
        """Columns [S, Q] as arrays by site, with the axes `lead` first."""
        wide = values.reshape(*(1,) * (len(lead) - 1), *values.shape)
        return {
            site: (
                (*lead, *self._axes(site)),
                wide[..., columns].reshape(*wide.shape[:-1], *self.truth.shapes[site]),
            )
            for site, columns in self.truth.of.items()
        }

    def _axes(self, site: str) -> list[str]:
        """The names of a site's axes: their plates', where they have one."""
        rank = len(self.truth.shapes[site])
        return [plate or f"{site}_dim_{i}" for i, plate in enumerate(self.plates.get(site, (None,) * rank))]
