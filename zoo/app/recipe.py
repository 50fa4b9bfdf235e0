"""What a run is made of, read from TOML and checked before anything is computed.

data = "digits"                     # or {name = "digits", view = "logit"}, or {csv = "my.csv"}
[model]                             # a table that zoo.build takes
family = "vae"
latent = 8
[fit]                               # the keywords of inference.fit, or of inference.em
steps = 2000
objective = {name = "elbo", particles = 1}
[ask]                               # what to find out
samples = 64
log_likelihood = true
diagnose = true
evaluate = true
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.app.labels import classes_of, context_shape_of, contexts
from zoo.app.rows import DataAsked, frame_data
from zoo.app.runs import read_toml
from zoo.app.texts import cut
from zoo.base import Model
from zoo.datasets import Data, Split
from zoo.datasets import load as load_data
from zoo.registry import near
from zoo.spec import SpecError, build, check, in_short, plain

VIEWS = {
    "raw": (),
    "dequantised": ("dequantised",),
    "logit": ("dequantised", "logit"),
    "binarised": ("binarised",),
    "unit": ("unit",),
    "standardised": ("standardised",),
    "flat": ("flat",),
}
TABLES = ("name", "data", "model", "fit", "ask")


@dataclass(frozen=True)
class Ask:
    """What to find out about a fitted model."""

    samples: int = 512
    log_likelihood: bool = True
    diagnose: bool = True
    evaluate: bool = True


@dataclass(frozen=True)
class Recipe:
    """A checked run: what to build, on what data, how to fit it and what to ask."""

    name: str
    data: DataAsked
    model: dict[str, Any]
    method: str | None = None
    fit: dict[str, Any] = field(default_factory=dict)
    ask: Ask = Ask()
    table: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """What the model is built, fitted and asked by."""
        return self.fit.get("seed", 0)


@dataclass(frozen=True)
class Task:
    """A model beside the data it is fitted to, in the view that suits it."""

    model: Model
    data: Data
    classes: int | None = None
    """How many classes the labels have that the model is told; None where it is told nothing."""

    def context(self, split: Split) -> Tensor | None:
        """What the model is told of the rows of a split."""
        return None if self.classes is None or split.y is None else contexts(self.model, split.y, self.classes)

    def any_context(self, n: int) -> Tensor | None:
        """What to tell it for n rows of its own: one class after the other."""
        return None if self.classes is None else contexts(self.model, torch.arange(n) % self.classes, self.classes)

    @property
    def rows(self) -> Any:
        """The training rows as `fit` takes them."""
        context = self.context(self.data.train)
        return self.data.train.x if context is None else {"x": self.data.train.x, "context": context}

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Height and width, where rows are images of one channel."""
        shape = [size for step in self.data.steps for size in getattr(step, "shape", ())] or list(self.data.event_shape)
        if len(shape) in (2, 3) and (len(shape) == 2 or shape[0] == 1) and min(shape[-2:]) > 1:
            return shape[-2], shape[-1]
        return None


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, after `key=value` overrides such as "fit.steps=100"."""
    return recipe(table_of(path, overrides), Path(path).stem)


def table_of(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table in a TOML file, after its overrides."""
    table = read_toml(Path(path))
    for override in overrides:
        _override(table, override)
    return table


def recipe(table: Mapping[str, Any], name: str) -> Recipe:
    """A table as a checked recipe."""
    if "program" in table:
        raise SpecError("posteriors of programs are drawn by zoo run, and held to each other by inference.compare")
    if "spread" in table:
        raise SpecError(
            "[spread], one on a graph, is asked as it is, by zoo query SPEC.toml --find source, and not run"
        )
    for key in table:
        if key not in TABLES:
            raise SpecError(f"{key} is not a part of a spec{near(key, TABLES)}")
    for key in ("data", "model"):
        if key not in table:
            raise SpecError(f"the spec has no {key}: " + ('write data = "digits"' if key == "data" else "add [model]"))
    data = table["data"]
    asked = DataAsked(**check(as_table(data, "data", "name"), DataAsked, "data", of="of data"))
    if (asked.name is None) == (asked.csv is None):
        raise SpecError('data needs either a name, such as "digits", or a csv, a file of rows')
    if asked.name is not None and asked.context not in (None, "labels"):
        raise SpecError(f'data.context is {in_short(asked.context)}, but "labels" was expected')
    settings = dict(as_table(table.get("fit", {}), "fit"))
    method = settings.pop("method", None)
    if method not in (None, "em", "gradient", "none"):
        raise SpecError(f'fit.method is {in_short(method)}, but "em", "gradient" or "none" was expected')
    if type(settings.get("seed", 0)) is not int:
        raise SpecError(f"fit.seed is {in_short(settings['seed'])}, but a whole number was expected")
    ask = Ask(**check(as_table(table.get("ask", {}), "ask"), Ask, "ask", of="of ask"))
    if ask.samples < 0:
        raise SpecError(f"ask.samples is {ask.samples}, but 0 or more rows were expected")
    model = table["model"]
    return Recipe(
        name=str(table.get("name", name)),
        data=asked,
        model={"family": model} if isinstance(model, str) else as_table(model, "model"),
        method=method,
        fit=settings,
        ask=ask,
        table=plain({key: table[key] for key in TABLES if key in table}),
    )


def prepare(made: Recipe) -> Task:
    """The model, freshly built, and its data: [data] and [model] are right; [fit] is checked by `execute.ready`."""
    data = frame_data(made.data, made.model) if made.data.csv else load_data(str(made.data.name), seed=made.data.seed)
    table = made.model
    if data.tokenizer is not None:
        data, table = cut(data, table)
    if made.data.view is not None:
        data = through(data, made.data.view)
    classes = None if made.data.context is None else classes_of(data)
    written = table.get("event_shape")
    size = [written] if isinstance(written, int) else written
    if isinstance(size, list) and size != list(data.event_shape) and size == [data.event_shape.numel()]:
        data = data.flat()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(made.seed)  # torch.manual_seed would reach devices that are not put back
        told = None if classes is None else context_shape_of(table, classes)
        model = build(table, event_shape=data.event_shape, context_shape=told)
    if made.data.view is None:
        data = data.default_view(model.support)
    task = Task(model, data, classes)
    if classes is None and model.context_shape is not None:
        raise SpecError('the model takes a context, but the spec tells it none: write context = "labels" in [data]')
    task.any_context(1)  # refuses a model that takes no labels
    return task


def through(data: Data, view: str | Sequence[str]) -> Data:
    """Data in a named view, or in several one after the other."""
    for name in [view] if isinstance(view, str) else view:
        if name not in VIEWS:
            raise SpecError(f"data.view is {name!r}, which is no view{near(name, VIEWS)}")
        for step in VIEWS[name]:
            data = getattr(data, step)()
    return data


def as_table(value: Any, path: str, shorthand: str | None = None) -> dict[str, Any]:
    if shorthand is not None and isinstance(value, str):
        return {"csv" if path == "data" and value.endswith(".csv") else shorthand: value}
    if not isinstance(value, Mapping):
        raise SpecError(f"{path} is {in_short(value)}, but a table was expected")
    return dict(value)


def _override(table: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise SpecError(f"--set {override!r} is not key=value, such as fit.steps=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        inner = table.get(key, {})
        if isinstance(inner, str) and key in ("data", "model"):
            inner = {"name" if key == "data" else "family": inner}
        if not isinstance(inner, dict):
            raise SpecError(f"--set {override!r}: {key} is {in_short(inner)}, not a table")
        table[key] = inner
        table = inner
    table[keys[-1]] = value
