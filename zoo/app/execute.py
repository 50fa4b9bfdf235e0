"""Carrying a recipe out: fit, ask, and leave a run's folder with its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from inference.em import em
from torch import Tensor

from inference.diagnostics import diagnose
from inference.evaluate import evaluate
from inference.fit import fit
from inference.likelihood import LogLikelihood, log_likelihood
from inference.results import Fit
from zoo.app import figures, report
from zoo.app.recipe import NOT_WRITTEN, Recipe, Task, gradient_settings, prepare
from zoo.app.runs import new_folder, refuse_existing, toml, write_model
from zoo.base import Model
from zoo.datasets import Data
from zoo.spec import check, spec_of

Say = Callable[[str], None]


@dataclass
class Found:
    """A fitted model and what was found out about it."""

    name: str
    task: Task
    fit: Fit
    likelihood: LogLikelihood | None = None
    samples: Tensor | None = None
    diagnosis: Any = None

    @property
    def model(self) -> Model:
        return self.task.model


def fit_task(task: Task, method: str | None, settings: Mapping[str, Any], progress: bool = True) -> Fit:
    """Fit by closed-form steps where the model has them, by gradients elsewhere, unless told."""
    model, rows = task.model, task.data.train.x
    closed = "em_start" in model.capabilities
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    chosen = method or ("em" if closed else "gradient" if trainable else "none")
    if chosen == "em":
        if not closed:
            raise ValueError(f"fit.method is 'em', but {type(model).__name__} has no closed-form steps: leave it out")
        known = check(settings, em, "fit", of="of em", skip=NOT_WRITTEN)
        return em(model, rows, progress=progress, **known)
    if chosen == "none":
        history = pd.DataFrame({"step": [0]})
        return Fit(model, "nothing", history, 0, 0.0, "nothing to fit", 0)
    return fit(model, rows, progress=progress, **gradient_settings(settings))


def carry_out(made: Recipe, say: Say = print) -> Found:
    """Fit the model of a recipe and ask what the recipe asks."""
    task = prepare(made)
    data, model, seed = task.data, task.model, int(made.fit.get("seed", 0))
    say(f"{made.name}: fitting a {spec_of(model)['family']} to {len(data.train):,} rows of {data.name}")
    found = Found(made.name, task, fit_task(task, made.method, made.fit))
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found.samples = model.sample(made.ask.samples) if made.ask.samples else None
    if made.ask.log_likelihood and model.likelihood is not None:
        found.likelihood = log_likelihood(model, data.test.x, seed=seed)
    if made.ask.diagnose:
        say(f"{made.name}: diagnosing")
        found.diagnosis = diagnose(found.fit, data.test.x, seed=seed)
    return found


def run(made: Recipe, folder: Path, say: Say = print) -> Path:
    """Carry a recipe out and leave its folder; the path of the report."""
    refuse_existing(folder)
    found = carry_out(made, say)
    table = scoreboard([found], say) if made.ask.evaluate else None
    with new_folder(folder) as draft:
        leave(found, made, draft)
        if table is not None:
            write_scores(table, draft)
        lead = verdict(found)
        report.write(draft / "report.html", title(found), lead, sections(found, made, table), made_by(found))
    for sentence in lead:
        say(sentence)
    return folder / "report.html"


def compare(recipes: Sequence[Recipe], folder: Path, say: Say = print) -> Path:
    """Carry several recipes out, a folder each within one, and put them on one scoreboard."""
    refuse_existing(folder)
    everything = [carry_out(replace(made, name=name), say) for name, made in distinct(recipes).items()]
    table = scoreboard(everything, say)
    with new_folder(folder) as draft:
        for found, made in zip(everything, recipes, strict=True):
            inner = draft / found.name
            inner.mkdir(parents=True)
            leave(found, made, inner)
        write_scores(table, draft)
        lead = [sentence for found in everything for sentence in likelihood_words(found)]
        shown = [report.Section("Scoreboard", table=table), report.Section("Samples", pictures=beside(everything))]
        shown += [report.Section(found.name, verdict(found), pictures=own_pictures(found)) for found in everything]
        report.write(draft / "report.html", " and ".join(f.name for f in everything) + " compared", lead, shown)
    say(report.tidy(table).to_string(index=False))
    return folder / "report.html"


def distinct(recipes: Sequence[Recipe]) -> dict[str, Recipe]:
    """Recipes by name, the second of a name numbered."""
    named: dict[str, Recipe] = {}
    for made in recipes:
        name, number = made.name, 2
        while name in named:
            name, number = f"{made.name}-{number}", number + 1
        named[name] = made
    return named


def leave(found: Found, made: Recipe, folder: Path) -> None:
    """The files of a run but its report."""
    write_model(found.model, folder, {key: value for key, value in made.table.items() if key != "model"})
    found.fit.history.to_csv(folder / "history.csv", index=False)
    if found.diagnosis is not None and found.diagnosis.idata is not None:
        found.diagnosis.to_netcdf(folder / "posterior.nc")


def scoreboard(everything: Sequence[Found], say: Say = print) -> pd.DataFrame:
    """All the models on one footing."""
    say("scoring: " + ", ".join(found.name for found in everything))
    models = {found.name: found.model for found in everything}
    return evaluate(models, {found.name: found.task.data.test.x for found in everything}).table


def write_scores(table: pd.DataFrame, folder: Path) -> None:
    scores = json.loads(table.to_json(orient="index" if not isinstance(table.index, pd.RangeIndex) else "records"))
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


# ---- in words


def title(found: Found) -> str:
    return f"{found.name}: {spec_of(found.model)['family'].replace('_', ' ')} on {found.task.data.name}"


def verdict(found: Found) -> list[str]:
    """What was found, a sentence each."""
    about, data = found.fit, found.task.data
    how = "It was not fitted: it has nothing to fit." if about.objective == "nothing" else (
        f"Fitted to {len(data.train):,} rows of {data.name} by {about.objective}: {about.stopped} after "
        f"{about.steps:,} steps, {about.seconds:.1f} seconds."
    )  # fmt: skip
    if found.diagnosis is None:
        return [how, *likelihood_words(found)]
    bits = bits_words(data, found.likelihood) if found.likelihood is not None else []
    return [how, *found.diagnosis.verdict, *bits]


def likelihood_words(found: Found) -> list[str]:
    if found.likelihood is None:
        return [] if found.model.likelihood else [f"{found.name} has no likelihood; look at its samples."]
    score, data = found.likelihood, found.task.data
    kind = {"exact": "exact", "lower bound": "a lower bound", "estimate": "an estimate"}[score.kind]
    return [
        f"{found.name} gives the {len(score.values):,} held-out rows {score.mean:.4g} ± {score.mean_error:.2g} "
        f"nats a row ({kind}; a {score.measure}).",
        *bits_words(data, score),
    ]


def bits_words(data: Data, score: LogLikelihood) -> list[str]:
    if not data.levels or data.space == "bits":
        return []
    bits = data.bits_per_dim(score.values.cpu(), data.test.x.cpu()).mean()
    return [f"That is {bits:.4g} bits a dimension: {data.likelihood_note}."]


def made_by(found: Found) -> str:
    count = sum(parameter.numel() for parameter in found.model.parameters())
    return f"{found.model.kind} model · {count:,} parameters · seed {found.fit.seed}"


# ---- in pictures


def sections(found: Found, made: Recipe, table: pd.DataFrame | None) -> list[report.Section]:
    """The parts of one run's report."""
    shown = [report.Section("Scores", table=table)] if table is not None else []
    if found.samples is not None:
        shown.append(report.Section("Samples", pictures=beside([found])))
    shown.append(report.Section("Fit and diagnosis", table=diagnosis_table(found), pictures=own_pictures(found)))
    spec = toml({**made.table, "model": spec_of(found.model)})
    return [*shown, report.Section("Spec", ["`zoo run` takes this again."], code=spec)]


def diagnosis_table(found: Found) -> pd.DataFrame | None:
    return getattr(found.diagnosis, "table", None)


def beside(everything: Sequence[Found]) -> dict[str, Any]:
    """Samples of every model beside held-out data, in the raw space."""
    data = everything[0].task.data
    shown = {"held-out data": data.restore(data.test.x[:64])}
    for found in everything:
        if found.samples is not None:
            shown[found.name] = found.task.data.restore(found.samples.cpu())
    picture = figures.pictures(shown, everything[0].task.image_shape, data.feature_names)
    return {"Samples beside held-out data, in the data's own units.": picture}


def own_pictures(found: Found) -> dict[str, Any]:
    """The history of a fit, and the plots of its diagnosis."""
    plots = {} if found.diagnosis is None else found.diagnosis.plots()
    if "history" not in plots and len(found.fit.history) > 1:
        plots = {"history": figures.history(found.fit.history), **plots}
    return {name.replace("_", " ").capitalize() + ".": plot for name, plot in plots.items()}
