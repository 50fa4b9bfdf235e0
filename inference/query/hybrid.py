"""Questions to a network of tables and densities: exact elimination, with what was observed as its likelihood."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.near import near
from inference.protocols import Hybrid, offers
from inference.query.answer import Answer
from inference.query.observed import Case
from inference.query.question import Question


def answers(question: Question) -> bool:
    model = question.model
    if not offers(model, Hybrid):
        return False
    whole = question.targets == ("x",) and not question.given and not question.do  # draws of rows, as of any model
    return not whole or "x" in [*model.discrete.variables, *model.densities]


def answer(question: Question) -> Answer:
    """P(target | given, do) of discrete targets; draws of a target that is a density.

    An observed density y is a likelihood of its discrete parents, p(y | parents), which enters elimination as soft
    evidence: the answer is exact where that likelihood is. A density that is not observed has no say. Draws of one
    are of the exact mixture: its discrete parents together, by elimination, then the density given them.
    """
    model = question.model
    if question.context is not None:
        raise ValueError("a network takes no context: give what is known of its variables in `given`")
    targets = {target: _variables(model, target) for target in question.targets}
    drawn = [target for target, names in targets.items() if names[0] in model.densities]
    with asking(model, question.seed):
        case = Case(model, question.given, question.do)
        values = {t: _draws(case, t, question.draws) if t in drawn else _mass(case, t, v) for t, v in targets.items()}
        log_evidence = case.log_evidence() if question.given else None
    method = "variable elimination" + (f", with the likelihood of {_list(case.seen)}" if case.seen else "")
    if drawn:
        method = f"{question.draws} draws of {_list(drawn)} given discrete parents, those drawn by {method}"
    loose = [f"{name} ({kind})" for name, kind in case.seen.items() if kind != "exact"]
    warned = (f"not exact, for the likelihood of {_list(loose)} is not",) if loose else ()
    evidence = None
    if log_evidence is not None:
        evidence = _labelled(case, log_evidence, (), ()) if case.batched else float(log_evidence)
    kind = "estimate" if drawn or loose else "exact"
    return Answer(str(question), values, method, kind, evidence, warnings=warned)


def _variables(model: Any, target: Hashable) -> tuple[Hashable, ...]:
    known = [*model.discrete.variables, *model.densities]
    names = (target,) if target in known or not isinstance(target, tuple) else target
    for name in names:
        if name not in known:
            raise ValueError(f"the network has no variable {name!r} to ask for{near(name, known)}")
    if len(names) > 1 and any(name in model.densities for name in names):
        raise ValueError(f"a joint target is of discrete variables, but {target!r} names a density; ask for it alone")
    return names


def _mass(case: Case, target: Hashable, names: tuple[Hashable, ...]) -> xr.DataArray:
    """P(names | given), their axes after that of the rows."""
    values = case.joint(names) if isinstance(target, tuple) and target == names else case.marginal(names[0])
    return _labelled(case, values, names, [case.states[name] for name in names], "probability")


def _draws(case: Case, target: Hashable, draws: int) -> xr.DataArray:
    x = case.draws(str(target), draws)
    dims = ("draw", *(f"{target}_dim_{i}" for i in range(x.dim() - 2)))
    return _labelled(case, x, dims, [np.arange(size) for size in x.shape[1:]])


def _labelled(
    case: Case, values: Tensor, dims: Sequence[Hashable], coords: Sequence[Any], name: str = "value"
) -> xr.DataArray:
    """Values [N, ...] with their axes named; the only row of a question about one is no axis."""
    array = values.detach().cpu().numpy()
    named = {dim: _labels(coord) for dim, coord in zip(dims, coords, strict=True)}
    if not case.batched:
        return xr.DataArray(array[0], dims=tuple(dims), coords=named, name=name)
    rows = np.arange(len(array)) if case.evidence.index is None else case.evidence.index
    return xr.DataArray(array, dims=("row", *dims), coords={"row": rows, **named}, name=name)


def _labels(names: Any) -> np.ndarray:
    if isinstance(names, np.ndarray) or all(isinstance(name, str) for name in names):
        return np.asarray(names)
    labels = np.empty(len(names), dtype=object)
    labels[:] = names
    return labels


def _list(names: Any) -> str:
    return ", ".join(map(str, names))
