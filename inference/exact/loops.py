"""The inner loops of the compiled executor that compute: sums of products, inverses, scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from inference.exact.lanes import (
    BATCHED,
    BATCHED_SHARED,
    BLOCK,
    FIRST,
    FIRST_STEP,
    FIRST_TERM,
    KIND,
    MODES,
    OUT,
    OUT_STEP,
    OUTER,
    SECOND,
    SECOND_STEP,
    SECOND_TERM,
    SHARED_STATIC,
    STATIC_SHARED,
    TERMS,
    UNARY,
    UNROLLED,
    WORD,
    Emitter,
    inner_loop,
    variant,
)


@inner_loop
def contract(
    typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any
) -> tuple[Any, Callable]:
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


@inner_loop
def invert(typing: Any, lanes: Any, arena: Any, consts: Any, table: Any, records: Any, at: Any) -> tuple[Any, Callable]:
    """out = 1 / b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter(context, builder, signature, arguments)
        emit.store(builder.fdiv(emit.filled(1), emit.entry(emit.field(SECOND))), emit.field(OUT))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at), generate


@inner_loop
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
        normal = builder.fcmp_ordered(">=", most, emit.filled(float(tiny)))
        inverse = builder.fdiv(emit.filled(1), builder.select(normal, most, emit.filled(1)))
        emit.store(inverse, first)
        with emit.loop(size) as o:
            emit.store(builder.fmul(emit.entry(builder.add(second, o)), inverse), builder.add(out, o))
        return context.get_dummy_value()

    return types.void(lanes, arena, consts, table, records, at), generate
