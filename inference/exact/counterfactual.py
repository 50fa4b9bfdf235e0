"""What would have been: abduction, action and prediction on tables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.exact.engine import Engine
from inference.exact.evidence import read_evidence
from inference.exact.factors import Factors, factors_of
from inference.exact.program import Structure
from inference.exact.results import Marginals


class Coupling(Protocol):
    """How a variable that came out one way under its parents comes out under other ones.

    Tables do not say: many mechanisms have the same. `table(p, q)` gives P(counterfactual state | factual state)
    for a row p of P(v | factual parents), [P, S], and each row q of P(v | counterfactual parents), [Q, S]:
    [P, Q, S factual, S counterfactual].
    """

    def table(self, p: Tensor, q: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Monotone:
    """One uniform noise a variable, read through its distribution function, the states in their order.

    For two states this is monotonicity: no case is worse off for having what raises the probability.
    Causality (Pearl, 2000), section 9.2.
    """

    def table(self, p: Tensor, q: Tensor) -> Tensor:
        below_p, below_q = _distribution_function(p), _distribution_function(q)
        low = torch.maximum(below_p[:, None, :-1, None], below_q[None, :, None, :-1])
        high = torch.minimum(below_p[:, None, 1:, None], below_q[None, :, None, 1:])
        overlap = (high - low).clamp(min=0)
        total = overlap.sum(-1, keepdim=True)
        return torch.where(total > 0, overlap / total, q[None, :, None, :].expand_as(overlap))


@dataclass(frozen=True)
class Independent:
    """Noise of its own for each state of the parents: what changes the parents draws the variable anew."""

    def table(self, p: Tensor, q: Tensor) -> Tensor:
        states = p.shape[1]
        anew = q[None, :, None, :].expand(len(p), len(q), states, states).clone()
        same = (torch.arange(len(p))[:, None] == torch.arange(len(q))[None, :]).to(p.device)
        anew[same] = torch.eye(states, dtype=p.dtype, device=p.device)
        return anew


def _distribution_function(p: Tensor) -> Tensor:
    below = torch.cat([p.new_zeros(len(p), 1), p.cumsum(1)], 1)
    below[:, -1] = 1
    return below


@dataclass(frozen=True)
class Twin:
    """The name, in a twin network, of a variable as it would have been."""

    variable: Hashable


def counterfactual(
    graph: Any, targets: Iterable[Hashable], given: Any, do: Any, coupling: Coupling | None = None
) -> Marginals:
    """P(target would have been | given, had do been set), for each target: `values[v]` is [N, states].

    What is given is of the world as it was, and may contradict `do`. What was seen tells of the noise behind
    each variable (abduction); the intervention cuts what causes the variables set (action); what follows from
    them comes out under the same noise (prediction): Causality (Pearl, 2000), section 7.1, by its twin network.
    Tables alone do not fix the noise: `coupling` says how, `Monotone()` by default, or `Independent()`.
    The log evidence is that of what is given, in nats.
    """
    factors = factors_of(graph.factors if isinstance(graph, Engine) else graph)
    done = read_evidence(factors.variables, factors.states, do, "do")
    if not done.codes or done.likelihoods:
        raise ValueError("do must set at least one variable to a state")
    twin, changed = twin_network(factors, tuple(sorted(done.codes)), coupling or Monotone())
    evidence = read_evidence(factors.variables, factors.states, given)
    place = twin.place
    codes = {place[Twin(factors.variables[v])]: column.expand(evidence.rows) for v, column in done.codes.items()}
    evidence = replace(evidence, codes={**evidence.codes, **codes})
    engine = Engine(twin)
    wanted = {}
    for v in targets:
        position = Engine.position(engine, v)
        if position in done.codes:
            raise ValueError(
                f"{v!r} is both a target and set by do, so its value is known; ask for it without setting it"
            )
        wanted[v] = Twin(v) if position in changed else v
    asked = [name for name in wanted.values() if place[name] not in evidence.codes]
    found = engine.marginals(evidence, asked)
    values = {
        v: found.values[name] if name in found.values else _certain(engine, evidence, name)
        for v, name in wanted.items()
    }
    return Marginals(values, found.log_evidence)


def _certain(engine: Engine, evidence: Any, name: Hashable) -> Tensor:
    """What was seen and can't have changed."""
    v = engine.position(name)
    return torch.nn.functional.one_hot(evidence.codes[v], engine.factors.structure.cards[v]).to(engine.dtype)


def twin_network(factors: Factors, set_: tuple[int, ...], coupling: Coupling) -> tuple[Factors, set[int]]:
    """The network beside itself under an intervention: what the intervention can change has a second variable.

    Returns the network and the variables, by position, that have one.
    """
    parents = factors.structure.parents
    if parents is None:
        raise ValueError("a counterfactual needs a directed graph: a Markov network says nothing of causes")
    changed = _descendants(parents, set_)
    order = [v for v in _topological(parents) if v in changed]
    n = len(factors.variables)
    twin_of = {v: n + i for i, v in enumerate(order)}
    variables = (*factors.variables, *(Twin(factors.variables[v]) for v in order))
    states: dict[Hashable, Sequence[Any]] = dict(factors.states)
    states.update({Twin(factors.variables[v]): factors.states[factors.variables[v]] for v in order})
    scopes, above, tables = list(factors.structure.scopes), list(parents), list(factors.tables)
    for v in order:
        if v in set_:
            mine: tuple[int, ...] = ()
            table = tables[v].new_ones(factors.structure.cards[v])
        else:
            mine, table = _twin_table(factors, v, twin_of, coupling)
        above.append(mine)
        scopes.append((*mine, twin_of[v]))
        tables.append(table)
    cards = (*factors.structure.cards, *(factors.structure.cards[v] for v in order))
    structure = Structure(cards, tuple(scopes), tuple(above))
    return Factors(variables, states, structure, tuple(tables)), changed


def _twin_table(
    factors: Factors, v: int, twin_of: dict[int, int], coupling: Coupling
) -> tuple[tuple[int, ...], Tensor]:
    """P(v's twin | v, its parents, the twins of those that have one) and whom it is given, in this order."""
    parents = factors.structure.parents[v]  # type: ignore[index]
    cards = [factors.structure.cards[p] for p in parents]
    table = factors.tables[v].detach()
    rows = table.reshape(-1, table.shape[-1])
    whole = coupling.table(rows, rows).reshape(*cards, *cards, table.shape[-1], table.shape[-1])
    kept = list(range(len(parents)))
    changed = [i for i in kept if parents[i] in twin_of]
    # a parent that can't change is the same in both worlds: the diagonal of its two axes
    labels = [*kept, *(len(parents) + i if i in changed else i for i in kept), 2 * len(parents), 2 * len(parents) + 1]
    out = [*kept, *(len(parents) + i for i in changed), 2 * len(parents), 2 * len(parents) + 1]
    joined = torch.einsum(whole, labels, out)
    return (*parents, *(twin_of[parents[i]] for i in changed), v), joined


def _descendants(parents: Sequence[Sequence[int]], start: Iterable[int]) -> set[int]:
    """These variables and all that come of them."""
    found = set(start)
    for v in _topological(parents):
        if any(p in found for p in parents[v]):
            found.add(v)
    return found


def _topological(parents: Sequence[Sequence[int]]) -> list[int]:
    order: list[int] = []
    placed: set[int] = set()
    waiting = list(range(len(parents)))
    while waiting:
        ready = [v for v in waiting if all(p in placed for p in parents[v])]
        order += ready
        placed.update(ready)
        waiting = [v for v in waiting if v not in placed]
    return order
