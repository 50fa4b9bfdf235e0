"""Models held to each other by what they say of observations that they have not seen.

References:
    Using stacking to average Bayesian predictive distributions (Yao, Vehtari, Simpson and Gelman, 2018),
    https://arxiv.org/abs/1704.02030
    Uncertainty in Bayesian Leave-One-Out Cross-Validation Based Model Comparison (Sivula et al., 2025),
    https://arxiv.org/abs/2008.10296, for how far a difference's error can be trusted
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from inference.diagnostics.arviz_io import datasets_of
from inference.diagnostics.health import listed
from inference.diagnostics.leave_one_out import Loo, log_likelihood_of, loo
from inference.diagnostics.predictive import to_numpy
from inference.likelihood import LogLikelihood

FEW = 100
"""Below so many observations the error of a difference is itself uncertain."""
LEFT_OUT = "leave-one-out"


@dataclass(frozen=True, repr=False)
class Comparison:
    """Models, the best first, as `table`; what it means, as `verdict`; `alarms` by the illness.

    Columns: elpd ± error (nats, of all observations), effective (parameters; NaN where none were left out), difference
    to the best ± difference_error, weight (of a mixture of their predictions, by stacking), kind, high_k (observations
    whose Pareto k is too high).
    """

    table: pd.DataFrame
    verdict: list[str]
    alarms: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        alarming = set(self.alarms.values())
        told = [f"{'! ' if each in alarming else '  '}{each}" for each in self.verdict]
        return "\n".join([*told, "", self.table.to_string(float_format=lambda value: f"{value:.2f}")])


@dataclass(frozen=True)
class _Scored:
    """A model's log density of each observation [N], nats, and how it came by it."""

    values: np.ndarray
    kind: str
    effective: float = float("nan")
    high: int = 0


def compare(models: Mapping[str, Any], site: str | None = None) -> Comparison:
    """Hold models to each other on the same observations.

    Parameters:
        models: by name: posteriors (`inference.Posterior`), `Loo`s of them, or what fitted models say of rows that were
            held out: a `LogLikelihood`, or a `Diagnosis` on those rows.
        site: the observed site to compare by, where there are several.

    Raises:
        ValueError: fewer than two models, or ones that tell of different numbers of observations.
    """
    if len(models) < 2:
        raise ValueError(f"compare takes two models or more, not {len(models)}")
    scored = {name: _scored(name, model, site) for name, model in models.items()}
    sizes = {name: len(each.values) for name, each in scored.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"models are compared on the same observations, and these have "
            f"{listed([f'{n} {k}' for n, k in sizes.items()])}"
        )
    table = _table(scored)
    verdict, alarms = _verdict(table, next(iter(sizes.values())))
    return Comparison(table, verdict, alarms)


def _scored(name: str, model: Any, site: str | None) -> _Scored:
    if isinstance(model, LogLikelihood):
        return _Scored(to_numpy(model.values).astype(np.float64), model.kind)
    if not isinstance(model, Loo):
        idata = getattr(model, "idata", model)
        each = log_likelihood_of(datasets_of(idata), name, site)
        if each.sizes["chain"] * each.sizes["draw"] == 1:
            return _Scored(
                each.values[0, 0].astype(np.float64), str(idata.attrs.get("likelihood_kind", "point estimate"))
            )
        model = loo(model, site)
    return _Scored(model.pointwise, LEFT_OUT, model.effective, len(model.unreliable))


def _table(scored: Mapping[str, _Scored]) -> pd.DataFrame:
    names = sorted(scored, key=lambda name: -scored[name].values.sum())
    values = np.stack([scored[name].values for name in names])
    gap, n = values[0] - values, values.shape[1]
    return pd.DataFrame(
        {
            "elpd": values.sum(1),
            "error": np.sqrt(n * values.var(1)),
            "effective": [scored[name].effective for name in names],
            "difference": gap.sum(1),
            "difference_error": np.sqrt(n * gap.var(1)),
            "weight": stacked(values),
            "kind": [scored[name].kind for name in names],
            "high_k": [scored[name].high for name in names],
        },
        index=pd.Index(names, name="model"),
    )


def stacked(values: np.ndarray, steps: int = 2000) -> np.ndarray:
    """Weights [models] of the mixture that says the most of the observations, from log densities [models, N].

    Those of a mixture whose components are known: expectation-maximisation goes up to the one best there is.
    """
    p = np.exp(values - values.max(0))
    weights = np.full(len(p), 1 / len(p))
    for _ in range(steps):
        share = weights[:, None] * p
        new = (share / share.sum(0)).mean(1)
        done = np.abs(new - weights).max() < 1e-8
        weights = new
        if done:
            break
    return weights


def _verdict(table: pd.DataFrame, n: int) -> tuple[list[str], dict[str, str]]:
    best, second = table.index[:2]
    gap, error = table.loc[second, "difference"], table.loc[second, "difference_error"]
    sure = gap > 2 * error and gap > 4
    told = f"{gap:.1f} ± {error:.1f} nats over {n} observations"
    verdict = [
        f"{best} predicts best: {second}, the next, is behind by {told}."
        if sure
        else f"{best} and {second} predict about equally well: {told} apart, which is no more than chance or too small "
        "to matter; choose by what they are for."
    ]
    alarms: dict[str, str] = {}
    high = {name: int(k) for name, k in table["high_k"].items() if k}
    if high:
        alarms["unreliable LOO"] = (
            f"Pareto k is too high for some of the {n} observations "
            f"(of {listed([f'{x}: {k}' for x, k in high.items()], 4)}): their leave-one-out is not to be trusted, "
            "nor what is said here of differences near their size; see loo(...)."
        )
    kinds = sorted(set(table["kind"]))
    if len(kinds) > 1:
        alarms["different kinds"] = (
            f"These numbers are of different kinds ({listed(kinds)}): a lower bound may be that of the better model "
            "all the same, and rows that were left out are not rows held out unless they are the same."
        )
    if n < FEW:
        verdict.append(f"With {n} observations the errors are themselves uncertain, and differences may be larger.")
    return [*verdict, *alarms.values()], alarms
