"""How much is known, and what would be worth observing: entropies and mutual information, in nats."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.exact.engine import Engine
from inference.exact.evidence import Evidence, read_evidence


def entropy(graph: Any, targets: Hashable, given: Any = None, do: Any = None) -> Tensor:
    """The entropy of P(targets | given, do), [N] nats; of the joint distribution for a tuple of targets."""
    engine = _engine(graph)
    several = targets if isinstance(targets, tuple) and targets not in engine.variables else (targets,)
    joint = engine.joint(given, several, do).values.flatten(1)
    return -torch.xlogy(joint, joint).sum(1)


def mutual_information(graph: Any, a: Hashable, b: Hashable, given: Any = None, do: Any = None) -> Tensor:
    """I(a; b | given), [N] nats: by how much knowing one is expected to lessen the entropy of the other."""
    joint = _engine(graph).joint(given, (a, b), do).values
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return (torch.xlogy(joint, joint) - torch.xlogy(joint, apart)).sum((1, 2))


def value_of_observation(
    graph: Any, target: Hashable, given: Any = None, candidates: Iterable[Hashable] | None = None
) -> pd.DataFrame:
    """What observing each candidate is worth for knowing the target: I(target; candidate | given) in nats.

    A row for each row of `given`, a column a candidate (by default every variable that is not known), the most
    valuable first by their mean. One pass serves all candidates: the target is set to each of its states.
    """
    engine = _engine(graph)
    evidence = read_evidence(engine.variables, engine.factors.states, given)
    t = engine.position(target)
    prior = engine.marginals(evidence, [target]).values[target]
    others = [v for v in range(len(engine.variables)) if v != t and v not in evidence.codes]
    if candidates is not None:
        others = [engine.position(v) for v in candidates]
    count = prior.shape[1]
    each = _with_each_state(evidence, t, count)
    found, _ = engine.run(each, tuple(others), (), impossible="allow")
    values, start = {}, 0
    for v in others:
        size = engine.factors.structure.cards[v]
        # a state of probability zero has no distribution to speak of, and no weight
        part = found[start : start + size].T.reshape(evidence.rows, count, size).nan_to_num(0.0)
        joint = prior[..., None] * part
        apart = prior[..., None] * joint.sum(1, keepdim=True)
        values[engine.variables[v]] = (torch.xlogy(joint, joint) - torch.xlogy(joint, apart)).sum((1, 2)).cpu()
        start += size
    frame = pd.DataFrame({v: column.numpy() for v, column in values.items()}, index=evidence.index)
    return frame[frame.mean().sort_values(ascending=False, kind="stable").index]


def _with_each_state(evidence: Evidence, v: int, count: int) -> Evidence:
    """Each row as many times as v has states, with v in each of them."""
    rows = torch.arange(evidence.rows).repeat_interleave(count)
    many = evidence.take(rows)
    codes = {**many.codes, v: torch.arange(count).repeat(evidence.rows)}
    return Evidence(len(rows), codes, many.likelihoods, None, many.joint)


def _engine(graph: Any) -> Engine:
    return graph if isinstance(graph, Engine) else Engine(graph)
