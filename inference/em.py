"""`em`: closed-form fitting. Expectations over the rows, then the parameters that maximise them."""

from __future__ import annotations

import copy
import math
import time
import warnings
from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.data import as_rows, check_known, lacks_cells
from inference.exact.learning import ExpectedCounts
from inference.progress import Bar, Progress
from inference.protocols import ClosedForm, name_of, offers, sums_out
from inference.results import Fit
from inference.seeding import seeded
from inference.world import World


def em(
    model: Any,
    data: Any,
    *,
    steps: int = 100,
    tolerance: float = 1e-3,
    block: int = 2**16,
    restarts: int = 1,
    seed: int = 0,
    start: bool = True,
    progress: bool = True,
) -> Fit:
    """Fit a model by expectation-maximisation, in nats a row.

    The history's row s is the mean log-likelihood after s maximisations (row 0 is the start), so its last row
    is that of the model given back. Where the model has a prior (`log_prior`), the step goes up the log posterior,
    and that is a column too. Rows of a network of tables may lack cells (NaN, None or the code -1, up to whole
    columns: latent variables); they are summed over exactly, by elimination, and the likelihood is that of the
    known cells. So may rows of a model that sums them out itself (`inference.protocols.Incomplete`). Under
    `torchrun` every process is given the same data and takes a share of the rows; the sums are those of one process.

    Parameters:
        model: any object with the methods of `inference.protocols.ClosedForm`.
        data: a tensor or array [N, ...], a mapping {"x": ...}, a DataFrame, a torch Dataset.
        steps: the most maximisations.
        tolerance: stop ("converged") when a step gains less than this; 0 makes every step.
        block: rows handed to the model at a time; their sums add up.
        restarts: starts to make; the best by likelihood is kept.
        seed: of the starts; the caller's own random state is left as it was.
        start: False goes on from the parameters that the model has.
        progress: show a bar (silent where the output is not a terminal).

    Raises:
        ValueError, TypeError: data that the model can't take.
        FloatingPointError: a likelihood that is not finite, named with its step.
    """
    if not offers(model, ClosedForm):
        raise TypeError(f"{name_of(model)} has no closed-form steps (em_start, expect, maximise); use inference.fit")
    for name, value in (("block", block), ("restarts", restarts)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if steps < 0 or tolerance < 0:
        raise ValueError(f"steps and tolerance must not be negative, but are {steps} and {tolerance}")
    if restarts > 1 and not start:
        raise ValueError("start=False goes on from one set of parameters, so restarts must be 1")
    began = time.perf_counter()
    x = _rows(model, data)
    runs = []
    for run in range(restarts):
        if start:
            _start(model, x, seed + run)
        climbed, likelihoods, stopped = _climb(model, x, steps, tolerance, block, progress)
        state = copy.deepcopy(model.state_dict()) if restarts > 1 else None
        runs.append((climbed[-1], climbed, likelihoods, stopped, state))
    _, climbed, likelihoods, stopped, state = max(runs, key=lambda run: run[0])
    if state is not None:
        model.load_state_dict(state)
    columns = {"step": range(len(climbed)), "loss": [-v for v in climbed], "log_likelihood": likelihoods}
    table = pd.DataFrame(columns | ({"log_posterior": climbed} if climbed != likelihoods else {}))
    seconds = time.perf_counter() - began
    extra = {"restarts": [run[0] for run in runs], "monotone": _is_monotone(climbed, _precision(model, x))}
    return Fit(model, "expectation-maximisation", table, len(climbed) - 1, seconds, stopped, seed, extra=extra)


def _rows(model: Any, data: Any) -> Tensor:
    """The rows of x, checked, where the model is."""
    rows = as_rows(data, model)
    x, context = rows.x, rows.context
    check_known(model, x, context, rows.columns)
    return x.to(getattr(model, "device", x.device), getattr(model, "dtype", None) if x.is_floating_point() else None)


def _start(model: Any, x: Tensor, seed: int) -> None:
    """Starting parameters, the first process's everywhere."""
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed, x.device):
        model.em_start(x, generator)
    world = World.current()
    if world.size > 1:
        world.broadcast(model)


def _climb(
    model: Any, x: Tensor, steps: int, tolerance: float, block: int, progress: bool
) -> tuple[list[float], list[float], str]:
    """EM from the model's parameters: what it climbs and the likelihood, a row, after each step, and why it ended."""
    world = World.current()
    share = x.tensor_split(world.size)[world.rank]
    closed = ExpectedCounts(model) if not sums_out(model) and lacks_cells(model, x) else model
    prepared = closed.prepare(share)
    bar = Bar(steps, 0, progress and world.first, f"em {name_of(model)}")
    history: list[float] = []
    likelihoods: list[float] = []
    try:
        while True:
            statistics, likelihood = _expect(closed, prepared, block, world, len(x), len(history))
            likelihoods.append(likelihood)
            history.append(likelihood + (float(model.log_prior()) / len(x) if hasattr(model, "log_prior") else 0.0))
            bar(Progress(len(history) - 1, steps, {"log_likelihood": likelihood}, model))
            if len(history) > steps:
                break
            # A tolerance of zero makes every step: rounding alone must not end it.
            if tolerance > 0 and len(history) > 1 and history[-1] - history[-2] < tolerance:
                return _judged(history, _precision(model, x), model), likelihoods, "converged"
            model.maximise(statistics)
    finally:
        bar.close()
    return _judged(history, _precision(model, x), model), likelihoods, "steps done"


def _expect(
    model: Any, prepared: Tensor, block: int, world: World, rows: int, step: int
) -> tuple[tuple[Tensor, ...], float]:
    """The statistics summed over blocks and processes, and the mean log-likelihood of a row."""
    parts = [model.expect(part) for part in prepared.split(block)]
    sums = tuple(
        torch.stack(values).sum(0) if len(values) > 1 else values[0]
        for values in zip(*(p[0] for p in parts), strict=True)
    )
    total = sum((p[1] for p in parts[1:]), start=parts[0][1])
    *statistics, total = world.sum(*sums, total)
    likelihood = float(total) / rows
    if not math.isfinite(likelihood):
        raise FloatingPointError(
            f"the log-likelihood of {name_of(model)} is {likelihood} at step {step} of em: "
            "some rows are out of reach of every component; scale the data, or start elsewhere"
        )
    return tuple(statistics), likelihood


def _precision(model: Any, x: Tensor) -> torch.dtype:
    """The dtype that likelihoods are computed in: that of the rows, or of the model where rows are codes."""
    return x.dtype if x.dtype.is_floating_point else getattr(model, "dtype", torch.float32)


def _is_monotone(history: list[float], dtype: torch.dtype) -> bool:
    """Whether the likelihood never fell, beyond rounding."""
    slack = 100 * torch.finfo(dtype).eps
    return all(b >= a - slack * max(1.0, abs(a)) for a, b in pairwise(history))


def _judged(history: list[float], dtype: torch.dtype, model: Any) -> list[float]:
    """The history, with a warning where EM did what exact EM can't: lose likelihood."""
    if not _is_monotone(history, dtype):
        falls = [b - a for a, b in pairwise(history)]
        step = falls.index(min(falls)) + 1
        warnings.warn(
            f"the log-likelihood of {name_of(model)} fell by {-min(falls):.3g} nats a row at step {step} "
            "of em: a ridge that is large beside the variances does that, and so does rounding",
            RuntimeWarning,
            stacklevel=4,
        )
    return history
