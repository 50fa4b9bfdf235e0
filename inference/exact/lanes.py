"""Tables of vectors, one lane a row: the inner loops of the compiled executor, written in LLVM's own vectors.

A table's entry is a vector of so many lanes, kept in registers while a sum runs. Left to itself the compiler would
check at each entry whether two tables overlap, and would write every partial sum to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from inference.exact.compiled import MOST_SELECTED

WORD = ir.IntType(64)
BLOCK = 4
"""Results at most whose sums run at once."""

UNROLLED = 4
"""Terms of a sum up to which it has no loop."""

UNARY, STATIC_SHARED, SHARED_STATIC, STATIC, BATCHED_SHARED, BATCHED = range(6)
"""What a sum's factors are: none and a table of rows; a static table and one of rows, where a block of results
shares the first's entry, the second's, neither; two tables of rows, where it shares the first's entry or neither."""

MODES = 6

def variant(mode: int, terms: int, block: int) -> int:
    """The number of the inner loop for these factors, so many terms (0: any number), and results at once."""
    return (mode * (UNROLLED + 1) + terms) * BLOCK + block - 1


class Emitter:
    """LLVM code of one call: its arrays, and loads and stores of vectors."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        kinds = dict(zip(("lanes", "arena", "consts", "table", "records", "at"), signature.args, strict=False))
        values = dict(zip(kinds, arguments, strict=False))
        self.lanes = len(kinds["lanes"])
        self.element = context.get_value_type(kinds["arena"].dtype)
        self.width = self.lanes * kinds["arena"].dtype.bitwidth // 8
        self.vector = ir.VectorType(self.element, self.lanes)
        data = {
            name: context.make_array(kinds[name])(context, builder, values[name]).data
            for name in ("arena", "consts", "table", "records")
        }
        self.arena = builder.bitcast(data["arena"], self.vector.as_pointer())
        self.consts, self.table, self.records = data["consts"], data["table"], data["records"]
        self.at = builder.mul(values["at"], WORD(RECORD))

    def field(self, number: int) -> Any:
        place = self.builder.add(self.at, WORD(number))
        return self.builder.load(self.builder.gep(self.records, [place]))

    def offset(self, place: Any) -> Any:
        entry = self.builder.load(self.builder.gep(self.table, [place]))
        return self.builder.sext(entry, WORD)

    def entry(self, place: Any) -> Any:
        return self.builder.load(self.builder.gep(self.arena, [place]), align=min(self.width, 64))

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, self.builder.gep(self.arena, [place]), align=min(self.width, 64))

    def splat(self, scalar: Any) -> Any:
        one = self.builder.insert_element(ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined), scalar, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(one.type, ir.Undefined), zeros)

    def const(self, place: Any) -> Any:
        return self.splat(self.builder.load(self.builder.gep(self.consts, [place])))

    def filled(self, value: float) -> Any:
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        suffix = "f64" if isinstance(self.element, ir.DoubleType) else "f32"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.v{self.lanes}{suffix}")
        return self.builder.call(function, [a, b, c])

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        with cgutils.for_range(self.builder, count, intp=WORD) as loop:
            yield loop.index


# ---- the fields of a record: an operation of the program, or the part of it that one inner loop does

RECORD = 12
KIND, OUTER, OUT, FIRST, SECOND, TERMS, FIRST_TERM, SECOND_TERM, OUT_STEP, FIRST_STEP, SECOND_STEP = range(11)


@intrinsic
def contract(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any) -> tuple[Any, Callable]:
    """out[o + j] = sum over s of a[o + s + j] b[o + s + j], for blocks of j; the record says which of the loops."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        after = builder.append_basic_block("after")
        switch = builder.switch(emit.field(KIND), after)
        for mode in range(MODES):
            for terms in range(UNROLLED + 1):
                for block in range(1, BLOCK + 1):
                    if block == 1 and mode in (STATIC_SHARED, SHARED_STATIC, BATCHED_SHARED):
                        continue
                    case = builder.append_basic_block(f"mode{mode}_terms{terms}_block{block}")
                    switch.add_case(variant(mode, terms, block), case)
                    builder.position_at_end(case)
                    _Loop(emit, mode, terms, block).generate()
                    builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at), generate


class _Loop:
    """One of `contract`'s inner loops."""

    def __init__(self, emit: Emitter, mode: int, terms: int, block: int) -> None:
        self.emit, self.mode, self.terms, self.block = emit, mode, terms, block
        self.steps = {name: emit.field(name) for name in (OUT_STEP, FIRST_STEP, SECOND_STEP)}

    def generate(self) -> None:
        emit, builder = self.emit, self.emit.builder
        starts = [emit.field(name) for name in (OUT, FIRST, SECOND)]
        terms = [self._term(emit.field(FIRST_TERM), emit.field(SECOND_TERM), WORD(s)) for s in range(self.terms)]
        with emit.loop(emit.field(OUTER)) as o:
            out, first, second = (emit.offset(builder.add(start, o)) for start in starts)
            if self.terms:
                sums: list[Any] = [None] * self.block
                for s, t in terms:
                    sums = self._add(sums, builder.add(first, s), builder.add(second, t))
            else:
                sums = self._run(first, second)
            for j, value in enumerate(sums):
                emit.store(value, self._place(out, j, OUT_STEP))

    def _term(self, first: Any, second: Any, s: Any) -> tuple[Any, Any]:
        add = self.emit.builder.add
        return self.emit.offset(add(first, s)), self.emit.offset(add(second, s))

    def _run(self, first: Any, second: Any) -> list[Any]:
        emit, builder = self.emit, self.emit.builder
        sums = [cgutils.alloca_once(builder, emit.vector) for _ in range(self.block)]
        for cell in sums:
            builder.store(emit.filled(0), cell)
        starts = emit.field(FIRST_TERM), emit.field(SECOND_TERM)
        with emit.loop(emit.field(TERMS)) as index:
            s, t = self._term(*starts, index)
            before = [builder.load(cell) for cell in sums]
            for value, cell in zip(self._add(before, builder.add(first, s), builder.add(second, t)), sums, strict=True):
                builder.store(value, cell)
        return [builder.load(cell) for cell in sums]

    def _place(self, start: Any, j: int, step: int) -> Any:
        builder = self.emit.builder
        return start if j == 0 else builder.add(start, builder.mul(self.steps[step], WORD(j)))

    def _read(self, load: Callable, start: Any, step: int, shared: bool) -> list[Any]:
        if shared:
            return [load(start)] * self.block
        return [load(self._place(start, j, step)) for j in range(self.block)]

    def _add(self, sums: list[Any], first: Any, second: Any) -> list[Any]:
        emit, mode = self.emit, self.mode
        b = self._read(emit.entry, second, SECOND_STEP, mode == SHARED_STATIC)
        if mode == UNARY:
            return [y if s is None else emit.builder.fadd(s, y) for s, y in zip(sums, b, strict=True)]
        load = emit.entry if mode in (BATCHED, BATCHED_SHARED) else emit.const
        a = self._read(load, first, FIRST_STEP, mode in (STATIC_SHARED, BATCHED_SHARED))
        return [
            emit.builder.fmul(x, y) if s is None else emit.fused(x, y, s) for s, x, y in zip(sums, a, b, strict=True)
        ]


@intrinsic
def gather(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, codes: Any) -> tuple[Any, Callable]:
    """Each lane's part of a static table, which its tile's codes choose.

    A table with few values of the evidence is [entries, values], and each lane's part is selected among all; one with
    many is [values, entries], and each lane looks its part up.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        data = context.make_array(signature.args[-1])(context, builder, arguments[-1]).data
        picks = _picks(emit, builder.bitcast(data, ir.VectorType(WORD, emit.lanes).as_pointer()))
        out, first, values, size = (emit.field(name) for name in (OUT, FIRST, TERMS, OUTER))
        few = builder.icmp_signed("<=", values, WORD(MOST_SELECTED))
        with builder.if_else(few) as (then, otherwise):
            with then, emit.loop(size) as o:
                emit.store(_selected(emit, picks, builder.add(first, builder.mul(o, values)), values), builder.add(out, o))
            with otherwise:
                parts = [
                    builder.add(first, builder.mul(builder.extract_element(picks, ir.IntType(32)(lane)), size))
                    for lane in range(emit.lanes)
                ]
                with emit.loop(size) as o:
                    emit.store(_looked_up(emit, parts, o), builder.add(out, o))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at, codes), generate


def _picks(emit: Emitter, codes: Any) -> Any:
    """Which of a table's values of the evidence each lane has."""
    builder = emit.builder
    vector = ir.VectorType(WORD, emit.lanes)
    cell = cgutils.alloca_once(builder, vector)
    builder.store(ir.Constant(vector, [0] * emit.lanes), cell)
    start = emit.field(FIRST_TERM)
    with emit.loop(emit.field(OUT_STEP)) as k:
        place = builder.add(start, builder.mul(k, WORD(2)))
        row = builder.load(builder.gep(codes, [emit.offset(place)]), align=8)
        step = emit.splat(emit.offset(builder.add(place, WORD(1))))
        builder.store(builder.add(builder.load(cell), builder.mul(row, step)), cell)
    return builder.load(cell)


def _selected(emit: Emitter, picks: Any, start: Any, values: Any) -> Any:
    builder = emit.builder
    best = cgutils.alloca_once(builder, emit.vector)
    builder.store(emit.const(start), best)
    with emit.loop(builder.sub(values, WORD(1))) as before:
        value = builder.add(before, WORD(1))
        same = builder.icmp_signed("==", picks, emit.splat(value))
        here = emit.const(builder.add(start, value))
        builder.store(builder.select(same, here, builder.load(best)), best)
    return builder.load(best)


def _looked_up(emit: Emitter, parts: list[Any], o: Any) -> Any:
    builder = emit.builder
    found = ir.Constant(emit.vector, ir.Undefined)
    for lane, part in enumerate(parts):
        value = builder.load(builder.gep(emit.consts, [builder.add(part, o)]))
        found = builder.insert_element(found, value, ir.IntType(32)(lane))
    return found


@intrinsic
def invert(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any) -> tuple[Any, Callable]:
    """out = 1 / b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        emit.store(builder.fdiv(emit.filled(1), emit.entry(emit.field(SECOND))), emit.field(OUT))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at), generate


@intrinsic
def scale(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any) -> tuple[Any, Callable]:
    """out = b / its greatest entry, whose inverse is a; where that is no normal number, b as it is and 1."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        tiny = np.finfo(np.float64 if isinstance(emit.element, ir.DoubleType) else np.float32).tiny
        out, first, second, size = (emit.field(name) for name in (OUT, FIRST, SECOND, OUTER))
        greatest = cgutils.alloca_once(builder, emit.vector)
        builder.store(emit.filled(0), greatest)
        with emit.loop(size) as o:
            here, most = emit.entry(builder.add(second, o)), builder.load(greatest)
            builder.store(builder.select(builder.fcmp_ordered(">", here, most), here, most), greatest)
        most = builder.load(greatest)
        normal = builder.fcmp_ordered(">=", most, emit.filled(tiny))
        inverse = builder.fdiv(emit.filled(1), builder.select(normal, most, emit.filled(1)))
        emit.store(inverse, first)
        with emit.loop(size) as o:
            emit.store(builder.fmul(emit.entry(builder.add(second, o)), inverse), builder.add(out, o))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at), generate


@intrinsic
def load(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, rows: Any, start: Any) -> tuple[Any, Callable]:
    """A full tile of the likelihoods into the arena."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        inside, outside = emit.field(OUT), _outside(emit, context, signature, arguments, FIRST)
        with emit.loop(emit.field(OUTER)) as o:
            emit.store(builder.load(outside(o), align=emit.width // emit.lanes), builder.add(inside, o))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at, rows, start), generate


@intrinsic
def store(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, rows: Any, start: Any) -> tuple[Any, Callable]:
    """A full tile of the answers out of the arena."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        inside, outside = emit.field(SECOND), _outside(emit, context, signature, arguments, OUT)
        with emit.loop(emit.field(OUTER)) as o:
            builder.store(emit.entry(builder.add(inside, o)), outside(o), align=emit.width // emit.lanes)
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at, rows, start), generate


def _outside(emit: Emitter, context: Any, signature: Any, arguments: Any, field: int) -> Callable:
    """Where a tile of the record's row o lies in an array of rows [rows, N]."""
    builder = emit.builder
    array = context.make_array(signature.args[-2])(context, builder, arguments[-2])
    count = builder.extract_value(array.shape, 1)
    first = emit.field(field)

    def place(o: Any) -> Any:
        offset = builder.add(builder.mul(builder.add(first, o), count), arguments[-1])
        return builder.bitcast(builder.gep(array.data, [offset]), emit.vector.as_pointer())

    return place
