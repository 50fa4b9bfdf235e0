"""Whether a program could have made the data: predictive checks, before and after the data were seen.

References:
    Posterior predictive assessment of model fitness via realized discrepancies (Gelman, Meng and Stern, 1996)
    Visualization in Bayesian workflow (Gabry, Simpson, Vehtari, Betancourt and Gelman, 2019),
    https://arxiv.org/abs/1709.01449
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import kstest

from inference.diagnostics.health import listed

Statistic = Callable[[np.ndarray], float]
STATISTICS: dict[str, Statistic] = {"mean": np.mean, "sd": np.std, "min": np.min, "max": np.max}
"""What data are checked by; of the values of a site, as an array of its shape, to a number."""
EXTREME = 0.01
"""A statistic of the data further out than this among its predictions is called out."""
SURE = 3.5
"""How many standard errors the mean or spread of PIT values may be from those of uniform ones."""


def checks(
    observed: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    statistics: Mapping[str, Statistic] = STATISTICS,
) -> pd.DataFrame:
    """Statistics of data beside those of S replicated data sets: a row each site and statistic.

    Shapes: observed {site: [...]}, drawn {site: [S, ...]}. Columns: observed, predicted (mean), sd, and
    p = P(statistic of replicated data > that of the data), ties counted half. Data that are NaN are missing: statistics
    are of the others, one after the other, in replicated data too.
    """
    rows = []
    for site, given in observed.items():
        missing = np.isnan(given)
        if missing.all():
            continue
        y, replicated = (given[~missing], drawn[site][:, ~missing]) if missing.any() else (given, drawn[site])
        for name, statistic in statistics.items():
            value = _number(statistic(y), name, site)
            each = np.array([_number(statistic(x), name, site) for x in replicated])
            p = float((each > value).mean() + 0.5 * (each == value).mean())
            rows.append((site, name, value, each.mean(), each.std(), p))
    return pd.DataFrame(rows, columns=["site", "statistic", "observed", "predicted", "sd", "p"]).set_index(
        ["site", "statistic"]
    )


def _number(value: object, name: str, site: str) -> float:
    if np.size(value) != 1:  # type: ignore[arg-type]
        raise ValueError(f"the statistic {name!r} of {site!r} has {np.size(value)} numbers, and one is wanted")  # type: ignore[arg-type]
    return float(np.asarray(value).item())


def _p(p: float, draws: int) -> str:
    """A p-value as so many replicated data sets can tell it."""
    return (
        f"p < {1 / draws:.2g}"
        if p * draws < 1
        else f"p > {1 - 1 / draws:.4g}"
        if (1 - p) * draws < 1
        else f"p = {p:.3f}"
    )


def on_checks(table: pd.DataFrame, draws: int) -> tuple[str, str | None]:
    """Whether data like these come of the fitted program, by so many draws, in words; and the illness, where not."""
    off = table[(table["p"] < EXTREME) | (table["p"] > 1 - EXTREME)]
    if off.empty:
        names = listed(list(dict.fromkeys(table.index.get_level_values("statistic"))))
        return f"Data drawn from the fitted program are like the data, by their {names}.", None
    told = [
        f"the {name} of {site} is {row['observed']:.3g}, and replicated data have {row['predicted']:.3g} ± "
        f"{row['sd']:.2g} ({_p(row['p'], draws)})"
        for (site, name), row in off.iterrows()
    ]
    return (
        f"The fitted program does not make data like these: {listed(told, 3)}. It lacks what makes this so: look at "
        f"the "
        "likelihood's shape and tails first, then at what the program leaves out.",
        "misfit",
    )


def on_prior(table: pd.DataFrame) -> tuple[str, str | None]:
    """What the prior alone says of such data, in words; and the illness, where it rules them out or says nothing."""
    out = table[((table["p"] == 0) | (table["p"] == 1)) & (table["sd"] > 0)]
    if not out.empty:
        (site, name), row = next(iter(out.iterrows()))
        return (
            f"Before it has seen the data the program rules them out: the {name} of {site} is {row['observed']:.3g}, "
            f"and no data set drawn from the prior is beyond it (they have {row['predicted']:.3g} ± {row['sd']:.2g}). "
            "Widen its priors, look at the units, or take a likelihood that can make such data.",
            "prior rules out the data",
        )
    return "Data sets drawn from the prior, before the data are seen, reach beyond the data on either side.", None


def on_pit(values: np.ndarray) -> tuple[str, str | None]:
    """Whether PIT values [N] are uniform, in words; and the illness, where they aren't."""
    u, n = values.ravel(), values.size
    bias = (u.mean() - 0.5) * math.sqrt(12 * n)
    width = (np.square(u - 0.5).mean() - 1 / 12) * math.sqrt(180 * n)
    said = []
    if abs(bias) > SURE:
        said.append(f"the data lie {'above' if bias > 0 else 'below'} what it predicts for them")
    if width > SURE:
        said.append("it is too sure: more of the data lie far out than it says")
    if width < -SURE:
        said.append("it is not sure enough: fewer of the data lie far out than it says")
    if not said and kstest(u, "uniform").pvalue < 1e-3:
        said.append("its predictions have another shape than the data")
    if not said:
        return f"Each of {n} observations, predicted from the others, falls where it should (LOO-PIT is uniform).", None
    return (
        f"Predictions of single observations from the others are off: {'; '.join(said)} (LOO-PIT is not uniform). "
        "Change the likelihood: its location, scale or tails.",
        "miscalibrated predictions",
    )
