"""A Bayesian program's run, read from TOML and checked before anything is drawn.

name = "schools"
[program]                           # or program = "eight_schools"
name = "eight_schools"              # of zoo.programs; or file = "mine.py:model", a function of your own; or spread =
                                    # {...}, an outbreak (`zoo.app.spread_recipe`), whose argument is `cases`
data = "eight_schools"              # or {csv = "rows.csv", arguments = {y = "score", X = ["age", "income"]}}, or
                                    # {y = [1.5, 2.0]}; of an outbreak's cases, nan and empty cells are missing
[mcmc]                              # the keywords of inference.mcmc; or [smc], [variational], [laplace], [pathfinder]
kernel = {name = "nuts"}
until = {name = "ess", count = 1000}
[coords]                            # names of a plate's places
school = ["Choate", "Deerfield"]
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import inference
from inference import sampling
from zoo import programs
from zoo.app.recipe import as_table
from zoo.app.rows import numbers, read_csv
from zoo.app.settings import called
from zoo.app.spread_recipe import outbreak
from zoo.registry import near
from zoo.spec import SpecError, check, plain

METHODS: dict[str, Callable[..., Any]] = {
    "mcmc": inference.mcmc,
    "smc": inference.smc,
    "variational": inference.variational,
    "laplace": inference.laplace,
    "pathfinder": inference.pathfinder,
}
TABLES = ("name", "program", "coords", *METHODS)
PARTS: dict[str, Callable[..., Any]] = {
    "chees": sampling.Chees,
    "nuts": sampling.Nuts,
    "random_walk": sampling.RandomWalk,
    "independent": sampling.Independent,
    "stretch": sampling.Stretch,
    "elliptical_slice": sampling.EllipticalSlice,
    "ess": sampling.Ess,
    "r_hat": sampling.RHat,
}
"""What a table in the method's own may name: kernels, and when to stop."""
NOT_WRITTEN = ("model", "data", "precision", "progress", "start", "checkpoint", "resume")


@dataclass(frozen=True)
class ProgramAsked:
    """What [program] may say."""

    name: str | None = None
    file: str | None = None
    spread: Any = None
    data: Any = None


@dataclass(frozen=True)
class ProgramRecipe:
    """A checked run of a program: the function, its arguments, and what draws from its posterior."""

    name: str
    program: Callable[..., Any]
    arguments: dict[str, Any]
    method: str
    settings: dict[str, Any]
    coords: dict[str, list[Any]] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)

    @property
    def program_name(self) -> str:
        """The function's name; an outbreak of one's own has none but its kind's."""
        return getattr(self.program, "__name__", type(self.program).__name__)

    @property
    def seed(self) -> int:
        """What the draws are made by."""
        return self.settings.get("seed", 0)

    @property
    def infer(self) -> Callable[..., Any]:
        """What makes the posterior of the program with its data."""
        return partial(METHODS[self.method], **self.settings)


def program_recipe(table: Mapping[str, Any], name: str, beside: Path = Path()) -> ProgramRecipe:
    """A table as a checked recipe; files that it names lie `beside` it."""
    for key in table:
        if key not in TABLES:
            raise SpecError(f"{key} is not a part of a program's spec{near(key, TABLES)}")
    methods = [key for key in METHODS if key in table] or ["mcmc"]
    if len(methods) > 1:
        raise SpecError(f"the spec asks for {' and '.join(methods)}: a posterior is drawn in one way, leave one")
    written = placed(as_table(table["program"], "program", "name"), beside)
    asked = ProgramAsked(**check(written, ProgramAsked, "program", of="of program"))
    program = _function(asked)
    data = asked.name if asked.data is None else asked.data
    if data is None:
        raise SpecError('program.data is missing: write data = {csv = "rows.csv", arguments = {y = "score"}}')
    coords = as_table(table.get("coords", {}), "coords")
    return ProgramRecipe(
        name=str(table.get("name", name)),
        program=program,
        arguments=dict(programs.data(data)) if isinstance(data, str) else arguments_of(data, asked.spread is not None),
        method=methods[0],
        settings=settings_of(methods[0], as_table(table.get(methods[0], {}), methods[0])),
        coords={plate: list(places) for plate, places in coords.items()},
        table=plain({**{key: table[key] for key in TABLES if key in table}, "program": written}),
    )


def _function(asked: ProgramAsked) -> Callable[..., Any]:
    if sum(way is not None for way in (asked.name, asked.file, asked.spread)) != 1:
        raise SpecError(
            'program needs either a name, such as "eight_schools", or a file, such as "mine.py:model", or a spread'
        )
    if asked.spread is not None:
        return outbreak(asked.spread)
    return named(asked.name) if asked.name else from_file(str(asked.file))


def placed(written: dict[str, Any], beside: Path) -> dict[str, Any]:
    """[program] with its files by their whole paths, so that the run's folder can be asked from anywhere."""
    made = dict(written)
    if isinstance(made.get("file"), str):
        made["file"] = str((beside / made["file"]).absolute())
    if isinstance(data := made.get("data"), Mapping) and isinstance(data.get("csv"), str):
        made["data"] = {**data, "csv": str((beside / data["csv"]).absolute())}
    return made


def named(name: str) -> Callable[..., Any]:
    """A program of the zoo by its name."""
    if name not in programs.PROGRAMS:
        raise SpecError(f"program.name is {name!r}, which is no program{near(name, programs.PROGRAMS)}")
    return programs.PROGRAMS[name]


def from_file(asked: str) -> Callable[..., Any]:
    """The function of a Python file, "mine.py:model": the file is run, as Python runs a script."""
    file, _, function = asked.rpartition(":")
    path = Path(file)
    if not function or not path.is_file():
        raise SpecError(
            f'program.file is {asked!r}, but a file and its function were expected, such as "mine.py:model"'
        )
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise SpecError(f"program.file is {asked!r}, but {path.name} is no Python file")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    if function not in functions:
        raise SpecError(f"{path} has no function {function!r}{near(function, functions)}")
    return getattr(module, function)


def arguments_of(data: Any, gaps: bool) -> dict[str, torch.Tensor]:
    """Arguments as they are written, or from a CSV file's columns: one is a vector, a list of columns a matrix.

    What is missing, nan or an empty cell, is refused but where there may be `gaps`.
    """
    table = as_table(data, "program.data")
    if table and all(isinstance(value, list) for value in table.values()):
        return {name: _written(value, f"program.data.{name}") for name, value in table.items()}
    if set(table) != {"csv", "arguments"}:
        raise SpecError(
            'program.data needs a csv and its arguments: {csv = "rows.csv", arguments = {y = "score"}}, or the '
            "arguments themselves: {y = [1.5, 2.0]}"
        )
    path = Path(str(table["csv"]))
    frame = read_csv(str(path))
    made = {}
    for argument, asked in as_table(table["arguments"], "program.data.arguments").items():
        columns = [asked] if isinstance(asked, str) else list(asked)
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise SpecError(f"{path} has no column {missing[0]!r}{near(missing[0], list(frame.columns))}")
        values = numbers(frame[columns], str(path), "float64", gaps)
        made[argument] = values[:, 0] if isinstance(asked, str) else values
    return made


def _written(values: list[Any], path: str) -> torch.Tensor:
    try:
        return torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError):
        raise SpecError(f"{path} is {values!r}, but a list of numbers was expected") from None


def settings_of(method: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """[mcmc], or another, as keywords: a table within names a kernel or a rule to stop by."""
    built = {key: _part(value, f"{method}.{key}") for key, value in table.items()}
    parts = {key: value for key, value in built.items() if isinstance(table[key], (Mapping, list))}
    rest = {key: value for key, value in built.items() if key not in parts}
    known = check(rest, METHODS[method], method, of=f"of {method}", skip=(*NOT_WRITTEN, *parts))
    unknown = [key for key in parts if key not in inspect.signature(METHODS[method]).parameters]
    if unknown:
        raise SpecError(f"{method}.{unknown[0]} is not a parameter of {method}")
    return {**known, **parts}


def _part(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_part(item, path) for item in value]
    return called(value, path, PARTS) if isinstance(value, Mapping) else value
