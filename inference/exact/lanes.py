"""Tables of vectors, one lane a row: the inner loops of the compiled executor, written in LLVM's own vectors.

A table's entry is a vector of so many lanes, kept in registers while a sum runs. Left to itself the compiler would
check at each entry whether two tables overlap, and would write every partial sum to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic


def inner_loop(function: Callable) -> Any:
    """A function that writes the LLVM code of a call, callable from code that numba compiles."""
    return intrinsic(function)


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
        one = self.builder.insert_element(
            ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined), scalar, ir.IntType(32)(0)
        )
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
