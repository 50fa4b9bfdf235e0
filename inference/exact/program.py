"""A query compiled: a straight line of sums of products of tables, the same for every row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inference.exact.ordering import Order, cheapest_order

LARGEST_TABULATED = 4096
"""Entries up to which tables that depend on evidence are combined, for all its values, before any row is seen."""


@dataclass(frozen=True)
class Structure:
    """The tables of a graph without their numbers.

    Parameters:
        cards: how many states each variable has.
        scopes: the variables of each table, in the order of its axes.
        parents: for a directed graph the parents of each variable, `scopes[v]` then being (*parents[v], v).
    """

    cards: tuple[int, ...]
    scopes: tuple[tuple[int, ...], ...]
    parents: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Ask:
    """What is asked, by the positions of variables.

    Parameters:
        hard: observed in every row; cut out of the graph.
        soft: with a likelihood vector in every row, ones where nothing is known.
        marginals: those whose distribution is wanted.
        joint: those whose joint distribution is wanted; none, or at least one.
        scaled: whether messages are divided by their greatest entry row by row, against underflow.
        traced: those to be assigned values one after the other, from the last eliminated to the first.
        maximised: those of them whose greatest value is sought, instead of being summed out.
        seen: several variables each, with a joint likelihood in every row: P(what was seen | these variables).
    """

    hard: tuple[int, ...] = ()
    soft: tuple[int, ...] = ()
    marginals: tuple[int, ...] = ()
    joint: tuple[int, ...] = ()
    scaled: bool = False
    traced: tuple[int, ...] = ()
    maximised: tuple[int, ...] = ()
    seen: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True, eq=False)
class Slot:
    """A table in the program, static or one for each row.

    `axes` are ranks, that is places in the order of elimination, the last eliminated first. A static table may
    still depend on observed variables, `hard`; each row then reads its own part of it.
    """

    index: int
    axes: tuple[int, ...]
    size: int
    batched: bool
    hard: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Op:
    """out = what `kind` says of a and b.

    "contract": the product of a and b (or a alone) summed over all axes that `out` lacks; "maximise": its
    greatest entry over them. "gather": each row's part of the static table a. "scale": a divided by its row's
    greatest entry, whose inverse is b. "inverse": 1 / a.
    """

    kind: str
    out: Slot
    a: Slot
    b: Slot | None = None


@dataclass(eq=False)
class Program:
    """What to compute once (`static`) and what for each row (`batched`), in this order.

    `tables` and `likelihoods` are the inputs: (slot, table) and (slot, its variables in the order of `axes`). The
    log probability of the evidence is the sum of log `roots` less that of log `scales`. `marginals` holds
    P(v | evidence) by variable; `joint` is P(joint variables | evidence), its axes in the order `joint_order`.
    """

    structure: Structure
    ask: Ask
    order: Order
    ranked: tuple[int, ...]
    slots: list[Slot] = field(default_factory=list)
    tables: list[tuple[Slot, int]] = field(default_factory=list)
    likelihoods: list[tuple[Slot, tuple[int, ...]]] = field(default_factory=list)
    static: list[Op] = field(default_factory=list)
    batched: list[Op] = field(default_factory=list)
    roots: list[Slot] = field(default_factory=list)
    scales: list[Slot] = field(default_factory=list)
    marginals: dict[int, Slot] = field(default_factory=dict)
    joint: Slot | None = None
    buckets: list[list[Slot]] = field(default_factory=list)

    @property
    def joint_order(self) -> tuple[int, ...]:
        return tuple(self.ranked[rank] for rank in self.joint.axes) if self.joint is not None else ()

    def cards(self, ranks: Iterable[int]) -> list[int]:
        """The lengths of these axes."""
        cards, ranked = self.structure.cards, self.ranked
        return [cards[ranked[rank]] for rank in ranks]

    @property
    def entries(self) -> int:
        """Table entries a row, all of them kept."""
        return sum(slot.size for slot in self.slots if slot.batched)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds a row."""
        total = 0
        for op in self.batched:
            axes = set(op.a.axes) | set(op.b.axes if op.b is not None else ())
            total += math.prod(self.cards(axes))
        return total


def compile_program(structure: Structure, ask: Ask) -> Program:
    """The program of a question: bucket elimination up, and its derivative, taken symbolically, down.

    Bucket Elimination: A Unifying Framework for Reasoning (Dechter, 1999); A Differential Approach to
    Inference in Bayesian Networks (Darwiche, 2003).
    """
    kept = _relevant(structure, ask)
    hard = set(ask.hard)
    scopes = [[v for v in structure.scopes[t] if v not in hard] for t in kept]
    scopes += [[v] for v in ask.soft] + [list(scope) for scope in ask.seen]
    order = cheapest_order(scopes, structure.cards, ask.joint, ask.maximised)
    return _Compiler(structure, ask, order, kept).program


def _relevant(structure: Structure, ask: Ask) -> list[int]:
    """The tables that matter: those of ancestors of what is asked or known; a barren table sums to one."""
    if structure.parents is None:
        return list(range(len(structure.scopes)))
    seen: set[int] = set()
    stack = [*ask.hard, *ask.soft, *ask.marginals, *ask.joint, *ask.traced, *(v for scope in ask.seen for v in scope)]
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            stack.extend(structure.parents[v])
    return sorted(seen)


class _Compiler:
    """Builds one program; thrown away after it."""

    def __init__(self, structure: Structure, ask: Ask, order: Order, kept: Sequence[int]) -> None:
        self.structure, self.ask, self.maximised = structure, ask, set(ask.maximised)
        ranked = (*order.variables, *sorted(ask.joint))
        self.program = Program(structure, ask, order, ranked)
        self.card = [structure.cards[v] for v in ranked]
        self.consumer: dict[int, Op] = {}
        self.gathered: dict[int, Slot] = {}
        self.wanted: set[int] = set()
        self.sources: list[tuple[int, Slot]] = []
        eliminated = len(order.variables)
        buckets: list[list[Slot]] = [[] for _ in range(eliminated + 1)]
        self.buckets, self.last = buckets, eliminated
        self._inputs(kept)
        asked = set(ask.marginals)
        for rank in range(eliminated):
            self._eliminate(rank, ranked[rank] in asked)
        if ask.joint:
            self._join(buckets[eliminated])
        self._derive()
        self.program.buckets = buckets[:eliminated]

    # ---- slots and operations

    def slot(self, axes: tuple[int, ...], batched: bool, hard: tuple[int, ...] = ()) -> Slot:
        size = 1
        for rank in axes:
            size *= self.card[rank]
        new = Slot(len(self.program.slots), axes, size, batched, hard)
        self.program.slots.append(new)
        return new

    def emit(self, op: Op) -> Slot:
        (self.program.batched if op.out.batched else self.program.static).append(op)
        return op.out

    def gather(self, slot: Slot) -> Slot:
        """Each row's part of a static table."""
        if slot.batched or not slot.hard:
            return slot
        found = self.gathered.get(slot.index)
        if found is None:
            found = self.gathered[slot.index] = self.slot(slot.axes, True)
            self.emit(Op("gather", found, slot))
        return found

    def contract(self, a: Slot, b: Slot | None, axes: tuple[int, ...], kind: str = "contract") -> Slot:
        """The product summed to these axes; evidence is read off as late as the tables' sizes allow."""
        if b is None:
            return self.emit(Op(kind, self.slot(axes, a.batched, a.hard), a))
        if a.batched or b.batched or not self.tabulates(a, b):
            a, b = self.gather(a), self.gather(b)
            return self.emit(Op(kind, self.slot(axes, a.batched or b.batched), a, b))
        hard = tuple(sorted({*a.hard, *b.hard}))
        return self.emit(Op(kind, self.slot(axes, False, hard), a, b))

    def tabulates(self, a: Slot, b: Slot) -> bool:
        """Whether the product of two static tables is worth having for all the values of the evidence."""
        hard = {*a.hard, *b.hard}
        if not hard:
            return True
        size = 1
        for v in hard:
            size *= self.structure.cards[v]
        for rank in {*a.axes, *b.axes}:
            size *= self.card[rank]
        return size <= LARGEST_TABULATED

    # ---- up: eliminate one variable after the other

    def _inputs(self, kept: Sequence[int]) -> None:
        hard, rank = set(self.ask.hard), {v: i for i, v in enumerate(self.program.ranked)}
        for t in kept:
            scope = self.structure.scopes[t]
            axes = tuple(sorted([rank[v] for v in scope if v not in hard], reverse=True))
            new = self.slot(axes, False, tuple(sorted(v for v in scope if v in hard)))
            self.program.tables.append((new, t))
            self.file(new)
        for scope in (*((v,) for v in self.ask.soft), *self.ask.seen):
            axes = tuple(sorted((rank[v] for v in scope), reverse=True))
            new = self.slot(axes, True)
            self.program.likelihoods.append((new, tuple(self.program.ranked[place] for place in axes)))
            self.file(new)

    def file(self, slot: Slot) -> None:
        """Put a table where it is used next: with its first variable to be eliminated."""
        if slot.axes:
            self.buckets[min(slot.axes[-1], self.last)].append(slot)
        else:
            self.program.roots.append(self.gather(slot))
            self._consume(slot, self.program.roots[-1])

    def _consume(self, slot: Slot, root: Slot) -> None:
        if root is not slot:
            self.consumer[slot.index] = Op("gather", root, slot)

    def _eliminate(self, rank: int, asked: bool) -> None:
        tables = self.buckets[rank]
        if not tables:  # a variable in no table: it is uniform, and nothing depends on it
            raise ValueError(f"variable {self.program.ranked[rank]} is in no table")
        pair = self._reduce(tables, 2)
        axes = self.union(*pair)[:-1]
        kind = "maximise" if self.program.ranked[rank] in self.maximised else "contract"
        out = self._product(pair[0], pair[1] if len(pair) > 1 else None, axes, kind)
        if asked:
            self._choose(rank, [*tables, *pair])
        if asked or any(slot.index in self.wanted for slot in tables):
            self.wanted.add(out.index)
        if self.ask.scaled and out.batched and out.axes:
            out = self._scale(out)
        self.file(out)

    def _reduce(self, tables: Sequence[Slot], most: int) -> list[Slot]:
        """The tables multiplied until so many are left: what can be done before any row is seen, then the smallest."""
        plain = self._multiplied([slot for slot in tables if not slot.batched and not slot.hard])
        evident = self._multiplied([slot for slot in tables if slot.hard])
        batched = [slot for slot in tables if slot.batched]
        if not batched and len(evident) <= 1:
            both = self._multiplied(plain + evident)
            if len(both) == 1:
                return both
        batched += [self._gather(slot) for slot in evident]
        while len(batched) > 1 and len(batched) + len(plain) > most:
            batched.sort(key=_size)
            first, second = batched[:2]
            batched[:2] = [self._product(first, second, self.union(first, second))]
        left = plain + batched
        return left if len(left) <= most else [self._product(left[0], left[1], self.union(*left))]

    def _multiplied(self, tables: Sequence[Slot]) -> list[Slot]:
        """Static tables multiplied as far as their sizes allow."""
        left: list[Slot] = []
        for slot in sorted(tables, key=_size):
            if left and self.tabulates(left[-1], slot):
                left[-1] = self._product(left[-1], slot, self.union(left[-1], slot))
            else:
                left.append(slot)
        return left

    def _gather(self, slot: Slot) -> Slot:
        out = self.gather(slot)
        self.consumer[slot.index] = Op("gather", out, slot)
        return out

    def _product(self, a: Slot, b: Slot | None, axes: tuple[int, ...], kind: str = "contract") -> Slot:
        """A step up: who uses a table is remembered, for the way down."""
        out = self.contract(a, b, axes, kind)
        op = Op(kind, out, a, b)
        self.consumer[a.index] = op
        if b is not None:
            self.consumer[b.index] = op
        return out

    def _scale(self, slot: Slot) -> Slot:
        out, inverse = self.slot(slot.axes, True), self.slot((), True)
        op = Op("scale", out, slot, inverse)
        self.consumer[slot.index] = op
        self.program.scales.append(inverse)
        return self.emit(op)

    def _join(self, tables: Sequence[Slot]) -> None:
        """The joint of the variables that were kept: the product of what is left."""
        (table,) = self._reduce(tables, 1)
        self.joined = table
        self.file(self._product(table, None, ()))
        self.wanted.add(table.index)

    def union(self, *slots: Slot) -> tuple[int, ...]:
        if len(slots) == 1:
            return slots[0].axes
        return tuple(sorted({rank for slot in slots for rank in slot.axes}, reverse=True))

    # ---- down: derivatives of log P(evidence) by the tables on the way

    def _choose(self, rank: int, candidates: Sequence[Slot]) -> None:
        """Which table to read a variable's distribution from: the smallest, one whose derivative is wanted anyway."""
        holding = [slot for slot in candidates if rank in slot.axes]
        best = min(holding, key=lambda slot: slot.size * (1 if slot.index in self.wanted else 2))
        self.sources.append((rank, best))
        self.wanted.add(best.index)

    def _derive(self) -> None:
        """Reverse mode: from each root's 1 / root down to the tables whose derivative is wanted."""
        for slot in self.program.slots:  # the derivative by a table takes that by all that comes of it
            if slot.index in self.wanted and slot.index in self.consumer:
                self.wanted.add(self.consumer[slot.index].out.index)
        derivative: dict[int, Slot] = {}
        for slot in reversed(self.program.slots.copy()):
            if slot.index not in self.wanted:
                continue
            op = self.consumer.get(slot.index)
            if op is None:
                derivative[slot.index] = self.emit(Op("inverse", self.slot((), slot.batched), slot))
                continue
            derivative[slot.index] = self._step_down(slot, op, derivative[op.out.index])
        found = {}
        for rank, slot in self.sources:
            marginal = self.contract(slot, derivative[slot.index], (rank,))
            found[self.program.ranked[rank]] = self.gather(marginal)
        self.program.marginals = {v: found[v] for v in self.ask.marginals}
        if self.ask.joint:
            joint = self.contract(self.joined, derivative[self.joined.index], self.joined.axes)
            self.program.joint = self.gather(joint)

    def _step_down(self, slot: Slot, op: Op, above: Slot) -> Slot:
        """The derivative by one operand, from that by the result; it lacks the axes along which it is constant."""
        if op.kind == "gather":
            return above
        other = op.b if op.a is slot else op.a
        if other is None:
            return above
        axes = tuple(rank for rank in slot.axes if rank in other.axes or rank in above.axes)
        return self.contract(above, other, axes)


def _size(slot: Slot) -> int:
    return slot.size
