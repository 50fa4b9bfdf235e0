"""`diagnose`: a fitted model against data, as an ArviZ container, a verdict in words, a table and figures.

| group                  | holds                                                              | for                   |
|------------------------|--------------------------------------------------------------------|-----------------------|
| `posterior`            | draws of the guide: (chain, draw, row, ...)                        | latent variables      |
| `sample_stats`         | `log_weight`, which turns those draws into the posterior's         | latent variables      |
| `log_likelihood`       | log p(x) of each row, its kind in the attributes                   | all but implicit      |
| `posterior_predictive` | rows that the model draws, as many as the data's, twice            | all                   |
| `observed_data`        | the rows                                                           | all                   |
| `constant_data`        | Pareto k, variance of each unit's mean, modes, the fit's history   | where there are any   |

Of a posterior of a program (`inference.Posterior`) the container is its own, with data drawn anew from it and from the
prior; what is found is listed in `inference.diagnostics.posteriors`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from inference.asking import asking, placed
from inference.data import TensorRows, as_rows, check_data, lacking, lacks_cells
from inference.diagnostics import plots, posterior_plots
from inference.diagnostics.arviz_io import to_idata, to_netcdf
from inference.diagnostics.criticism import Statistic
from inference.diagnostics.posteriors import findings_on
from inference.diagnostics.predictive import replicates
from inference.diagnostics.report import Report
from inference.likelihood import log_likelihood
from inference.posterior import Posterior
from inference.protocols import Density, Energy, Pair, Stepwise, has_likelihood, measure_of, name_of, offers
from inference.results import Fit

REPLICATES = 2


@dataclass(frozen=True)
class Diagnosis:
    """What was found: `verdict` (sentences), `table` (numbers), `idata` (everything, for ArviZ), `plots()`.

    Of a posterior, `parameters` has a row each number: mean, sd, MCSE, effective draws, r-hat.

    `alarms` holds the sentences of the verdict that say what ails the model and what to do, by the illness: "posterior
    collapse", "decoder variance collapse", "unreliable bound", "exploding KL", "vanishing KL", "not finite", "mode
    collapse", those of a posterior, and what the fit or the sampler warned of (`inference.Alarm`).
    """

    name: str
    verdict: list[str]
    table: pd.DataFrame
    idata: Any
    history: pd.DataFrame | None = field(default=None, repr=False)
    alarms: dict[str, str] = field(default_factory=dict)
    parameters: pd.DataFrame | None = field(default=None, repr=False)
    drawings: Callable[[], dict[str, Figure]] | None = field(default=None, repr=False)

    def plots(self) -> dict[str, Figure]:
        """The figures, by name."""
        return self.drawings() if self.drawings else plots.figures(self.idata, self.history)

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """The container as one file, which `arviz.from_netcdf` reads."""
        to_netcdf(self.idata, path)

    def __repr__(self) -> str:
        alarming = set(self.alarms.values())
        return "\n".join([f"{self.name}:", *(f"{'! ' if each in alarming else '  '}{each}" for each in self.verdict)])


def diagnose(
    fit_or_model: Any,
    data: Any = None,
    *,
    context: Tensor | None = None,
    draws: int = 100,
    rows: int = 500,
    statistics: Mapping[str, Statistic] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Ask everything that a model of its kind can be asked, of at most `rows` rows of held-out data; or a posterior.

    Parameters:
        data: rows as `fit` takes them; where there are more than `rows`, that many are picked by the seed. A posterior
            has its own.
        draws: draws of the guide for each row.
        statistics: of a posterior, what replicated data are held to the data by: name -> function of a site's values,
            an array, to a number; by default mean, sd, min and max.
    """
    if isinstance(fit_or_model, Posterior):
        return _of_posterior(fit_or_model, statistics, seed)
    if data is None:
        raise TypeError(f"diagnose needs rows of data to ask {name_of(fit_or_model)} about: diagnose(fit, data)")
    model, history, kept, warned = _opened(fit_or_model)
    x, given, names = _picked(model, data, context, rows, seed)
    report = Report()
    with asking(model, seed):
        if _has_guide(model):
            report.sites(model, x, given)
            if report.sound:
                report.guide(model, x, given, draws, names)
        elif has_likelihood(model):
            likelihood = log_likelihood(model, x, context=given, seed=seed)
            if not likelihood.values.isfinite().all():
                report.sites(model, x, given)
            report.likelihood(likelihood)
        else:
            report.verdict.append(f"{name_of(model)} offers no likelihood: it is judged by its samples alone.")
        if report.sound:
            drawn = replicates(model, len(x), given, REPLICATES)
            report.samples(x, drawn, names)
            if not has_likelihood(model):
                report.modes(x, drawn.flatten(0, 1))
    report.training(history, kept, warned)
    attrs = {"model": name_of(model), "measure": measure_of(model), "seed": seed, **report.attrs}
    idata = to_idata(report.groups, attrs)
    return Diagnosis(name_of(model), report.verdict, _table(report), idata, history, report.alarms)


def _of_posterior(posterior: Posterior, statistics: Mapping[str, Statistic] | None, seed: int) -> Diagnosis:
    found = findings_on(posterior, statistics, seed)
    return Diagnosis(
        posterior.name,
        found.verdict,
        _table(found),
        found.idata,
        alarms=found.alarms,
        parameters=found.statistics,
        drawings=partial(posterior_plots.figures, found),
    )


def _table(report: Report) -> pd.DataFrame:
    return pd.DataFrame(report.table, columns=["quantity", "value", "error"]).set_index("quantity")


def _opened(fit_or_model: Any) -> tuple[Any, pd.DataFrame | None, int | None, dict[str, str]]:
    if isinstance(fit_or_model, Fit):
        return fit_or_model.model, fit_or_model.history, fit_or_model.best_step, fit_or_model.alarms
    if not (offers(fit_or_model, Pair) or hasattr(fit_or_model, "sample")):
        raise TypeError(f"diagnose takes a Fit or a model with model and guide, not {name_of(fit_or_model)}")
    return fit_or_model, None, None, {}


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
    """Latent variables to be proposed: neither summed out already nor noise, without a density or added step by step.

    What adds noise step by step is fixed and learns nothing, and its weights, of whole chains, reach nowhere.
    """
    without = any(offers(model, kind) for kind in (Density, Energy, Stepwise))
    return not without and has_likelihood(model)
