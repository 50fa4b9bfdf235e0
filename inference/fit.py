"""`fit`: the only gradient loop. One player or several, one process or several, resumed to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.checkpoint import Checkpoint
from inference.data import as_rows
from inference.loop import Loop
from inference.objectives import Objective
from inference.progress import Callback
from inference.protocols import Advising, offers
from inference.results import Fit
from inference.schedules import Schedule
from inference.settings import OptimizerOf, Settings


def fit(
    model: Any,
    data: Any,
    objective: Objective | None = None,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = 128,
    lr: float | Mapping[str, float] | None = None,
    optimizer: OptimizerOf | None = None,
    schedule: Schedule | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    clip: float | None = None,
    average: float | None = None,
    validation: float | Any | None = None,
    patience: int | None = None,
    every: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | Checkpoint | None = None,
    resume: str | Path | None = None,
    progress: bool = True,
    tensorboard: str | Path | None = None,
) -> Fit:
    """Fit a model to data by gradients of an objective, in nats a row.

    Where neither steps nor epochs are given, a model may say how it is best fitted to so many rows (`Advising`, as
    flows do on small tables). It fills in what is None here; `Fit.extra["recipe"]` holds what it said.

    Parameters:
        model: any model, or any object with the methods of one of `inference.protocols`.
        data: a tensor or array [N, ...], a mapping {"x": ..., "context": ...}, a DataFrame, a torch Dataset.
            Rows of a network of tables may lack cells (NaN, None, -1): their exact marginal likelihood is fitted.
        objective: what to minimise; None takes the kind's own (`inference.objectives.default_objective`).
        steps, epochs: how long, in batches or in passes over the data; unless told, as the model says, or 1,000
            steps.
        batch_size: rows a step over all processes; None takes all rows each step.
        lr: the learning rate, or one for each player by name; 0.001 unless told.
        optimizer: (parameters, lr) -> a torch optimiser; one is made for each player; `adam` unless told.
        schedule: step -> factor on the learning rate (`inference.schedules`).
        transform: what to do to each training batch of x, such as drawing dequantisation noise anew.
        clip: the largest norm that a player's gradient may have.
        average: the decay of an exponential moving average of the weights, such as 0.995, which validation looks at and
            the model ends with; it looks back over about 1 / (1 - decay) steps, and over fewer in a young fit.
        validation: a fraction of the rows to hold out, or data of the same form.
        patience: stop when the held-out objective has not fallen for so many reports, and go back to its best.
        every: steps between two reports (a line of the history, a look for NaN, a validation); 50 unless told.
        seed: of the order of rows and of all noise; the caller's own random state is left as it was.
        device, precision: where to move the model, and its dtype; torch.bfloat16 runs under autocast.
        callbacks: each called with a `Progress` at each report; one that returns True ends the fit.
        checkpoint: a path, or a `Checkpoint`; written beside and renamed.
        resume: a checkpoint to go on from; on the CPU the result equals an uninterrupted run's to the bit.
        progress: show a bar (silent where the output is not a terminal).
        tensorboard: a folder to log to.

    Raises:
        ValueError, TypeError: data that the model can't take, or settings that contradict each other.
        FloatingPointError: a loss term that is not finite, named with its step; the model holds the last
            state that was good.
    """
    arguments = dict(locals())
    advice: Mapping[str, Any] = {}
    if steps is None and epochs is None and offers(model, Advising):
        data = as_rows(data, model)
        advice = model.recipe(len(data))
    return Loop(model, data, objective, Settings.of(arguments, advice), advice).run()
