"""How far an answer hangs on each number in the tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from inference.exact import functional
from inference.exact.engine import Engine
from inference.exact.evidence import MISSING, Evidence, read_evidence, state_code
from inference.exact.inputs import inputs
from inference.exact.program import Ask
from inference.exact.values import static_values
from inference.near import near

COLUMNS = ["variable", "state", "given", "value", "derivative", "low", "high", "swing"]


@dataclass(frozen=True)
class Sensitivity:
    """The derivatives of one answer by every table entry, an array a variable, its axes (*parents, variable).

    An entry of a column that sums to one can't move alone. `derivative` is the usual one-way sensitivity: the
    column's other entries give way in proportion (evenly, where they are all zero). `raw` holds the others as they
    are. Tables that can't matter, being neither asked about, known, nor above what is, have derivative zero.

    Parameters:
        question: what was asked, in words.
        answer: a probability, or what `of` makes of several; for `target=None` log P(given), in nats.
        derivative, raw: of the answer, by variable.
        tables: P(variable | parents), the entries that the derivatives are by.
        evidence: the derivative of log P(given), the others in the column giving way, by variable.
        chances: the probabilities that the answer is made of, flat; none for log P(given).
        slopes: the derivative of each of them, the others in the column giving way, on a last axis, by variable.
        of: the answer, from those probabilities.
    """

    question: str
    answer: float
    derivative: Mapping[Hashable, xr.DataArray]
    raw: Mapping[Hashable, xr.DataArray]
    tables: Mapping[Hashable, xr.DataArray]
    evidence: Mapping[Hashable, xr.DataArray]
    chances: np.ndarray
    slopes: Mapping[Hashable, np.ndarray]
    of: Callable[[Tensor], Tensor]

    def __repr__(self) -> str:
        return f"Sensitivity({self.question} = {self.answer:.6g}, {sum(t.size for t in self.tables.values())} entries)"

    def moved(self, variable: Hashable, change: Any) -> np.ndarray:
        """The answer after each entry of this table, by itself, moves by `change`, the rest of its column giving way.

        Exact: with the column moving in proportion P(answer, given) and P(given) are linear in the entry.
        """
        if variable not in self.tables:
            raise ValueError(f"the network has no variable {variable!r}{near(variable, self.tables)}")
        change = np.broadcast_to(np.asarray(change, dtype=np.float64), self.tables[variable].shape)
        likelihood = 1 + self.evidence[variable].values * change
        with np.errstate(divide="ignore", invalid="ignore"):
            if not len(self.chances):
                return self.answer + np.log(likelihood)
            together = self.slopes[variable] + self.chances * self.evidence[variable].values[..., None]
            chances = (self.chances + together * change[..., None]) / likelihood[..., None]
        if len(self.chances) == 1:
            return chances[..., 0]
        found = [float(self.of(torch.from_numpy(each))) for each in chances.reshape(-1, chances.shape[-1])]
        return np.reshape(found, chances.shape[:-1])

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


def sensitivity(
    graph: Any,
    target: Any = None,
    *,
    state: Any = None,
    of: Callable[[Tensor], Tensor] | None = None,
    given: Any = None,
    do: Any = None,
) -> Sensitivity:
    """How P(target = state | given, do), or a number made of P(target | given, do), changes with every table entry.

        sensitivity(asia, "lung", state="yes", given={"xray": "yes"}).tornado()
        sensitivity(asia, "lung", of=lambda p: torch.special.entr(p).sum())

    Parameters:
        graph: a directed network: pgmpy's `DiscreteBayesianNetwork`, or a `Tabular` model.
        target: a variable, or a mapping of several to states (their joint event); None asks for log P(given).
        state: the target's state.
        of: instead of a state, a number made of the target's distribution [states] by torch: its entropy, an expected
            cost. A tuple of targets has a joint distribution, [*states].
        given, do: one row of evidence and of interventions, as `Engine.marginals` takes them.

    References:
        Sensitivity analysis of probabilistic networks (van der Gaag, Renooij and Coupe, 2007)
        A Differential Approach to Inference in Bayesian Networks (Darwiche, 2003)
    """
    engine = graph if isinstance(graph, Engine) else Engine(graph, executor="torch")
    if engine.factors.structure.parents is None:
        raise ValueError("sensitivity needs a directed network: its entries are those of P(variable | parents)")
    asked, shape, event, of = _asked(engine, target, state, of)
    cut, evidence = engine.under(given, do)
    if evidence.rows != 1:
        raise ValueError(f"sensitivity is of one answer: give one row of evidence, not {evidence.rows}")
    if not asked and not evidence.known:
        raise ValueError("sensitivity needs a target, or evidence whose probability is asked for")
    _refuse_known(engine, asked, evidence)
    cut.log_evidence(evidence)  # raises where the evidence is impossible
    chances, by_chance, by_log = _gradients(cut, evidence, asked, event)
    tables = [t.double().cpu().numpy() for t in engine.tables]
    # an intervention cuts a variable's table out of the graph: nothing hangs on it
    for v in read_evidence(engine.variables, engine.factors.states, do or None, "do").known:
        for gradients in (*by_chance, by_log):
            gradients[v] = np.zeros_like(tables[v])
    ways = [[_giving_way(t, g) for t, g in zip(tables, each, strict=True)] for each in by_chance]
    log_way = [_giving_way(t, g) for t, g in zip(tables, by_log, strict=True)]
    flat = of if len(chances) < 2 else (lambda p: of(p.reshape(shape)))
    answer, weights = _value(flat, chances)
    if not asked:
        answer, raw, way = float(cut.log_evidence(evidence)), by_log, log_way
    else:
        raw, way = _mixed(weights, by_chance), _mixed(weights, ways)
    label = _labels(engine)
    slopes = {name: np.stack([each[v] for each in ways], -1) for v, name in enumerate(engine.variables) if ways}
    words = _in_words(engine, asked, event, given, do)
    return Sensitivity(words, answer, label(way), label(raw), label(tables), label(log_way), chances, slopes, flat)


def _asked(
    engine: Engine, target: Any, state: Any, of: Callable[[Tensor], Tensor] | None
) -> tuple[tuple[int, ...], list[int], tuple[int, ...], Callable[[Tensor], Tensor]]:
    """The targets' positions, how many states they have, the codes of the event or none, and what is made of them."""
    if target is None:
        if of is not None or state is not None:
            raise ValueError("of and state are about a target: name one")
        return (), [], (), torch.sum
    if of is not None:
        if state is not None or isinstance(target, Mapping):
            raise ValueError("give a state or of, not both: of is made of the whole distribution")
        several = target if isinstance(target, tuple) and target not in engine.variables else (target,)
        asked = tuple(engine.position(v) for v in several)
        return asked, [engine.factors.structure.cards[v] for v in asked], (), of
    event = _event(engine, target if isinstance(target, Mapping) else {target: state})
    return tuple(event), [], tuple(event.values()), torch.sum


def _event(engine: Engine, named: Mapping[Hashable, Any]) -> dict[int, int]:
    """The codes of the states that the targets take, by position."""
    event = {}
    for v, each in named.items():
        place = engine.position(v)
        names = engine.factors.states[engine.variables[place]]
        if each is None:
            raise ValueError(f"sensitivity is of one number: give the state of {v!r}, {' or '.join(map(str, names))}")
        event[place] = state_code(v, each, names, "target")
    return event


def _value(of: Callable[[Tensor], Tensor], chances: np.ndarray) -> tuple[float, np.ndarray]:
    """The answer, and its derivative by each probability that it is made of."""
    if not len(chances):
        return 0.0, chances
    leaves = torch.from_numpy(chances).clone().requires_grad_()
    with torch.enable_grad():
        value = of(leaves)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise TypeError("of must give one number, a tensor made of the distribution it is given")
        if not value.requires_grad:
            return float(value), np.zeros_like(chances)
        (weights,) = torch.autograd.grad(value.sum(), leaves)
    return float(value.detach()), weights.numpy()


def _mixed(weights: np.ndarray, parts: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Derivatives by the tables, table by table, of what is made of several probabilities."""
    return [sum(w * each for w, each in zip(weights, table, strict=True)) for table in zip(*parts, strict=True)]


def _refuse_known(engine: Engine, asked: tuple[int, ...], evidence: Evidence) -> None:
    for v in asked:
        if v in evidence.codes and int(evidence.codes[v][0]) != MISSING:
            name = engine.variables[v]
            raise ValueError(
                f"{name!r} is both a target and given, so its value is known; ask for it without giving it"
            )


def _gradients(
    engine: Engine, evidence: Evidence, asked: tuple[int, ...], event: tuple[int, ...]
) -> tuple[np.ndarray, list[list[np.ndarray]], list[np.ndarray]]:
    """The event's probability or those of all joint states; the derivatives by the tables, and of log P(evidence)."""
    codes = {v: c for v, c in evidence.codes.items() if int(c[0]) != MISSING and v not in evidence.likelihoods}
    seen = tuple(sorted(evidence.joint))
    soft = {*evidence.likelihoods, *(v for scope in seen for v in scope if v in codes)}
    hard = tuple(sorted(v for v in codes if v not in soft))
    ask = Ask(hard, tuple(sorted(soft)), joint=asked, scaled=True, seen=seen)
    program = engine.program(ask)
    tables = [table.clone().requires_grad_() for table in engine.tables]
    with torch.enable_grad():
        values = functional.run(program, static_values(program, tables), *inputs(engine, ask, evidence))
        found = functional.output(program, values, 1)
        chances = found.log_evidence.new_empty(0)
        if found.joint is not None:
            order = program.joint_order
            joint = found.joint.reshape([engine.factors.structure.cards[v] for v in order])
            joint = joint.permute([order.index(v) for v in asked])
            chances = joint[event].reshape(1) if event else joint.reshape(-1)
        by_chance = [_by_tables(chance, tables) for chance in chances]
        return chances.detach().double().cpu().numpy(), by_chance, _by_tables(found.log_evidence[0], tables)


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


def _in_words(engine: Engine, asked: tuple[int, ...], event: tuple[int, ...], given: Any, do: Any) -> str:
    names = [engine.variables[v] for v in asked]
    if event:
        states = engine.factors.states
        names = [f"{name} = {states[name][code]}" for name, code in zip(names, event, strict=True)]
    known = [str(name) for name in given] if given is not None else []
    done = [f"do({', '.join(map(str, do))})"] if do is not None and len(do) else []
    told = ", ".join([*known, *done])
    if not asked:
        return f"log P({told})"
    said = f"P({', '.join(map(str, names))}{' | ' if told else ''}{told})"
    return said if event else f"of {said}"
