"""How far an answer hangs on each number in the tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from inference.exact import functional
from inference.exact.engine import Engine
from inference.exact.evidence import MISSING, Evidence, near, read_evidence, state_code
from inference.exact.program import Ask
from inference.exact.values import static_values

COLUMNS = ["variable", "state", "given", "value", "derivative", "low", "high", "swing"]


@dataclass(frozen=True)
class Sensitivity:
    """The derivatives of one answer by every table entry, an array a variable, its axes (*parents, variable).

    An entry of a column that sums to one can't move alone. `derivative` is the usual one-way sensitivity: the
    column's other entries give way in proportion (evenly, where they are all zero). `raw` holds the others as they
    are. Tables that can't matter, being neither asked about, known, nor above what is, have derivative zero.

    Parameters:
        question: what was asked, in words.
        answer: a probability; for `target=None` log P(given), in nats.
        derivative, raw: of the answer, by variable.
        tables: P(variable | parents), the entries that the derivatives are by.
        evidence: the derivative of log P(given), the others in the column giving way, by variable.
    """

    question: str
    answer: float
    derivative: Mapping[Hashable, xr.DataArray]
    raw: Mapping[Hashable, xr.DataArray]
    tables: Mapping[Hashable, xr.DataArray]
    evidence: Mapping[Hashable, xr.DataArray]
    logarithmic: bool = False

    def __repr__(self) -> str:
        return f"Sensitivity({self.question} = {self.answer:.6g}, {sum(t.size for t in self.tables.values())} entries)"

    def moved(self, variable: Hashable, change: Any) -> np.ndarray:
        """The answer after each entry of this table, by itself, moves by `change`, the rest of its column giving way.

        Exact: with the column moving in proportion P(answer, given) and P(given) are linear in the entry.
        """
        if variable not in self.tables:
            raise ValueError(f"the network has no variable {variable!r}{near(variable, self.tables)}")
        change = np.asarray(change, dtype=np.float64)
        likelihood = 1 + self.evidence[variable].values * change
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.logarithmic:
                return self.answer + np.log(likelihood)
            slope = self.derivative[variable].values + self.answer * self.evidence[variable].values
            return (self.answer + slope * change) / likelihood

    def tornado(self, count: int | None = 10, *, odds: float = 2.0) -> pd.DataFrame:
        """The entries that matter most: what the answer becomes where the odds of one are divided or multiplied.

        A row an entry: its value, the derivative, the answer with its odds divided by `odds` (low) and multiplied
        by it (high), and how far those are apart. So a change means the same for an entry near 0 or 1 as for
        its complement; what is certain stays certain. `count=None` gives all entries.

        References:
            When do numbers really matter? (Chan and Darwiche, 2002)
        """
        if not odds > 1:
            raise ValueError(f"odds is a factor above 1, not {odds}")
        rows: list[tuple] = []
        for v, table in self.tables.items():
            values = table.values
            low, high = (self.moved(v, _at_odds(values, factor) - values) for factor in (1 / odds, odds))
            names = [table.coords[dim].values for dim in table.dims]
            for place in np.ndindex(values.shape):
                *above, state = (name[i] for name, i in zip(names, place, strict=True))
                told = ", ".join(f"{p} = {s}" for p, s in zip(table.dims[:-1], above, strict=True))
                slope, ends = self.derivative[v].values[place], (low[place], high[place])
                rows.append((v, state, told, values[place], slope, *ends, abs(ends[1] - ends[0])))
        frame = pd.DataFrame(rows, columns=COLUMNS).sort_values("swing", ascending=False, kind="stable")
        return frame.head(len(frame) if count is None else count).reset_index(drop=True)


def sensitivity(graph: Any, target: Any = None, *, state: Any = None, given: Any = None, do: Any = None) -> Sensitivity:
    """How P(target = state | given, do) changes with every table entry.

        sensitivity(asia, "lung", state="yes", given={"xray": "yes"}).tornado()

    Parameters:
        graph: a directed network: pgmpy's `DiscreteBayesianNetwork`, or a `Tabular` model.
        target: a variable, or a mapping of several to states (their joint event); None asks for log P(given).
        state: the target's state.
        given, do: one row of evidence and of interventions, as `Engine.marginals` takes them.

    References:
        Sensitivity analysis of probabilistic networks (van der Gaag, Renooij and Coupe, 2007)
        A Differential Approach to Inference in Bayesian Networks (Darwiche, 2003)
    """
    engine = graph if isinstance(graph, Engine) else Engine(graph, executor="torch")
    if engine.factors.structure.parents is None:
        raise ValueError("sensitivity needs a directed network: its entries are those of P(variable | parents)")
    event = _event(engine, target, state)
    cut, evidence = engine._under(given, do)
    if evidence.rows != 1:
        raise ValueError(f"sensitivity is of one answer: give one row of evidence, not {evidence.rows}")
    if not event and not evidence.known:
        raise ValueError("sensitivity needs a target, or evidence whose probability is asked for")
    _refuse_known(engine, event, evidence)
    cut.log_evidence(evidence)  # raises where the evidence is impossible
    answer, raw, log_raw = _gradients(cut, evidence, event)
    fixed = set() if not do else set(read_evidence(engine.variables, engine.factors.states, do, "do").known)
    tables = [t.double().cpu().numpy() for t in engine.tables]
    # an intervention cuts a variable's table out of the graph: nothing hangs on it
    raw, log_raw = (
        [np.zeros_like(t) if v in fixed else g for v, (t, g) in enumerate(zip(tables, gradients, strict=True))]
        for gradients in (raw, log_raw)
    )
    label = _labels(engine)
    return Sensitivity(
        _in_words(engine, event, given, do),
        answer,
        label([_giving_way(t, g) for t, g in zip(tables, raw, strict=True)]),
        label(raw),
        label(tables),
        label([_giving_way(t, g) for t, g in zip(tables, log_raw, strict=True)]),
        not event,
    )


def _event(engine: Engine, target: Any, state: Any) -> dict[int, int]:
    """The codes of the states that the target takes, by position."""
    if target is None:
        return {}
    named = target if isinstance(target, Mapping) else {target: state}
    event = {}
    for v, each in named.items():
        place = engine.position(v)
        names = engine.factors.states[v]
        if each is None:
            raise ValueError(f"sensitivity is of one number: give the state of {v!r}, {' or '.join(map(str, names))}")
        event[place] = state_code(v, each, names, "target")
    return event


def _refuse_known(engine: Engine, event: Mapping[int, int], evidence: Evidence) -> None:
    for v in event:
        if v in evidence.codes and int(evidence.codes[v][0]) != MISSING:
            name = engine.variables[v]
            raise ValueError(
                f"{name!r} is both a target and given, so its value is known; ask for it without giving it"
            )


def _gradients(
    engine: Engine, evidence: Evidence, event: Mapping[int, int]
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """The answer, and the derivatives by the tables of it and of log P(evidence)."""
    codes = {v: c for v, c in evidence.codes.items() if int(c[0]) != MISSING and v not in evidence.likelihoods}
    seen = tuple(sorted(evidence.joint))
    soft = {*evidence.likelihoods, *(v for scope in seen for v in scope if v in codes)}
    hard = tuple(sorted(v for v in codes if v not in soft))
    ask = Ask(hard, tuple(sorted(soft)), joint=tuple(event), scaled=True, seen=seen)
    program = engine.program(ask)
    tables = [table.clone().requires_grad_() for table in engine.tables]
    with torch.enable_grad():
        values = functional.run(program, static_values(program, tables), *engine.inputs(ask, evidence))
        found = functional.output(program, values, 1)
        answer = log_evidence = found.log_evidence[0]
        if found.joint is not None:
            cards = [engine.factors.structure.cards[v] for v in program.joint_order]
            answer = found.joint.reshape(cards)[tuple(event[v] for v in program.joint_order)]
        return float(answer.detach()), _by_tables(answer, tables), _by_tables(log_evidence, tables)


def _by_tables(value: Tensor, tables: list[Tensor]) -> list[np.ndarray]:
    if not value.requires_grad:
        return [np.zeros(table.shape) for table in tables]
    found = torch.autograd.grad(value, tables, retain_graph=True, allow_unused=True)
    return [
        np.zeros(table.shape) if each is None else each.double().cpu().numpy()
        for table, each in zip(tables, found, strict=True)
    ]


def _giving_way(table: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The derivative by an entry when the others in its column (the last axis) shrink in proportion as it grows."""
    states = table.shape[-1]
    if states == 1:
        return np.zeros_like(table)
    others = 1 - table
    weighted = (table * gradient).sum(-1, keepdims=True) - table * gradient
    even = (gradient.sum(-1, keepdims=True) - gradient) / (states - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return gradient - np.where(others > 0, weighted / others, even)


def _at_odds(values: np.ndarray, factor: float) -> np.ndarray:
    """Probabilities whose odds are multiplied."""
    return factor * values / (factor * values + 1 - values)


def _labels(engine: Engine) -> Any:
    factors = engine.factors
    parents = factors.structure.parents or ()

    def label(arrays: list[np.ndarray]) -> dict[Hashable, xr.DataArray]:
        found = {}
        for v, array in enumerate(arrays):
            dims = [factors.variables[u] for u in (*parents[v], v)]
            coords = {name: list(factors.states[name]) for name in dims}
            found[factors.variables[v]] = xr.DataArray(array, coords=coords, dims=dims, name=str(factors.variables[v]))
        return found

    return label


def _in_words(engine: Engine, event: Mapping[int, int], given: Any, do: Any) -> str:
    asked = ", ".join(
        f"{engine.variables[v]} = {engine.factors.states[engine.variables[v]][c]}" for v, c in event.items()
    )
    conditions = [", ".join(map(str, given)) if given is not None and len(given) else "", _done(do)]
    told = ", ".join(each for each in conditions if each)
    if not event:
        return f"log P({told})"
    return f"P({asked} | {told})" if told else f"P({asked})"


def _done(do: Any) -> str:
    return f"do({', '.join(map(str, do))})" if do is not None and len(do) else ""
