"""A program run by torch on whole blocks of rows, the rows last and every buffer laid out beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from inference.exact.memory import laid_out
from inference.exact.program import Op, Program, Slot
from inference.exact.values import Output

Call = Callable[[], object]

FEW_STATES = 4
"""States of a summed axis up to which one pass for each costs less than a product and its sum."""
LONG_PASS = 1 << 14
"""Elements of a result from which calls are free, and memory is what counts."""
BOUND = 2
"""Numbers of rows whose buffers are kept: a full block and the rest."""


class TorchExecutor:
    """Runs one program on any device, in the dtype of its static values.

    Every step is one torch call on views made once for a number of rows, into memory given once. Not for
    autograd, and not for several threads at a time.
    """

    def __init__(self, program: Program, static: dict[int, Tensor]) -> None:
        self.program, self.static = program, static
        self.like = next(iter(static.values()))
        self.gathers = _Gathers(program, static, self.like.device)
        self.memory = laid_out(program)
        self.bound: dict[int, _Bound] = {}
        self.row_bytes = (self.memory.entries + self.memory.scratch) * self.like.element_size() + 8 * self.gathers.size

    def __call__(self, codes: Tensor, likelihoods: Tensor) -> Output:
        """The answers for codes [hard variables, N] and likelihoods [states of the soft variables, N]."""
        rows = codes.shape[1] if len(codes) else likelihoods.shape[1]
        bound = self.bound.pop(rows, None) or _Bound(self, rows)
        self.bound[rows] = bound
        if len(self.bound) > BOUND:
            self.bound.pop(next(iter(self.bound)))
        return bound(codes, likelihoods)


class _Gathers:
    """All reads of evidence in one: every such table end to end, and where each row reads it."""

    def __init__(self, program: Program, static: dict[int, Tensor], device: torch.device) -> None:
        ops = [op for op in program.batched if op.kind == "gather"]
        self.slots = [op.out for op in ops]
        place = {v: i for i, v in enumerate(program.ask.hard)}
        cards = program.structure.cards
        combinations: dict[tuple[int, ...], int] = {}
        tables, base, group = [], [], []
        start = 0
        for op in ops:
            table, count = static[op.a.index], math.prod(cards[v] for v in op.a.hard)
            tables.append(table.reshape(-1))
            base.append(torch.arange(op.out.size) * count + start)
            group += [combinations.setdefault(op.a.hard, len(combinations))] * op.out.size
            start += op.out.size * count
        self.size = len(group)
        if not ops:
            return
        # places are whole numbers below 2^53: float64 holds them, and its matrix product is the fast one
        strides = torch.zeros(len(combinations), len(place), dtype=torch.float64)
        for hard, row in combinations.items():
            stride = 1
            for v in reversed(hard):
                strides[row, place[v]] = stride
                stride *= cards[v]
        self.flat, self.strides = torch.cat(tables), strides.to(device)
        self.base, self.group = torch.cat(base).to(device)[:, None], torch.tensor(group, device=device)

    def __call__(self, codes: Tensor, index: Tensor, out: Tensor) -> None:
        offsets = torch.mm(self.strides, codes.to(torch.float64)).long()
        torch.index_select(offsets, 0, self.group, out=index)
        index.add_(self.base)
        torch.index_select(self.flat, 0, index.view(-1), out=out)


class _Bound:
    """The program's calls for one number of rows."""

    def __init__(self, executor: TorchExecutor, rows: int) -> None:
        self.program, self.static, self.gathers = executor.program, executor.static, executor.gathers
        self.rows, self.memory = rows, executor.memory
        like = executor.like
        self.arena = like.new_empty(self.memory.entries * rows)
        self.scratch = like.new_empty(self.memory.scratch * rows)
        self.layout: dict[int, tuple[int, ...]] = {}
        self.calls: list[Call] = []
        self._inputs(like)
        for op in self.program.batched:
            if op.kind != "gather":
                getattr(self, "_" + op.kind)(op)
        self._outputs(like)

    def __call__(self, codes: Tensor, likelihoods: Tensor) -> Output:
        if self.gathers.size:
            self.gathers(codes, self.index, self.gathered)
        if len(likelihoods):
            self.likelihoods.copy_(likelihoods)
        for call in self.calls:
            call()
        joint = None if self.joint is None else self.joint.clone()
        return Output(self._log_evidence(), self.marginals.clone(), joint)

    def _inputs(self, like: Tensor) -> None:
        rows, slots = self.rows, self.gathers.slots
        for slot in slots:
            self.layout[slot.index] = slot.axes
        start = self.memory.places[slots[0].index] * rows if slots else 0
        self.gathered = self.arena[start : start + self.gathers.size * rows]
        self.index = torch.empty(self.gathers.size, rows, dtype=torch.long, device=like.device)
        soft = [slot for slot, _ in self.program.likelihoods]
        for slot in soft:
            self.layout[slot.index] = slot.axes
        start = self.memory.places[soft[0].index] * rows if soft else 0
        size = sum(slot.size for slot in soft)
        self.likelihoods = self.arena[start : start + size * rows].view(size, rows)

    def _outputs(self, like: Tensor) -> None:
        program = self.program
        constant = sum(float(self.static[root.index].log()) for root in program.roots if not root.batched)
        self.constant = constant
        self.roots = [self.flat(root).view(-1) for root in program.roots if root.batched]
        self.scales = [self.flat(slot).view(-1) for slot in program.scales]
        self.marginals = like.new_empty(sum(slot.size for slot in program.marginals.values()), self.rows)
        start = 0
        for slot in program.marginals.values():
            part = self.marginals[start : start + slot.size]
            if slot.batched:
                self.calls.append(partial(part.copy_, self.flat(slot)))
            else:
                part.copy_(self.static[slot.index][:, None].expand_as(part))
            start += slot.size
        self.joint = None
        if program.joint is not None and program.joint.batched:
            self.joint = self.view(program.joint, program.joint.axes).reshape(-1, self.rows)
            if self.joint.data_ptr() != self.flat(program.joint).data_ptr():
                raise AssertionError("the joint's axes are out of order")
        elif program.joint is not None:
            self.joint = self.static[program.joint.index].reshape(-1, 1).expand(-1, self.rows)

    def _log_evidence(self) -> Tensor:
        total = self.arena.new_full((self.rows,), self.constant)
        if self.roots:
            total += torch.stack(self.roots).log_().sum(0)
        if self.scales:
            total -= torch.stack(self.scales).log_().sum(0)
        return total

    # ---- views

    def flat(self, slot: Slot) -> Tensor:
        """The memory of a batched slot, [entries, N]."""
        start = self.memory.places[slot.index] * self.rows
        return self.arena[start : start + slot.size * self.rows].view(slot.size, self.rows)

    def view(self, slot: Slot, axes: Sequence[int]) -> Tensor:
        """A slot with these axes before the rows; those that it lacks have length 1."""
        if not slot.batched:
            missing = [i for i, rank in enumerate(axes) if rank not in slot.axes]
            value = self.static[slot.index].permute([slot.axes.index(r) for r in axes if r in slot.axes])
            for i in missing:
                value = value.unsqueeze(i)
            return value.unsqueeze(-1)
        cards = dict(zip(self.layout[slot.index], self.program.cards(self.layout[slot.index]), strict=True))
        strides, stride = {}, self.rows
        for rank in reversed(self.layout[slot.index]):
            strides[rank] = stride
            stride *= cards[rank]
        size = [cards.get(rank, 1) for rank in axes] + [self.rows]
        step = [strides.get(rank, 0) for rank in axes] + [1]
        return self.arena.as_strided(size, step, self.memory.places[slot.index] * self.rows)

    def result(self, slot: Slot, axes: tuple[int, ...]) -> Tensor:
        """A new slot's memory, its axes in this order."""
        self.layout[slot.index] = axes
        return self.view(slot, axes)

    # ---- operations

    def _contract(self, op: Op) -> None:
        a, b = op.a, op.b
        if b is None:
            self._sum(a, op.out)
        elif a.batched and b.batched:
            self._elementwise(a, b, op.out)
        elif a.batched:
            self._by_static(b, a, op.out)
        else:
            self._by_static(a, b, op.out)

    def _inverse(self, op: Op) -> None:
        out = self.result(op.out, ())
        self.calls.append(partial(torch.reciprocal, self.view(op.a, ()), out=out))

    def _scale(self, op: Op) -> None:
        assert op.b is not None
        whole, greatest = self.flat(op.a), self.result(op.b, ())
        out = self.result(op.out, self.layout[op.a.index])
        source = self.view(op.a, self.layout[op.a.index])

        def scale() -> None:
            torch.amax(whole, 0, out=greatest)
            greatest.masked_fill_(greatest == 0, 1).reciprocal_()
            torch.mul(source, greatest, out=out)

        self.calls.append(scale)

    def _sum(self, a: Slot, out: Slot) -> None:
        summed = [rank for rank in self.layout[a.index] if rank not in out.axes]
        target = self.result(out, tuple(rank for rank in self.layout[a.index] if rank in out.axes))
        source = self.view(a, (*summed, *self.layout[out.index]))
        count = math.prod(self.program.cards(summed))
        if len(summed) == 1 and count == 2:
            self.calls.append(partial(torch.add, source[0], source[1], out=target))
        else:
            self.calls.append(partial(torch.sum, source, list(range(len(summed))), out=target))

    def _elementwise(self, a: Slot, b: Slot, out: Slot) -> None:
        """Products of tables that both have rows, summed over the axes that the result lacks."""
        union = tuple(sorted({*a.axes, *b.axes}, reverse=True))
        summed = [rank for rank in union if rank not in out.axes]
        axes = tuple(rank for rank in union if rank in out.axes)
        target = self.result(out, axes)
        left, right = self.view(a, (*summed, *axes)), self.view(b, (*summed, *axes))
        if not summed:
            self.calls.append(partial(torch.mul, left, right, out=target))
            return
        cards = self.program.cards(summed)
        count = math.prod(cards)
        if count <= FEW_STATES or out.size * self.rows >= LONG_PASS:
            # views of each state in turn: flattening an expanded axis would copy what is not there yet
            left, right = (
                left.expand(*cards, *left.shape[len(cards) :]),
                right.expand(*cards, *right.shape[len(cards) :]),
            )
            first, *rest = product(*map(range, cards))
            self.calls.append(partial(torch.mul, left[first], right[first], out=target))
            for states in rest:
                self.calls.append(partial(torch.addcmul, target, left[states], right[states], out=target))
            return
        whole = self._scratch([*cards, *self.program.cards(axes)])
        self.calls.append(partial(torch.mul, left, right, out=whole))
        self.calls.append(partial(torch.sum, whole, list(range(len(cards))), out=target))

    def _by_static(self, matrix: Slot, rows: Slot, out: Slot) -> None:
        """A static table times one with rows: a matrix product, the rows its columns."""
        inner = [r for r in self.layout[rows.index] if r in matrix.axes and r not in out.axes]
        fresh = [r for r in out.axes if r not in rows.axes]
        lost = [r for r in rows.axes if r not in matrix.axes and r not in out.axes]
        dropped = [r for r in matrix.axes if r not in rows.axes and r not in out.axes]
        table = self.static[matrix.index]
        axes = [r for r in matrix.axes if r not in dropped]
        if dropped:
            table = table.sum([matrix.axes.index(r) for r in dropped])
        if lost or not (inner or fresh):
            self._broadcast(table, axes, rows, out, [*lost, *inner])
        else:
            self._matmul(table, axes, rows, out, inner, fresh)

    def _broadcast(self, table: Tensor, axes: list[int], rows: Slot, out: Slot, summed: list[int]) -> None:
        kept = tuple(sorted(out.axes, reverse=True))
        target = self.result(out, kept)
        order = (*summed, *kept)
        factor = table.permute([axes.index(r) for r in order if r in axes])
        for i, rank in enumerate(order):
            if rank not in axes:
                factor = factor.unsqueeze(i)
        factor = factor.unsqueeze(-1)
        source = self.view(rows, order)
        if not summed:
            self.calls.append(partial(torch.mul, source, factor, out=target))
            return
        product = self._scratch(self.program.cards(order))
        self.calls.append(partial(torch.mul, source, factor, out=product))
        self.calls.append(partial(torch.sum, product, list(range(len(summed))), out=target))

    def _matmul(
        self, table: Tensor, axes: list[int], rows: Slot, out: Slot, inner: list[int], fresh: list[int]
    ) -> None:
        """out[lead, fresh, trail] = sum over inner of table[lead, fresh, inner] rows[lead, inner, trail]."""
        layout = self.layout[rows.index]
        lead, trail = _split(layout, inner, axes)
        source = self.view(rows, (*lead, *inner, *trail))
        cards = self.program.cards
        many, k, n = math.prod(cards(lead)), math.prod(cards(inner)), math.prod(cards(trail)) * self.rows
        if layout != (*lead, *inner, *trail):
            copy = self._scratch(cards((*lead, *inner, *trail)))
            self.calls.append(partial(copy.copy_, source))
            source = copy
        target = self.result(out, (*lead, *fresh, *trail))
        order = [r for r in (*lead, *fresh, *inner) if r in axes]
        factor = table.permute([axes.index(r) for r in order])
        for i, rank in enumerate(lead):
            if rank not in axes:
                factor = factor.unsqueeze(i)
        factor = factor.expand(*cards(lead), *factor.shape[len(lead) :]).reshape(many, -1, k).contiguous()
        source, target = source.reshape(many, k, n), target.view(many, factor.shape[1], n)
        if many == 1:
            self.calls.append(partial(torch.mm, factor[0], source[0], out=target[0]))
        else:
            self.calls.append(partial(torch.bmm, factor, source, out=target))

    def _scratch(self, cards: Sequence[int]) -> Tensor:
        return self.scratch[: math.prod(cards) * self.rows].view(*cards, self.rows)


def _split(layout: tuple[int, ...], inner: list[int], axes: list[int]) -> tuple[list[int], list[int]]:
    """Axes for the batch of matrices and for their columns: as they lie in memory where the table allows."""
    outer = [r for r in layout if r not in inner]
    shared = [r for r in outer if r in axes]
    first = layout.index(inner[0]) if inner else len(layout)
    lead = list(layout[:first])
    as_it_lies = (*lead, *inner, *[r for r in outer if r not in lead]) == layout and set(shared) <= set(lead)
    if as_it_lies:
        return lead, [r for r in outer if r not in lead]
    return shared, [r for r in outer if r not in shared]
