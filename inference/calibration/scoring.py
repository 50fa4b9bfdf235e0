"""The numbers of a calibration: p-values, bias, width and coverage of each quantity, and what would have been seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import chdtr, chdtrc, chdtri, ndtr, ndtri

from inference.calibration.ranking import Ranks
from inference.calibration.uniformity import ecdf_p_value, holm

LEVEL = 0.01
"""How often code that is right is called wrong, over all quantities together."""
INTERVALS = (0.5, 0.8, 0.9, 0.95)
"""The central intervals whose coverage is told."""
SEEN = 0.9
"""How surely an error is found that is said to be one that would have been found."""
TESTS = 3
"""Of each quantity: the mean of the ranks, their spread, and the ECDF's band."""
UNIFORM = "uniform"


def table_of(names: Sequence[str], ranks: Ranks, truth: np.ndarray) -> pd.DataFrame:
    """A row a quantity.

    `bias` is in posterior sds, positive where draws lie above the truth; `width` the posterior's sd over the right one;
    `p` the least of three p-values (mean, spread, ECDF), times three; `p_adjusted` that over all quantities.
    """
    scores = ndtri(ranks.pit)
    tests = np.array([_tests(u) for u in ranks.pit.T])
    p = np.minimum(1.0, TESTS * tests.min(1))
    slow = _thinned_much(ranks)
    as_came = np.full(len(p), np.nan)
    as_came[slow] = [min(1.0, TESTS * min(_tests(u))) for u in ranks.pit_as_came.T[slow]]
    adjusted = holm(np.concatenate([p, as_came[slow]]))
    as_came[slow] = adjusted[len(p) :]
    table = pd.DataFrame(
        {
            "p": p,
            "p_adjusted": adjusted[: len(p)],
            "p_as_came": as_came,
            "bias": -scores.mean(0),
            "width": 1 / scores.std(0, ddof=1),
            **{column(level): (np.abs(ranks.pit - 0.5) <= level / 2).mean(0) for level in INTERVALS},
            "z_score": _divided(ranks.mean - truth, ranks.sd).mean(0),
            "contraction": 1 - np.median(ranks.sd, 0) ** 2 / truth.var(0),
            "effective": np.median(ranks.effective, 0),
            "ranked": np.median(ranks.ranked, 0),
        },
        index=pd.Index(names, name="quantity"),
    )
    bad = table["p_adjusted"].to_numpy() <= LEVEL
    table["found"] = [_found(*each) if each[0] else UNIFORM for each in zip(bad, tests, scores.T, strict=True)]
    return table


def seen(data_sets: int, quantities: int) -> tuple[float, float]:
    """The least bias in posterior sds, and the greatest share of the right sd below one, that are surely found."""
    rare = LEVEL / (TESTS * quantities)
    bias = (-ndtri(rare / 2) + ndtri(SEEN)) / math.sqrt(data_sets)
    freedom = data_sets - 1
    return bias, math.sqrt(chdtri(freedom, SEEN) / chdtri(freedom, rare / 2))


def column(level: float) -> str:
    return f"within_{100 * level:.0f}"


def _tests(u: np.ndarray) -> tuple[float, float, float]:
    """p-values of the mean and of the spread of the normal scores, both exact and independent, and of the ECDF."""
    scores = ndtri(u)
    squares, freedom = np.square(scores - scores.mean()).sum(), len(u) - 1
    mean = 2 * ndtr(-abs(scores.mean()) * math.sqrt(len(u)))
    spread = min(1.0, 2 * min(chdtr(freedom, squares), chdtrc(freedom, squares)))
    return float(mean), float(spread), ecdf_p_value(u)


def _found(_: bool, tests: np.ndarray, scores: np.ndarray) -> str:
    found = []
    if tests[1] <= LEVEL:
        found.append("too narrow" if scores.std() > 1 else "too wide")
    if tests[0] <= LEVEL:
        found.append("biased upwards" if scores.mean() < 0 else "biased downwards")
    return ", ".join(found or ["of the wrong shape"])


def _thinned_much(ranks: Ranks) -> np.ndarray:
    """Of which quantities fewer than half as many draws are effective as there are to be ranked, [Q]."""
    return np.median(ranks.effective / ranks.draws, 0) < 0.5


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
