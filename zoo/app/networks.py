"""One case put to a network: what is likely, the most probable explanation, what to look at next, what it costs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import torch
from torch import Tensor

from inference.exact import Engine, Plan, TooLarge, entropy, value_of_observation
from inference.exact.cache import engine_of
from inference.exact.evidence import Evidence, read_evidence
from inference.exact.plan import in_bytes, plan_of
from inference.exact.program import Ask
from inference.posterior import Posterior
from inference.protocols import Hybrid, Tabular, name_of, offers
from inference.query import Answer, LikelihoodWeighting, query
from inference.query.network import check_targets, is_graph
from zoo.app.files import beside
from zoo.app.graph_spread import done, graph_spread, seen, told_number
from zoo.app.program_recipe import program_recipe
from zoo.app.program_run import posterior_of
from zoo.app.runs import SPEC, load, read_spec, read_toml
from zoo.graph_files import FORMATS, load_network
from zoo.registry import near
from zoo.spread import GraphSpread

BEYOND = 1 << 62
"""A budget under which every plan fits, so that it can be told."""
SHOWN = 12
"""Observations whose worth is shown."""


@dataclass(frozen=True)
class Case:
    """A network, what is asked of it (nothing: all that is not known) and what is known."""

    network: str
    model: Any
    find: Sequence[Hashable] = ()
    given: Mapping[Hashable, Any] = field(default_factory=dict)
    do: Mapping[Hashable, Any] = field(default_factory=dict)

    @property
    def variables(self) -> list[Hashable]:
        """Those of a network of tables, or the discrete ones of a network with densities."""
        return list(self.model.discrete.variables if self.is_hybrid else self.engine.variables)

    @property
    def targets(self) -> list[Hashable]:
        """What is asked for: all that is not known where nothing is named."""
        if self.find:
            return list(self.find)
        if not (self.is_network or self.is_hybrid):
            raise ValueError(f"{self.network} is not a network: name what to ask about with --find")
        free = [v for v in self.variables if v not in self.given and v not in self.do]
        if not free:
            raise ValueError("every variable is known, so nothing is left to ask")
        return free

    @property
    def is_network(self) -> bool:
        """Whether this is a network of tables throughout."""
        return not self.is_hybrid and (offers(self.model, Tabular) or is_graph(self.model))

    @property
    def is_hybrid(self) -> bool:
        """Whether some of its nodes are densities."""
        return offers(self.model, Hybrid)

    @property
    def engine(self) -> Engine:
        """The network compiled, before any intervention."""
        if not self.is_network:
            raise ValueError(f"{self.network} is not a network of tables, so only --find, --given and --do ask it")
        return engine_of(self.model)


def case(network: str, find: Sequence[str], given: Mapping[Hashable, Any], do: Mapping[Hashable, Any]) -> Case:
    """The network of a run's folder, of a file or by name, beside what is asked of it."""
    for i, name in enumerate(find):
        if name in find[:i]:
            raise ValueError(f"--find names {name!r} twice")
    model = opened(network)
    if isinstance(model, Posterior):
        do = {name: told_number(f"--do {name}", value) for name, value in do.items()}
    if isinstance(model, GraphSpread):
        return Case(network, model, tuple(find), seen(model, given), done(model, do))
    asked = Case(network, model, tuple(find), given, do)
    if given and not (asked.is_network or asked.is_hybrid):
        raise ValueError(
            f"{network} is a {name_of(asked.model)}, which has no named variables to give; ask a network, or this "
            "model from Python: zoo.load and inference.query"
        )
    return asked


def opened(network: str) -> Any:
    """The model or the posterior of a run's folder, the graph of a file or of a network by name, or a spread."""
    path = Path(network)
    if path.suffix.lower() == ".toml":
        return graph_spread(read_toml(path), path.parent)
    if (path / SPEC).exists():
        table = read_spec(path)
        return posterior_of(program_recipe(table, path.name), path) if "program" in table else load(path)
    known = {path.suffix.lower(), Path(path.stem).suffix.lower() if path.suffix == ".gz" else ""} & set(FORMATS)
    if path.is_dir() or (path.name != network and not known and not path.exists()):
        read_spec(path)  # says what is wrong with it
    if known and not path.exists():
        siblings = [str(file) for file in path.parent.glob("*") if Path(file.name).suffix in (*FORMATS, ".gz")]
        raise FileNotFoundError(f"there is no file {network!r}{near(network, siblings) if siblings else ''}")
    return load_network(network)


# ---- likely states


def answer(asked: Case, estimate: int | None = None) -> Answer:
    """The distribution of each target; by weighted draws where an estimate is asked for."""
    method = None if estimate is None else LikelihoodWeighting(estimate)
    try:
        return query(asked.model, asked.targets, given=dict(asked.given), do=dict(asked.do), method=method)
    except TooLarge as error:
        raise too_large(error) from None


def too_large(error: TooLarge) -> ValueError:
    """As the command line says it."""
    return ValueError(f"{str(error).split(';')[0]}; --estimate 10000 estimates it from as many draws")


def draw(asked: Case, found: Answer, path: Path) -> None:
    """The network as a picture, what was found as bars."""
    from inference.diagnostics.drawing import draw_network

    title = found.question if asked.find else asked.network
    values = {v: array for v, array in found.values.items() if v in asked.variables}  # draws of a density have no bars
    figure = draw_network(_edges(asked), values, asked.given, asked.do, title=title)
    with beside(path) as draft:
        figure.savefig(draft, format=path.suffix[1:].lower(), dpi=150)


def _edges(asked: Case) -> Any:
    """What there is to draw: the graph, the densities of a network that has some as nodes of it."""
    if not asked.is_hybrid:
        return asked.model
    graph = nx.DiGraph()
    for v in asked.model.discrete.variables:
        graph.add_node(v)
        graph.add_edges_from((u, v) for u in asked.model.discrete.graph.get_parents(v))
    for name, node in asked.model.densities.items():
        graph.add_node(name)
        graph.add_edges_from((u, name) for u in node.parents)
    return graph


# ---- most probable explanation


def under(engine: Engine, do: Mapping[Hashable, Any]) -> tuple[Engine, Evidence]:
    """The engine of the graph after an intervention, and what that sets."""
    done = read_evidence(engine.variables, engine.factors.states, do, "do")
    if not done.codes:
        return engine, done
    cut = Engine(engine.factors.without_causes(done.codes), dtype=engine.dtype, budget=engine.budget)
    cut.done = frozenset(done.codes)
    return cut, done


def explain(asked: Case, best: int = 1) -> str:
    """The most probable states of the targets together, the best `best` of them, in words."""
    engine = asked.engine
    if best < 1:
        raise ValueError(f"--best is {best}, but at least one explanation was expected")
    try:
        found = engine.most_probable(dict(asked.given), asked.targets, dict(asked.do) or None, best=best)
    except TooLarge as error:
        raise ValueError(str(error).split(";")[0]) from None
    logs = found.log_probability[0]
    possible = int((logs > -torch.inf).sum())
    states = [_named(engine, found.variables, found.states[0, k]) for k in range(possible)]
    width = max(len(str(v)) for v in found.variables)
    lines = [f"most probable states{_conditions(asked)}: exact, by elimination"]
    lines += [f"  {v!s:<{width}}  {state}" for v, state in states[0].items()]
    lines.append(f"  probability {logs[0].exp():.4g}")
    for k in range(1, possible):
        other = ", ".join(f"{v} = {state}" for v, state in states[k].items() if state != states[0][v])
        lines.append(f"  {k + 1}. the same but {other}: probability {logs[k].exp():.4g}")
    if possible < best:
        lines.append(f"  there are no more: {possible} of {best} have a probability above zero")
    if asked.given:
        lines.append(f"  log evidence {float(found.log_evidence[0]):.4g} nats")
    return "\n".join(lines)


def _named(engine: Engine, variables: Sequence[Hashable], codes: Tensor) -> dict[Hashable, Any]:
    return {v: engine.states[v][code] for v, code in zip(variables, codes.tolist(), strict=True)}


def _conditions(asked: Case) -> str:
    known = [f"{v} = {state}" for v, state in asked.given.items()]
    known += [f"do({v} = {state})" for v, state in asked.do.items()]
    return f" given {', '.join(known)}" if known else ""


# ---- what to look at next


def worth(asked: Case) -> str:
    """What observing each variable is expected to tell of the target, the most telling first."""
    if len(asked.find) != 1:
        raise ValueError(f"--value-of is about one variable, so --find needs one, not {len(asked.find)}")
    target = asked.find[0]
    engine, done = under(asked.engine, asked.do)
    both = {**asked.given, **asked.do}
    check_targets(
        engine.variables,
        {target: (engine.variables[engine.position(target)],)},
        read_evidence(engine.variables, engine.factors.states, asked.given),
        done,
    )
    values = value_of_observation(engine, target, both).iloc[0]
    if not len(values):
        raise ValueError(f"every variable but {target!r} is known, so nothing is left to observe")
    unsure = float(entropy(engine, target, both)[0])
    width = max(len(str(v)) for v in values.index[:SHOWN])
    lines = [f"worth of observing, for {target}{_conditions(asked)}: exact, by elimination"]
    for v, nats in values.iloc[:SHOWN].items():
        share = f"  {max(nats, 0.0) / unsure:6.1%}" if unsure > 0 else ""
        lines.append(f"  {v!s:<{width}}  {max(nats, 0.0):.4f} nats{share}")
    if len(values) > SHOWN:
        lines.append(f"  ... {len(values) - SHOWN} that tell less")
    lines.append(f"  {target} itself is {unsure:.4f} nats uncertain")
    return "\n".join(lines)


# ---- the cost


def plan(asked: Case, seen: Sequence[Hashable] = (), explained: bool = False) -> str:
    """What the answer would cost; `seen` are further variables that are known, as columns of rows."""
    own = asked.engine
    cut, done = under(own, asked.do)
    known = {*read_evidence(own.variables, own.factors.states, asked.given).codes, *done.codes}
    hard = tuple(sorted(known | {own.position(v) for v in seen}))
    free = [v for v in asked.targets if v not in seen]
    roomy = Engine(cut.factors, dtype=own.dtype, budget=BEYOND)
    told = _plan(roomy, hard, [own.position(v) for v in free], explained)
    most = told.largest_table * own.dtype.itemsize
    fits = (
        f"it fits the budget of {in_bytes(own.budget)}"
        if most <= own.budget
        else f"a table of {in_bytes(most)} does not fit the budget of {in_bytes(own.budget)}: ask with --estimate DRAWS"
    )
    once = "" if told.entries else "\nnothing is known of a case, so all of that is computed once, not row by row"
    return f"{told}{once}\n{fits}"


def _plan(engine: Engine, hard: tuple[int, ...], targets: Sequence[int], explained: bool) -> Plan:
    clash = [engine.variables[v] for v in targets if v in hard]
    if clash:
        raise ValueError(f"{clash[0]!r} is both a target and known; leave one of them out")
    if not explained:
        return engine.plan([engine.variables[v] for v in hard], [engine.variables[v] for v in targets])
    ask = Ask(hard, traced=tuple(targets), maximised=tuple(targets), scaled=True)
    return plan_of(engine.program(ask), engine.dtype.itemsize)
