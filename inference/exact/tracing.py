"""Going back through the tables of an elimination: the most probable states, and draws."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inference.exact.evidence import MISSING, Evidence
from inference.exact.functional import run
from inference.exact.inputs import inputs
from inference.exact.program import Ask, Program, Slot
from inference.exact.values import static_values

if TYPE_CHECKING:
    from inference.exact.engine import Engine

Choose = Callable[[Tensor, Tensor], Tensor]
"""From P(v | what is assigned already), up to a constant, [states, M], and the rows [M]: a state for each."""


@dataclass(frozen=True)
class Block:
    """Some rows of evidence and every table that eliminating them left."""

    program: Program
    values: dict[int, Tensor]
    codes: Tensor
    log_value: Tensor

    def table(self, slot: Slot, rank: int, assigned: dict[int, Tensor], rows: Tensor) -> Tensor:
        """A table read at the states assigned, along the one axis that is not yet, [states, M]."""
        (count,) = self.program.cards([rank])
        along = torch.arange(count, device=rows.device)[:, None]
        where: list[Any] = [along if axis == rank else assigned[axis][None] for axis in slot.axes]
        if slot.batched:
            where.append(rows[None])
        place = {v: i for i, v in enumerate(self.program.ask.hard)}
        where += [self.codes[place[v]][rows][None] for v in slot.hard]
        return self.values[slot.index][tuple(where)].expand(count, len(rows))

    def traced(self, choose: Choose, rows: Tensor) -> dict[int, Tensor]:
        """The states [M] of each variable traced, for these rows (each may come many times)."""
        wanted = set(self.program.ask.traced)
        assigned: dict[int, Tensor] = {}
        for rank in reversed(range(len(self.program.buckets))):
            if self.program.ranked[rank] not in wanted:
                break  # what is summed out comes first, and so last here
            weights = None
            for slot in self.program.buckets[rank]:
                table = self.table(slot, rank, assigned, rows)
                weights = table if weights is None else weights * table
            assert weights is not None
            assigned[rank] = choose(weights, rows)
        return {self.program.ranked[rank]: states for rank, states in assigned.items()}


def blocks(engine: Engine, ask: Ask, evidence: Evidence) -> Iterator[Block]:
    """The rows in blocks that fit the budget."""
    program = engine.program(ask)
    static = static_values(program, engine.tables)
    codes, likelihoods = inputs(engine, ask, evidence)
    size = max(1, engine.budget // max(1, program.entries * engine.dtype.itemsize))
    for low in range(0, evidence.rows, size):
        part, seen = codes[:, low : low + size], likelihoods[:, low : low + size]
        values = run(program, static, part, seen)
        total = torch.zeros(part.shape[1], dtype=engine.dtype, device=engine.device)
        for root in program.roots:
            total = total + values[root.index].log()
        for scale in program.scales:
            total = total - values[scale.index].log()
        yield Block(program, values, part, total)


def most_probable(engine: Engine, evidence: Evidence, targets: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The jointly most probable states of the targets, [N, targets], and their log P(states, evidence), [N] nats."""
    ask = replace(_ask(evidence), traced=targets, maximised=targets)
    states, logs = [], []
    for block in blocks(engine, ask, evidence):
        rows = torch.arange(len(block.log_value), device=engine.device)
        found = block.traced(lambda weights, _: weights.argmax(0), rows)
        states.append(torch.stack([found[v] for v in targets], 1))
        logs.append(block.log_value)
    return torch.cat(states), torch.cat(logs)


def best_of_rows(engine: Engine, evidence: Evidence, targets: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """`best_of_row` for each row: states [N, K, targets] and [N, K]; where a row has fewer, -1 and -inf."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"best must be a positive number of explanations, not {count!r}")
    states = torch.full((evidence.rows, count, len(targets)), MISSING, device=engine.device)
    logs = torch.full((evidence.rows, count), -torch.inf, dtype=engine.dtype, device=engine.device)
    for row in range(evidence.rows):
        found, log = best_of_row(engine, evidence.take(torch.tensor([row])), targets, count)
        states[row, : len(found)], logs[row, : len(log)] = found, log
    return states, logs


def best_of_row(engine: Engine, one: Evidence, targets: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """The `count` most probable joint states of one row, best first: states [K, targets], log P(states, evidence).

    The space without the best states found is split, one variable after the other, into parts whose own best
    states are found at once: An Efficient Algorithm for Finding the M Most Probable Configurations in
    Probabilistic Expert Systems (Nilsson, 1998).
    """
    cards = engine.factors.structure.cards
    everything = {v: torch.ones(cards[v], dtype=engine.dtype) for v in targets}
    ties = itertools.count()
    heap: list[tuple[float, int, Tensor, dict[int, Tensor]]] = []

    def solve(parts: list[dict[int, Tensor]]) -> None:
        masks = {v: torch.stack([part[v] for part in parts]) for v in targets}
        states, logs = most_probable(engine, _masked(one, masks, len(parts)), targets)
        for part, found, log in zip(parts, states, logs.tolist(), strict=True):
            if log > -torch.inf:
                heapq.heappush(heap, (-log, next(ties), found, part))

    solve([everything])
    states: list[Tensor] = []
    logs: list[float] = []
    while heap and len(states) < count:
        log, _, found, part = heapq.heappop(heap)
        states.append(found)
        logs.append(-log)
        pieces = _split(part, found, targets)
        if pieces and len(states) < count:
            solve(pieces)
    found = torch.stack(states) if states else torch.empty(0, len(targets), dtype=torch.long)
    return found, torch.tensor(logs, dtype=engine.dtype)


def _split(part: dict[int, Tensor], found: Tensor, targets: tuple[int, ...]) -> list[dict[int, Tensor]]:
    """A part of the space without its best state: in piece i the first i variables are as found, the next is not."""
    pieces = []
    fixed = dict(part)
    for v, state in zip(targets, found.tolist(), strict=True):
        other = fixed[v].clone()
        other[state] = 0
        if other.any():
            pieces.append({**fixed, v: other})
        only = torch.zeros_like(other)
        only[state] = 1
        fixed[v] = only
    return pieces


def _masked(one: Evidence, masks: dict[int, Tensor], rows: int) -> Evidence:
    """One row many times over, each with its own states allowed."""
    many = one.take(torch.zeros(rows, dtype=torch.long))
    likelihoods = dict(many.likelihoods)
    for v, mask in masks.items():
        likelihoods[v] = likelihoods[v] * mask if v in likelihoods else mask
    return replace(many, likelihoods=likelihoods)


def draws(
    engine: Engine, evidence: Evidence, targets: tuple[int, ...], count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Independent draws from P(targets | evidence), [N, count, targets], and log P(evidence), [N]."""
    ask = replace(_ask(evidence), traced=targets)
    cards = engine.factors.structure.cards
    free = tuple(v for v in range(len(cards)) if v not in ask.hard)
    ask = replace(ask, traced=free)
    states, logs = [], []

    def choose(weights: Tensor, rows: Tensor) -> Tensor:
        total = weights.cumsum(0)
        uniform = torch.rand(len(rows), generator=generator, dtype=engine.dtype, device=engine.device)
        # a uniform draw of exactly 0 must not choose a state of weight 0
        return (total <= uniform * total[-1]).sum(0).clamp_(max=len(total) - 1)

    for block in blocks(engine, ask, evidence):
        rows = torch.arange(len(block.log_value), device=engine.device).repeat_interleave(count)
        found = block.traced(choose, rows)
        for i, v in enumerate(ask.hard):
            found[v] = block.codes[i][rows]
        states.append(torch.stack([found[v] for v in targets], 1).reshape(-1, count, len(targets)))
        logs.append(block.log_value)
    return torch.cat(states), torch.cat(logs)


def _ask(evidence: Evidence) -> Ask:
    """Which variables are known: in every row, or in some and as likelihoods."""
    seen = tuple(sorted(evidence.joint))
    soft = {*evidence.partly, *evidence.likelihoods, *(v for scope in seen for v in scope if v in evidence.codes)}
    hard = tuple(sorted(v for v in evidence.codes if v not in soft))
    return Ask(hard, tuple(sorted(soft)), scaled=True, seen=seen)
