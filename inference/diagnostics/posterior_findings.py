"""What is found of a posterior, as it is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.geometry import Funnel, Gathering
from inference.diagnostics.leave_one_out import Loo
from inference.diagnostics.power_scaling import PowerScaling
from inference.diagnostics.predictive import to_numpy
from inference.diagnostics.report import Report
from inference.posterior import Posterior


@dataclass
class Findings(Report):
    """What is found of a posterior, as it is found, and what the figures show of it."""

    posterior: Posterior
    coordinates: Coordinates
    statistics: pd.DataFrame = field(default_factory=pd.DataFrame)
    gathering: Gathering | None = None
    funnel: Funnel | None = None
    loo: Loo | None = None
    pit: np.ndarray | None = None
    power: PowerScaling | None = None
    checks: pd.DataFrame | None = None
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    drawn: dict[str, np.ndarray] = field(default_factory=dict)
    idata: Any = None

    def __post_init__(self) -> None:
        super().__init__()

    def tell(self, finding: tuple[str, str | None] | None) -> None:
        """A sentence, and the illness that it tells of, if it does."""
        sentence, illness = finding or ("", None)
        if illness is not None:
            self.alarm(illness, sentence)
        elif sentence:
            self.verdict.append(sentence)

    def stat(self, name: str) -> np.ndarray | None:
        """A number each draw, [chains, draws]."""
        found = self.posterior.stats.get(name)
        return None if found is None else to_numpy(found)

    def row(self, quantity: str, value: float, error: float = 0.0) -> None:
        self.table.append((quantity, float(value), float(error)))
