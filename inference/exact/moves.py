"""The inner loops of the compiled executor that move: a row's part of a table, likelihoods in, answers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from inference.exact.compiled import MOST_SELECTED
from inference.exact.lanes import (
    FIRST,
    FIRST_TERM,
    OUT,
    OUT_STEP,
    OUTER,
    SECOND,
    TERMS,
    WORD,
    Emitter,
    inner_loop,
)


@inner_loop
def gather(
    typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, codes: Any
) -> tuple[Any, Callable]:
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
                emit.store(
                    _selected(emit, picks, builder.add(first, builder.mul(o, values)), values), builder.add(out, o)
                )
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


@inner_loop
def load(
    typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, rows: Any, start: Any
) -> tuple[Any, Callable]:
    """A full tile of the likelihoods into the arena."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        inside, outside = emit.field(OUT), _outside(emit, context, signature, arguments, FIRST)
        with emit.loop(emit.field(OUTER)) as o:
            emit.store(builder.load(outside(o), align=emit.width // emit.lanes), builder.add(inside, o))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at, rows, start), generate


@inner_loop
def store(
    typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any, rows: Any, start: Any
) -> tuple[Any, Callable]:
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
