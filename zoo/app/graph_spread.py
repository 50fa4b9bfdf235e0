"""A spread on a graph in a spec, which is asked as it is: nothing is fitted.

[spread]
compartments = "si"                         # as `zoo.app.spread_recipe` has them, of one group
graph = {name = "les_miserables"}           # or karate_club; or {file = "edges.txt", directed = true}, an edge a line
rates = {beta = 0.05}
step = 1.0

zoo query rumour.toml --find source --given infected=Valjean,Javert,Cosette step=4
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx

from zoo.app.recipe import as_table
from zoo.app.spread_priors import each, number, told_at
from zoo.app.spread_recipe import compartments
from zoo.registry import near
from zoo.spec import SpecError, check, in_short
from zoo.spread import Graph, GraphSpread

TABLES = ("name", "spread")
GRAPHS = {"karate_club": networkx.karate_club_graph, "les_miserables": networkx.les_miserables_graph}
STEPS = ("step", "steps")


def asked(compartments: Any, graph: Any, rates: Any, step: float = 1.0) -> dict[str, Any]:
    """What [spread] may say."""
    return locals()


def from_file(file: str, directed: bool = False) -> None:
    """What a spec may say of a graph in a file."""


def graph_spread(table: Mapping[str, Any], beside: Path = Path()) -> GraphSpread:
    """A table as a spread; a file that it names lies `beside` it."""
    if "spread" not in table:
        raise SpecError("the spec has no [spread], and others are asked by their runs: zoo run it first")
    for key in table:
        if key not in TABLES:
            raise SpecError(f"{key} is not a part of a spread's spec{near(key, TABLES)}")
    known = asked(**check(as_table(table["spread"], "spread"), asked, "spread", of="of a spread"))
    with told_at("spread"):
        return GraphSpread(
            compartments(known["compartments"], "spread.compartments"),
            _graph(known["graph"], "spread.graph", beside),
            each(known["rates"], "spread.rates", number),
            step=known["step"],
        )


def _graph(given: Any, path: str, beside: Path) -> Graph:
    table = as_table(given, path, "name")
    if "file" in table:
        check(table, from_file, path)
        if not (file := beside / table["file"]).is_file():
            raise SpecError(f"{path}.file: there is no file {str(file)!r}")
        with told_at(path):
            return Graph.read(file, directed=table.get("directed", False))
    name = check(table, named, path)["name"]
    if name not in GRAPHS:
        raise SpecError(f'{path} is {in_short(name)}, but a file, {{file = "edges.txt"}}, or one of these was expected'
                        f"{near(name, GRAPHS)}")  # fmt: skip
    return Graph.of(GRAPHS[name]())


def named(name: str) -> None:
    """What a spec may say of a graph by name."""


# ---- what the command line says of it


def seen(spread: GraphSpread, given: Mapping[Any, str]) -> dict[Any, Any]:
    """Nodes between commas, and steps, as `query` takes them."""
    return {key: _step(key, text) if key in STEPS else _nodes(spread, text) for key, text in given.items()}


def done(spread: GraphSpread, do: Mapping[Any, str]) -> dict[Any, Any]:
    """vaccinate=NODE,NODE cut=NODE:NODE,NODE:NODE contacts=FACTOR, as `query` takes them."""
    return {key: DO[key](spread, text) if key in DO else text for key, text in do.items()}


def _nodes(spread: GraphSpread, text: str, between: str = ",") -> list[Any]:
    by_text = {str(node): node for node in spread.graph.nodes}
    return [by_text.get(each.strip(), each.strip()) for each in text.split(between)]


def _edges(spread: GraphSpread, text: str) -> list[Any]:
    edges = [_nodes(spread, each, ":") for each in text.split(",")]
    if wrong := [edge for edge in edges if len(edge) != 2]:
        raise ValueError(f"--do cut names {wrong[0][0]!r}, but edges were expected, such as cut=NODE:NODE,NODE:NODE")
    return edges


def _factor(spread: GraphSpread, text: str) -> float:
    return told_number("--do contacts", text)


def _step(key: Any, text: str) -> int:
    value = told_number(f"--given {key}", text)
    if value != int(value):
        raise ValueError(f"--given {key} is {text!r}, but a whole number was expected")
    return int(value)


def told_number(what: str, text: str) -> float:
    """What the command line says of a spread, as a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}, but a number was expected")
    return value


DO = {"vaccinate": _nodes, "cut": _edges, "contacts": _factor}
