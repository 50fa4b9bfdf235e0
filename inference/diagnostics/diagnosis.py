"""`diagnose`: a fitted model against data, as an ArviZ container, a verdict in words, a table and figures.

| group                  | holds                                                              | for                   |
|------------------------|--------------------------------------------------------------------|-----------------------|
| `posterior`            | draws of the guide: (chain, draw, row, ...)                        | latent variables      |
| `sample_stats`         | `log_weight`, which turns those draws into the posterior's         | latent variables      |
| `log_likelihood`       | log p(x) of each row, its kind in the attributes                   | all but implicit      |
| `posterior_predictive` | rows that the model draws, as many as the data's, twice            | all                   |
| `observed_data`        | the rows                                                           | all                   |
| `constant_data`        | Pareto k of each row, variance of each unit's mean, the fit's history | where there are any |
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from inference.asking import asking, placed
from inference.data import TensorRows, as_rows, check_data, lacking, lacks_cells
from inference.diagnostics import findings, plots
from inference.diagnostics.arviz_io import Labelled, to_idata, to_netcdf
from inference.diagnostics.latent import ACTIVE, unit_variance
from inference.diagnostics.pareto import RELIABLE, pareto_k
from inference.diagnostics.predictive import compared, replicates, to_numpy
from inference.importance import in_blocks
from inference.likelihood import LogLikelihood, log_likelihood
from inference.protocols import Density, Energy, Pair, has_likelihood, measure_of, name_of, offers
from inference.results import Fit
from inference.running import LogMean, Mean

REPLICATES = 2
KEPT = 2**24
"""How many numbers of the latent draws are kept in the container, at most."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found: `verdict` (sentences), `table` (numbers), `idata` (everything, for ArviZ), `plots()`."""

    name: str
    verdict: list[str]
    table: pd.DataFrame
    idata: Any
    history: pd.DataFrame | None = field(default=None, repr=False)

    def plots(self) -> dict[str, Figure]:
        return plots.figures(self.idata, self.history)

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """The container as one file, which `arviz.from_netcdf` reads."""
        to_netcdf(self.idata, path)

    def __repr__(self) -> str:
        return "\n".join([f"{self.name}:", *(f"  {sentence}" for sentence in self.verdict)])


def diagnose(
    fit_or_model: Any,
    data: Any,
    *,
    context: Tensor | None = None,
    draws: int = 100,
    rows: int = 500,
    seed: int = 0,
) -> Diagnosis:
    """Ask everything that a model of its kind can be asked, of at most `rows` rows of held-out data.

    Parameters:
        data: rows as `fit` takes them; where there are more than `rows`, that many are picked by the seed.
        draws: draws of the guide for each row.
    """
    model, history, kept = _opened(fit_or_model)
    x, given, names = _picked(model, data, context, rows, seed)
    report = _Report()
    with asking(model, seed):
        if _has_guide(model):
            report.guide(model, x, given, draws)
        elif has_likelihood(model):
            report.likelihood(log_likelihood(model, x, context=given, seed=seed))
        else:
            report.verdict.append(f"{name_of(model)} offers no likelihood: it is judged by its samples alone.")
        report.samples(x, replicates(model, len(x), given, REPLICATES), names)
    report.training(history, kept)
    attrs = {"model": name_of(model), "measure": measure_of(model), "seed": seed, **report.attrs}
    idata = to_idata(report.groups, attrs)
    table = pd.DataFrame(report.table, columns=["quantity", "value", "error"]).set_index("quantity")
    return Diagnosis(name_of(model), report.verdict, table, idata, history)


def _opened(fit_or_model: Any) -> tuple[Any, pd.DataFrame | None, int | None]:
    if isinstance(fit_or_model, Fit):
        return fit_or_model.model, fit_or_model.history, fit_or_model.best_step
    if not (offers(fit_or_model, Pair) or hasattr(fit_or_model, "sample")):
        raise TypeError(f"diagnose takes a Fit or a model with model and guide, not {name_of(fit_or_model)}")
    return fit_or_model, None, None


def _picked(
    model: Any, data: Any, context: Tensor | None, rows: int, seed: int
) -> tuple[Tensor, Tensor | None, Sequence[str] | None]:
    all_rows = as_rows(data, model)
    if isinstance(all_rows, TensorRows) and lacks_cells(model, all_rows.x):
        # draws lack no cell, so neither may the rows that they are held to
        all_rows = all_rows.part((~lacking(model, all_rows.x)).nonzero()[:, 0])
        if not len(all_rows):
            raise ValueError("every row lacks a cell, so there is none to hold the model's draws to")
    count = len(all_rows)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    index = torch.arange(count) if count <= rows else order[:rows].sort().values
    x, given = all_rows.take(index)
    given = given if context is None else context[index]
    x, given = placed(model, x), None if given is None else placed(model, given)
    check_data(model, x, given, all_rows.columns)
    return x, given, all_rows.columns


def _has_guide(model: Any) -> bool:
    """Latent variables to be proposed: neither summed out already nor noise without a density."""
    exact = offers(model, Density) or offers(model, Energy)
    return not exact and has_likelihood(model)


class _Report:
    """What is found, as it is found."""

    def __init__(self) -> None:
        self.verdict: list[str] = []
        self.table: list[tuple[str, float, float]] = []
        self.groups: dict[str, dict[str, Labelled]] = {"constant_data": {}}
        self.attrs: dict[str, Any] = {}

    def likelihood(self, likelihood: LogLikelihood) -> None:
        self.verdict.append(findings.on_likelihood(likelihood))
        self.table.append(("log-likelihood, nats a row", likelihood.mean, likelihood.mean_error))
        self.groups["log_likelihood"] = {"x": (("chain", "draw", "row"), to_numpy(likelihood.values)[None, None])}
        self.attrs |= {
            "measure": likelihood.measure,
            "likelihood_kind": likelihood.kind,
            "likelihood_method": likelihood.method,
        }

    def guide(self, model: Any, x: Tensor, context: Tensor | None, draws: int) -> None:
        """Draws of the guide and their weights: bounds, Pareto k, active units."""
        latents, log_w = _drawn(model, x, context, draws)
        bound, elbo = LogMean(), Mean()
        bound.add(log_w)
        elbo.add(log_w)
        (values, error), elbo_rows = bound.result(), elbo.result()[0]
        method = f"importance weighted with {draws} draws"
        self.likelihood(LogLikelihood(values, error, "lower bound", measure_of(model, x, context), method))
        k, gap = pareto_k(to_numpy(log_w)), (values - elbo_rows).mean().item()
        self.verdict += findings.on_guide(k, gap)
        self.table.append(("ELBO, nats a row", elbo_rows.mean().item(), float(elbo_rows.std() / len(x) ** 0.5)))
        share = float((k < RELIABLE).mean())
        self.table.append((f"rows with Pareto k below {RELIABLE}", share, (share * (1 - share) / len(k)) ** 0.5))
        self.groups["sample_stats"] = {"log_weight": (("chain", "draw", "row"), to_numpy(log_w)[None])}
        self.groups["constant_data"]["pareto_k"] = (("row",), k)
        self.groups["posterior"] = {}
        for name, z in latents.items():
            self.latent(name, z)

    def latent(self, name: str, z: np.ndarray) -> None:
        units = z.reshape(*z.shape[:2], -1)
        axes = ("chain", "draw", "row", *_axes(name, z.ndim - 2, "unit"))
        self.groups["posterior"][name] = (axes, z[: max(1, KEPT // max(1, z[0].size))][None])
        if not np.issubdtype(z.dtype, np.floating):
            return
        variance = unit_variance(units)
        self.verdict.append(findings.on_units(name, variance))
        self.table.append((f"active units of {name}, of {len(variance)}", float((variance > ACTIVE).sum()), 0.0))
        self.groups["constant_data"][f"unit_variance_{name}"] = ((f"{name}_flat",), variance)

    def samples(self, x: Tensor, drawn: Tensor, names: Sequence[str] | None) -> None:
        data, replicated = to_numpy(x), to_numpy(drawn)
        z_scores, spread, named = compared(data, replicated.reshape(-1, *data.shape[1:]), names)
        self.verdict += findings.on_samples(z_scores, spread, named)
        near = float((np.abs(z_scores) <= 3).mean())
        self.table.append(("columns whose mean agrees", near, 0.0))
        self.table.append(("variance of samples over the data's", spread, 0.0))
        axes = ("row", *_axes("x", data.ndim - 1, "column"))
        self.groups["posterior_predictive"] = {"x": (("chain", "draw", *axes), replicated[None])}
        self.groups["observed_data"] = {"x": (axes, data)}

    def training(self, history: pd.DataFrame | None, kept: int | None = None) -> None:
        self.verdict += findings.on_history(history, kept)
        if history is None:
            return
        for name in history:
            self.groups["constant_data"][f"history_{name}"] = (("report",), history[name].to_numpy(dtype=float))


def _drawn(model: Any, x: Tensor, context: Tensor | None, draws: int) -> tuple[dict[str, np.ndarray], Tensor]:
    """All draws of each latent variable [K, N, ...], on the CPU, and the log weights [K, N]."""
    by_rows: list[tuple[dict[str, np.ndarray], Tensor]] = []
    for _, weighted in in_blocks(model, x, context, draws):
        blocks = list(weighted)
        latents = {
            name: np.concatenate([to_numpy(block.latents[name]) for block in blocks]) for name in blocks[0].latents
        }
        by_rows.append((latents, torch.cat([block.log_weights for block in blocks])))
    names = by_rows[0][0]
    joined = {name: np.concatenate([latents[name] for latents, _ in by_rows], 1) for name in names}
    return joined, torch.cat([log_w for _, log_w in by_rows], 1)


def _axes(name: str, count: int, what: str) -> list[str]:
    return [f"{name}_{what}"] if count == 1 else [f"{name}_{what}_{i}" for i in range(count)]
