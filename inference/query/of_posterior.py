"""Questions to a posterior: what its draws say of a latent variable, or of data drawn anew."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from inference.diagnostics.convergence import ESS, R_HAT, statistics
from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.geometry import FEW
from inference.diagnostics.pareto import RELIABLE, pareto_k
from inference.near import near
from inference.posterior import Posterior
from inference.posterior_groups import axes_of, given_to, observed_by, stride
from inference.program import Program
from inference.query.answer import Answer
from inference.query.estimates import as_numpy, moments
from inference.query.question import Question

STATISTICS = ["mean", "sd", "error"]
MEASURES = ("ess", "r_hat", "nested_r_hat")
UNFIT = "what proposed the draws fits the posterior poorly; take a richer guide, or chains"


def asked(question: Question) -> bool:
    return isinstance(question.model, Posterior)


def answers(question: Question) -> bool:
    return asked(question) and not question.do and objection(question) is None


def objection(question: Question) -> str | None:
    """Why a posterior can't answer, and what to ask instead; None where it can."""
    posterior: Posterior = question.model
    program = posterior.program
    if reason := unheld(question.targets, program, posterior.draws):
        return reason
    told = {} if program is None else {**given_to(program), **observed_by(program)}
    for name, value in question.given.items():
        if name not in told or not _same(told[name], value):
            return (
                f"its draws are given the data that they were made of, which {name!r} as given here is not; run the "
                "inference on those data, and ask what it gives back"
            )
    return None


def unheld(targets: Iterable[Any], program: Program | None, drawn: Iterable[str]) -> str | None:
    """Why a posterior of a program, with draws of these names, can't answer for a target; None where it can."""
    known = [*drawn, *(() if program is None else (*program.derived, *program.observed))]
    for target in targets:
        if isinstance(target, tuple):
            return f"it answers for each name by itself; its draws of {_listed(target)} belong together, one by one"
        if program is not None and target in program.discrete:
            return f"{target!r} is summed out, so that it has no draws; ask for {_listed(known)}"
        if target not in known:
            return f"it has no {target!r}{near(target, known)}"
    return None


def answer(question: Question) -> Answer:
    """Mean and standard deviation of each number by all draws, and the Monte Carlo error of the mean.

    Data are drawn anew for each draw, or for as many as memory has room for.
    """
    posterior: Posterior = question.model
    values: dict[Hashable, xr.DataArray] = {}
    trust: dict[str, xr.DataArray] = {}
    tables = []
    for target in question.targets:
        name = str(target)
        part, drawn = _drawn(posterior, name, question)
        shape = tuple(drawn.shape[2:])
        axes = axes_of(name, shape, posterior.program)
        tables.append(_of_chains(part, name, drawn) if part.log_weights is None else _of_weighted(part, drawn))
        values[target] = _shaped(tables[-1][STATISTICS], shape, axes)
        trust |= {f"{m}_{name}": _shaped(tables[-1][m], shape, axes) for m in MEASURES if m in tables[-1]}
    found = {**_worst(pd.concat(tables)), **_of_draws(posterior)}
    if posterior.shape[0] == 1:  # one chain agrees with none
        found.pop("r_hat_max", None)
    warned = (*posterior.alarms.values(), *_warnings(found, posterior.alarms.values(), math.prod(posterior.shape)))
    evidence = posterior.extra.get("log_evidence")
    return Answer(str(question), values, _method(posterior), "estimate", evidence, {**found, **trust}, warned)


def _drawn(posterior: Posterior, name: str, question: Question) -> tuple[Posterior, Tensor]:
    """The draws of a name [chains, draws, ...], and the posterior that they are all draws of."""
    program = posterior.program
    if program is None or name not in program.observed:
        return posterior, posterior[name]
    part = posterior.thinned(stride(posterior, program))
    return part, part.predictive(question.seed)[name]


def _of_chains(posterior: Posterior, name: str, drawn: Tensor) -> pd.DataFrame:
    """What is told of each number of draws that count alike; of one that never moves, that it is known."""
    numbers = Coordinates.of_draws({name: drawn})
    moving = statistics(numbers, posterior.super_chains) if numbers.moving.any() else pd.DataFrame()
    table = moving.reindex(numbers.names)
    still = ~numbers.moving
    known = {
        "mean": numbers.values[0, 0],
        "sd": 0.0,
        "mcse_mean": 0.0,
        "ess_bulk": float(len(numbers.flat)),
        "r_hat": 1.0,
    }
    for column, value in known.items():
        table.loc[still, column] = value[still] if isinstance(value, np.ndarray) else value
    return table.rename(columns={"mcse_mean": "error", "ess_bulk": "ess"})


def _of_weighted(posterior: Posterior, drawn: Tensor) -> pd.DataFrame:
    """The same of draws that have weights, [chains, draws, ...]."""
    weights = posterior.weights.reshape(-1, 1)
    numbers = drawn.double().reshape(len(weights), 1, -1)
    table = pd.DataFrame(as_numpy(moments(numbers, weights)[0]), columns=STATISTICS)
    return table.assign(ess=float(1 / weights.square().sum()))


def _shaped(numbers: pd.DataFrame | pd.Series, shape: tuple[int, ...], axes: list[str]) -> xr.DataArray:
    """A row for each number of a value as an array of the value's shape; columns are its last axis."""
    columns = {"statistic": [*numbers.columns]} if isinstance(numbers, pd.DataFrame) else {}
    coords: dict[str, Any] = {axis: np.arange(size) for axis, size in zip(axes, shape, strict=True)}
    array = numbers.to_numpy().reshape((*shape, *map(len, columns.values())))
    return xr.DataArray(array, dims=[*axes, *columns], coords=coords | columns, name="value")


def _worst(table: pd.DataFrame) -> dict[str, float]:
    """The worst over all numbers that were asked for."""
    found = {"ess_min": float(table["ess"].min()), "ess_median": float(table["ess"].median())}
    return found | {f"{what}_max": float(table[what].max()) for what in ("r_hat", "nested_r_hat") if what in table}


def _of_draws(posterior: Posterior) -> dict[str, Any]:
    """What is known of the draws together: how many diverged, how far weights can be trusted."""
    found: dict[str, Any] = {}
    if "diverging" in posterior.stats:
        found["divergences"] = int(posterior.stats["diverging"].sum())
    if posterior.log_weights is not None:
        log_w = as_numpy(posterior.log_weights).reshape(-1, 1)
        found["pareto_k"] = float(posterior.extra.get("pareto_k", pareto_k(log_w)[0]))
    return found


def _warnings(found: dict[str, Any], alarms: Iterable[str], draws: int) -> list[str]:
    """What speaks against the draws, where the inference has not said it itself."""
    r_hat = found.get("nested_r_hat_max", found.get("r_hat_max", 1.0))
    ess, gone, k = found["ess_min"], found.get("divergences", 0), found.get("pareto_k", 0.0)
    said = (
        (not r_hat <= R_HAT, "r-hat", f"r-hat is {r_hat:.3f}, above {R_HAT}: the chains do not agree; draw more"),
        (ess < ESS, "independent", f"the draws are worth {ess:.0f} independent ones, fewer than {ESS}: take more"),
        (
            gone > FEW * draws,
            "diverge",
            f"{gone} of {draws:,} draws diverged: a part may be out of reach",
        ),
        (k > RELIABLE, "Pareto k", f"Pareto k is {k:.2f}, above {RELIABLE}: {UNFIT}"),
    )
    told = " ".join(alarms)
    return [sentence for holds, word, sentence in said if holds and word not in told]


def _method(posterior: Posterior) -> str:
    chains, draws = posterior.shape
    weighed = "" if posterior.log_weights is None else ", weighted by importance"
    return f"{chains * draws} draws by {posterior.method}{weighed}"


def _same(known: Any, given: Any) -> bool:
    known, given = as_numpy(known), as_numpy(given)
    return known.shape == given.shape and bool(np.allclose(known, given, rtol=1e-6, atol=0.0, equal_nan=True))


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))
