"""How often the intervals of one posterior hold the truth, where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from inference.calibration.scoring import INTERVALS, column
from inference.calibration.study import draws_of
from inference.diagnostics.coordinates import Coordinates
from inference.near import near


def coverage(
    posterior: Any, truth: Mapping[str, Any], levels: Sequence[float] = INTERVALS, seed: int = 0
) -> pd.DataFrame:
    """Of each latent, the share of its numbers that the central intervals of a posterior hold.

    A row a latent of the truth {name: [*shape]}, a column a level, and `numbers`, how many there are. Numbers of one
    posterior are not independent: what `calibration` says over many data sets, this only hints at.
    """
    draws = draws_of(posterior, seed)
    rows = {}
    for name, value in truth.items():
        if name not in draws:
            raise ValueError(f"the posterior has no {name!r}{near(name, draws)}")
        of = Coordinates.of_draws({name: draws[name]})
        true = np.asarray(value, dtype=float)
        if true.shape != of.shapes[name]:
            raise ValueError(f"the truth of {name!r} is {list(true.shape)}, and its draws {list(of.shapes[name])}")
        tails = (1 - np.array(levels)) / 2
        low, high = (np.quantile(of.flat, at, axis=0) for at in (tails, 1 - tails))
        inside = (low <= true.ravel()) & (true.ravel() <= high)
        rows[name] = [*inside.mean(1), true.size]
    columns = [column(level) for level in levels]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*columns, "numbers"]).rename_axis("latent")
