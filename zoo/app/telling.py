"""What was found, told: in words, as tables, in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from inference.likelihood import LogLikelihood
from inference.quality import Usefulness
from inference.results import Fit
from inference.scoreboard import Scoreboard
from zoo.app import figures, report, texts
from zoo.app.recipe import Recipe, Task
from zoo.app.runs import toml
from zoo.base import Model
from zoo.datasets import Data
from zoo.spec import spec_of


@dataclass
class Found:
    """A fitted model and what was found out about it."""

    name: str
    task: Task
    fit: Fit
    board: Scoreboard | None = None
    likelihood: LogLikelihood | None = None
    samples: Tensor | None = None
    diagnosis: Any = None
    useful: Usefulness | None = None

    @property
    def model(self) -> Model:
        return self.task.model


def title(found: Found) -> str:
    return f"{found.name}: {spec_of(found.model)['family'].replace('_', ' ')} on {found.task.data.name}"


def verdict(found: Found) -> list[str]:
    """What was found, a sentence each."""
    about, data = found.fit, found.task.data
    how = (
        "It was not fitted: it has nothing to fit."
        if about.objective == "nothing"
        else f"Fitted to {len(data.train):,} rows of {data.name} by {about.objective}: {about.stopped} after "
        f"{about.steps:,} steps, {about.seconds:.1f} seconds."
    )
    if found.diagnosis is None:
        return [how, *likelihood_words(found)]
    bits = bits_words(data, found.likelihood)
    return [how, *found.diagnosis.verdict, *([f"That is {bits}: {data.likelihood_note}."] if bits else [])]


def likelihood_words(found: Found) -> list[str]:
    """A model's held-out likelihood in one sentence, its kind included."""
    if found.likelihood is None:
        return [] if found.model.likelihood else [f"{found.name} has no likelihood: it is judged by its samples."]
    score = found.likelihood
    kind = {"exact": "exact", "lower bound": "a lower bound", "estimate": "an estimate"}[score.kind]
    bits = bits_words(found.task.data, score)
    return [
        f"{found.name} gives the {len(score.values):,} held-out rows {score.mean:.4g} ± {score.mean_error:.2g} "
        f"nats a row ({kind}; a {score.measure}){f', {bits}' if bits else ''}."
    ]


def bits_words(data: Data, score: LogLikelihood | None) -> str:
    """Bits a dimension of the raw levels, where a density speaks of them."""
    if score is None or not data.levels or data.space == "bits":
        return ""
    unit = "token" if data.tokenizer else "dimension"
    return f"{data.bits_per_dim(score.values.cpu(), data.test.x.cpu()).mean():.3f} bits a {unit}"


def made_by(found: Found) -> str:
    count = sum(parameter.numel() for parameter in found.model.parameters())
    return f"{found.model.kind} model · {count:,} parameters · seed {found.fit.seed}"


def sections(
    found: Found, made: Recipe, board: Scoreboard | None, judged: Sequence[report.Section] = ()
) -> list[report.Section]:
    """The parts of one run's report."""
    shown = [report.Section("Scores", table=board.readable())] if board is not None else []
    if found.samples is not None:
        shown.append(samples([found]))
    shown += judged
    shown.append(report.Section("Fit and diagnosis", table=diagnosis_table(found), pictures=pictures(found)))
    spec = toml({**made.table, "model": spec_of(found.model)})
    return [*shown, report.Section("Spec", ["`zoo run` takes this again."], code=spec)]


def diagnosis_table(found: Found) -> pd.DataFrame | None:
    return getattr(found.diagnosis, "table", None)


def samples(everything: Sequence[Found]) -> report.Section:
    """What the models drew, beside held-out data."""
    data = everything[0].task.data
    if data.tokenizer is None:
        return report.Section("Samples", pictures=beside(everything))
    return report.Section("Samples", code=texts.beside(data, {found.name: found.samples for found in everything}))


def beside(everything: Sequence[Found]) -> dict[str, Any]:
    """Samples of every model beside held-out data, in the raw space."""
    data = everything[0].task.data
    most = max((len(found.samples) for found in everything if found.samples is not None), default=64)
    shown = {"held-out data": data.restore(data.test.x[:most])}
    coarser = [found.task.data for found in everything if found.task.data.space == "bits"]
    if coarser and data.space != "bits":
        shown["held-out data, binarised"] = coarser[0].restore(coarser[0].test.x[:most])
    for found in everything:
        if found.samples is not None:
            shown[found.name] = found.task.data.restore(found.samples.cpu())
    named = everything[0].model
    if hasattr(named, "states") and list(map(str, named.states)) == list(data.feature_names or ()):
        picture = figures.states(shown, named.states)
    else:
        picture = figures.pictures(shown, everything[0].task.image_shape, data.feature_names)
    return {"Samples beside held-out data, in the data's own units.": picture}


def pictures(found: Found) -> dict[str, Any]:
    """The history of a fit, and the plots of its diagnosis."""
    plots = {} if found.diagnosis is None else found.diagnosis.plots()
    if "history" not in plots and len(found.fit.history) > 1:
        plots = {"history": figures.history(found.fit.history), **plots}
    return {name.replace("_", " ").capitalize() + ".": plot for name, plot in plots.items()}
