"""How good a forecast was: proper scores of draws of what was to come, once it is known.

References:
    Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting and Raftery, 2007),
    https://doi.org/10.1198/016214506000001437
    Estimation of the Continuous Ranked Probability Score with Limited Information (Zamo and Naveau, 2018),
    https://doi.org/10.1007/s11004-017-9709-7
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.posterior_groups import given_to
from inference.predictive_draws import pointwise

DRAWS = 4000
"""Draws that are scored; of more, evenly as many."""


def crps(draws: Tensor, observed: Tensor) -> Tensor:
    """E|X - y| - E|X - X'| / 2, without bias, of draws [n, *y] of y [*y], in its units: less is better."""
    n = len(draws)
    if n < 2:
        raise ValueError(f"a spread is told of two draws or more, not {n}")
    x = draws.double().sort(0).values
    rank = torch.arange(n, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.dim() - 1))
    apart = ((2 * rank - n + 1) * x).sum(0) / (n * (n - 1))
    return (x - observed).abs().mean(0) - apart


def forecast_scores(
    posterior: Posterior, data: Any, *, shares: Sequence[float] = (0.5, 0.9), seed: int = 0
) -> pd.DataFrame:
    """Scores of what a posterior predicted for data that were missing (NaN) when it was drawn.

    Rows are the places that are NaN in the posterior's data and known in `data`, by site and place. Columns: observed,
    predicted (the mean), crps (in the data's units), log_score (-log of the predictive density or mass, nats), both the
    less the better, and for each share whether the central interval of that probability holds the datum: the mean of
    that column is the coverage.

    Parameters:
        posterior: of a program whose observed site has the name of the argument that gives it.
        data: as the posterior's, with what was missing filled in.

    Raises:
        ValueError: nothing was missing that is known now, or another shape of the data.
    """
    program = posterior._program("score a forecast")
    few = _few(posterior.resampled(seed))
    after = program.with_data(data)
    before, now = given_to(program), given_to(after)
    if not (sites := [name for name in program.observed if name in before and name in now]):
        raise ValueError(f"{program.name} has no argument of the name of an observed site")
    log_mass = pointwise(after, few.flat)
    drawn = few.predictive(seed)
    tables = []
    for name in sites:
        then, known = torch.as_tensor(before[name]), torch.as_tensor(now[name])
        if then.shape != known.shape:
            raise ValueError(f"{name!r} was {list(then.shape)} when it was forecast, and is {list(known.shape)} now")
        missed = then.isnan() & ~known.isnan()
        if missed.any():
            tables.append(_table(name, missed, known, drawn[name].flatten(0, 1).cpu(), log_mass[name].cpu(), shares))
    if not tables:
        raise ValueError("nothing was forecast: no datum that was NaN for the posterior is known in the data given now")
    return pd.concat(tables)


def _few(posterior: Posterior) -> Posterior:
    chains, draws = posterior.shape
    return posterior.thinned(min(draws, math.ceil(chains * draws / DRAWS)))


def _table(
    name: str, missed: Tensor, known: Tensor, drawn: Tensor, log_mass: Tensor, shares: Sequence[float]
) -> pd.DataFrame:
    x, y, log_p = drawn[:, missed].double(), known[missed].double(), log_mass.expand(drawn.shape)[:, missed]
    columns: dict[str, Any] = {
        "observed": y,
        "predicted": x.mean(0),
        "crps": crps(x, y),
        "log_score": math.log(len(log_p)) - log_p.double().logsumexp(0),
    }
    for share in shares:
        low, high = x.quantile(torch.tensor([0.5 - share / 2, 0.5 + share / 2], dtype=x.dtype), dim=0)
        columns[f"within {share:.0%}"] = (low <= y) & (y <= high)
    places = [place if len(place) > 1 else place[0] for place in map(tuple, missed.nonzero().tolist())]
    index = pd.MultiIndex.from_tuples(list(zip(itertools.repeat(name, len(places)), places, strict=False)))
    return pd.DataFrame({column: value.numpy() for column, value in columns.items()}, index=index)
