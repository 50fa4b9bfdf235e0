"""Questions to a graph of tables, answered exactly by elimination."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from inference.exact.cache import engine_of
from inference.exact.engine import Engine
from inference.exact.evidence import MISSING, Evidence, read_evidence, state_code
from inference.near import near
from inference.protocols import Tabular, graph_of, offers
from inference.query.answer import Answer
from inference.query.question import Question


def answers(question: Question) -> bool:
    model = question.model
    return isinstance(model, Engine) or offers(model, Tabular) or is_graph(model)


def is_graph(model: Any) -> bool:
    """Whether this is a pgmpy graph of tables, or holds one."""
    return graph_of(model) is not None or hasattr(model, "get_factors")


def answer(question: Question) -> Answer:
    """A distribution for each target, and log P(given | do), for one case or for many rows of evidence.

    An intervention do(v = s) cuts the edges into v and sets it, so that P(target | given, do) is that of the
    truncated factorisation: Causality (Pearl, 2000), section 3.2.
    """
    if question.context is not None:
        raise ValueError("a network takes no context: give what is known of its variables in `given`")
    engine = engine_of(question.model)
    given = read_evidence(engine.variables, engine.factors.states, question.given)
    do = read_evidence(engine.variables, engine.factors.states, question.do, "do")
    targets = {target: variables_of(engine.variables, target) for target in question.targets}
    check_targets(engine.variables, targets, given, do)
    singles = [target for target, names in targets.items() if len(names) == 1]
    done = do if do.known else None  # without an intervention no graph is cut, and a Markov network has none to cut
    found = engine.marginals(given, [targets[t][0] for t in singles], done)
    values, log_evidence = {t: found.values[targets[t][0]] for t in singles}, found.log_evidence
    for target, names in targets.items():
        if len(names) > 1:
            values[target] = engine.joint(given, names, done).values
    rows = row_index(question, given, do)
    return Answer(
        str(_by_name(question, engine)),
        {target: labelled(engine.states, values[target], targets[target], rows) for target in targets},
        "elimination",
        "exact",
        float(log_evidence[0]) if rows is None else by_row(log_evidence, rows),
    )


def _by_name(question: Question, engine: Engine) -> Question:
    """The question with states given by code told by name."""

    def told(v: Hashable, value: Any, where: str) -> Any:
        if getattr(value, "ndim", 0) or isinstance(value, list | tuple):
            return value
        code = state_code(v, value, engine.factors.states[v], where)
        return "unknown" if code == MISSING else engine.factors.states[v][code]

    given = {v: told(v, value, "given") for v, value in question.given.items()}
    return replace(question, given=given, do={v: told(v, value, "do") for v, value in question.do.items()})


def variables_of(known: Sequence[Hashable], target: Hashable) -> tuple[Hashable, ...]:
    """The variables that a target names: itself, or those of a tuple."""
    names = (target,) if target in known or not isinstance(target, tuple) else target
    for v in names:
        if v not in known:
            raise ValueError(f"the network has no variable {v!r} to ask for{near(v, known)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a joint target names different variables, not {target!r}")
    return names


def check_targets(names: Sequence[Hashable], targets: Mapping, given: Evidence, do: Evidence) -> None:
    """Refuse what is asked and known at once."""
    asked = {v for each in targets.values() for v in each}
    known, done = {names[v] for v in given.wholly}, {names[v] for v in do.codes}
    for these, those, message in (
        (known, done, "is both given and set by do; keep one of them"),
        (asked, known, "is both a target and given, so its value is known; ask for it without giving it"),
        (asked, done, "is both a target and set by do, so its value is known; ask for it without setting it"),
    ):
        for v in these:
            if v in those:
                raise ValueError(f"{v!r} {message}")


def row_index(question: Question, given: Evidence, do: Evidence) -> np.ndarray | None:
    """Labels of the rows; None for a single case, every part of which was given by one state's name."""
    parts = [*question.given.values(), *question.do.values()]
    if all(getattr(part, "ndim", 0) == 0 and not isinstance(part, list | tuple) for part in parts):
        return None
    index = next((part.index for part in parts if isinstance(part, pd.Series)), None)
    return np.arange(max(given.rows, do.rows)) if index is None else np.asarray(index)


def labelled(
    states: Mapping[Hashable, Sequence], values: Tensor, names: tuple[Hashable, ...], rows: np.ndarray | None
) -> xr.DataArray:
    """Probabilities with their states' names, [states...], or [row, states...] for many rows."""
    coords: dict[Hashable, Any] = {v: _labels(list(states[v])) for v in names}
    array = values.cpu().numpy()
    if rows is None:
        return xr.DataArray(array[0], dims=names, coords=coords, name="probability")
    return xr.DataArray(array, dims=("row", *names), coords={"row": rows, **coords}, name="probability")


def by_row(values: Tensor, rows: np.ndarray) -> xr.DataArray:
    """A number a row."""
    return xr.DataArray(values.cpu().numpy(), dims="row", coords={"row": rows}, name="log_evidence")


def _labels(names: list) -> np.ndarray:
    if all(isinstance(name, str) for name in names):
        return np.array(names)
    labels = np.empty(len(names), dtype=object)
    labels[:] = names
    return labels
