"""Carrying a recipe out: fit, ask, and leave a run's folder with its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from inference.asking import asking
from inference.diagnostics import diagnose
from inference.em import em
from inference.evaluate import evaluate
from inference.fit import fit
from inference.likelihood import log_likelihood
from inference.results import Fit
from inference.scoreboard import Scoreboard
from zoo.app import judging, report, telling
from zoo.app.labels import useful
from zoo.app.recipe import Recipe, Task, prepare
from zoo.app.runs import new_folder, refuse_existing, write_model
from zoo.app.settings import NOT_WRITTEN, gradient_settings, noise_anew
from zoo.app.telling import Found
from zoo.app.texts import write_tokens
from zoo.base import Model
from zoo.spec import check, spec_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """A recipe whose every part has been checked, and what fits its model (given whether to show progress)."""

    made: Recipe
    task: Task
    fitting: Callable[..., Fit]


def ready(made: Recipe) -> Ready:
    """Build the model, load the data and check [fit]: whatever is wrong with a recipe is said here."""
    task = prepare(made)
    return Ready(made, task, fitting(task, made.method, made.fit))


def fitting(task: Task, method: str | None, settings: Mapping[str, Any]) -> Callable[..., Fit]:
    """A fit by closed-form steps where the model has them, by gradients elsewhere, unless told; yet to be called."""
    model, rows = task.model, task.rows
    closed = "em_start" in model.capabilities
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    chosen = method or ("em" if closed else "gradient" if trainable else "none")
    if chosen == "em":
        if not closed:
            raise ValueError(f"fit.method is 'em', but {type(model).__name__} has no closed-form steps: leave it out")
        return partial(em, model, rows, **check(settings, em, "fit", of="of em", skip=NOT_WRITTEN))
    if chosen == "none":
        return partial(_nothing_to_fit, model)
    return partial(fit, model, rows, transform=noise_anew(task.data), **gradient_settings(settings))


def _nothing_to_fit(model: Model, progress: bool = True) -> Fit:
    return Fit(model, "nothing", pd.DataFrame({"step": [0]}), 0, 0.0, "nothing to fit", 0)


def carry_out(checked: Ready, say: Say = print, progress: bool = True) -> Found:
    """Fit the model of a recipe and ask what the recipe asks."""
    made, task = checked.made, checked.task
    data, model, seed = task.data, task.model, made.seed
    say(f"{made.name}: fitting {spec_of(model)['family']} to {len(data.train):,} rows of {data.name}")
    found = Found(made.name, task, checked.fitting(progress=progress))
    model.eval()
    with asking(model, seed):
        n = made.ask.samples
        found.samples = model.sample(n, context=task.any_context(n)) if n else None
    context = task.context(data.test)
    if made.ask.evaluate:
        features, modes = judging.measures(task)
        found.board = evaluate({made.name: found.fit}, data, context=context, features=features, modes=modes, seed=seed)
        if task.classes is not None:
            found.useful = useful(model, data, features, task.classes, seed)
        found.likelihood = found.board.likelihoods.get(made.name)
    elif made.ask.log_likelihood and model.likelihood is not None:
        found.likelihood = log_likelihood(model, data.test.x, context=context, seed=seed)
    if made.ask.diagnose:
        say(f"{made.name}: diagnosing")
        found.diagnosis = diagnose(found.fit, data.test.x, context=context, seed=seed)
    return found


def run(made: Recipe, folder: Path, say: Say = print) -> Path:
    """Carry a recipe out and leave its folder; the path of the report."""
    refuse_existing(folder)
    found = carry_out(ready(made), say)
    board = scoreboard([found])
    with new_folder(folder) as draft:
        leave(found, made, draft)
        write_scores(board, draft)
        lead = telling.verdict(found)
        parts = telling.sections(found, made, board, judging.sections([found], board))
        report.write(draft / "report.html", telling.title(found), lead, parts, telling.made_by(found))
    for sentence in lead:
        say(sentence)
    return folder / "report.html"


def compare(recipes: Sequence[Recipe], folder: Path, say: Say = print) -> Path:
    """Carry several recipes out, a folder each within one, and put them on one scoreboard."""
    refuse_existing(folder)
    sources = {str(made.data.name or made.data.csv) for made in recipes}
    if len(sources) > 1:
        raise ValueError(f"models of different data can't be compared: {', '.join(sorted(sources))}")
    checked = [ready(replace(made, name=name)) for name, made in distinct(recipes).items()]
    everything = [carry_out(one, say) for one in checked]
    board = scoreboard(everything)
    with new_folder(folder) as draft:
        for found, made in zip(everything, recipes, strict=True):
            inner = draft / found.name
            inner.mkdir(parents=True)
            leave(found, made, inner)
        write_scores(board, draft)
        lead = [sentence for found in everything for sentence in telling.likelihood_words(found)]
        shown = [
            report.Section("Scoreboard", table=board and board.readable()),
            *judging.sections(everything, board),
            telling.samples(everything),
            *(report.Section(f.name, telling.verdict(f), pictures=telling.pictures(f)) for f in everything),
        ]
        title = " and ".join(found.name for found in everything) + " compared"
        report.write(draft / "report.html", title, lead, shown)
    if board is not None:
        say(str(board))
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
    write_tokens(found.task.data, folder)
    found.fit.history.to_csv(folder / "history.csv", index=False)
    if found.diagnosis is not None and found.diagnosis.idata is not None:
        found.diagnosis.to_netcdf(folder / "posterior.nc")


def scoreboard(everything: Sequence[Found]) -> Scoreboard | None:
    """One scoreboard of all the models that were scored."""
    boards = [found.board for found in everything if found.board is not None]
    if not boards:
        return None
    return Scoreboard(
        pd.concat([board.table for board in boards]),
        {name: value for board in boards for name, value in board.likelihoods.items()},
        {name: value for board in boards for name, value in board.rows.items()},
        {name: value for board in boards for name, value in board.samples.items()},
        ", ".join(dict.fromkeys(board.features for board in boards)),
        {name: value for board in boards for name, value in board.quality.items()},
    )


def write_scores(board: Scoreboard | None, folder: Path) -> None:
    """The scores as JSON, a table a model; nothing where nothing was scored."""
    if board is None:
        return
    scores = json.loads(board.table.to_json(orient="index"))
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
