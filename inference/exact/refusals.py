"""Evidence that can't be, refused with what contradicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.exact.evidence import MISSING, Evidence

if TYPE_CHECKING:
    from inference.exact.engine import Engine


def refuse_impossible(engine: Engine, evidence: Evidence, log_evidence: Tensor) -> None:
    if float(log_evidence.min()) > -torch.inf:
        return
    bad = ~(log_evidence > -torch.inf)
    row = int(bad.nonzero()[0])
    one = evidence.take(torch.tensor([row]))
    told: dict[bool, list[str]] = {True: [], False: []}
    for v in _conflict(engine, one):
        name = engine.variables[v]
        code = int(one.codes[v][0]) if v in one.codes else None
        said = f"{name} = {engine.factors.states[name][code]}" if code is not None else f"the likelihoods of {name}"
        told[v in engine.done].append(said)
    where = f"row {row}: " if evidence.rows > 1 else ""
    under = f" under do({', '.join(told[True])})" if told[True] else ""
    raise ValueError(f"{where}what is given has probability zero{under}: {', '.join(told[False])}")


def _conflict(engine: Engine, one: Evidence) -> list[int]:
    """The fewest variables of one impossible row that can't be together: none of them can be left out."""
    kept = [v for v in one.known if v not in one.codes or int(one.codes[v][0]) != MISSING]
    for v in list(kept):
        fewer = [u for u in kept if u != v]
        part = Evidence(
            1,
            {u: one.codes[u] for u in fewer if u in one.codes},
            {u: one.likelihoods[u] for u in fewer if u in one.likelihoods},
            joint={scope: each for scope, each in one.joint.items() if set(scope) <= set(fewer)},
        )
        if float(engine.run(part, (), (), "allow")[1]) == -torch.inf:
            kept = fewer
    return kept
