"""What a question will cost, told before it is asked."""

from __future__ import annotations

from dataclasses import dataclass

from inference.exact.program import Program


@dataclass(frozen=True)
class Plan:
    """The cost of a compiled question: tables in entries, work in multiply-adds a row, memory in bytes a row.

    `width` is the number of variables in the largest clique less one, `largest_table` its entries.
    """

    variables: int
    observed: int
    width: int
    largest_table: int
    entries: int
    multiply_adds: int
    row_bytes: int
    heuristic: str

    def __str__(self) -> str:
        return (
            f"{self.variables} variables, {self.observed} observed; order by {self.heuristic}: width {self.width}, "
            f"largest table {self.largest_table:,} entries; a row takes {self.multiply_adds:,} multiply-adds "
            f"and {in_bytes(self.row_bytes)}"
        )


def plan_of(program: Program, item: int) -> Plan:
    """The plan of a program whose numbers take `item` bytes each."""
    order, ask = program.order, program.ask
    return Plan(
        len(program.ranked) + len(ask.hard),
        len(ask.hard) + len(ask.soft),
        order.width,
        order.largest,
        program.entries,
        program.multiply_adds,
        program.entries * item,
        order.heuristic,
    )


def in_bytes(count: float) -> str:
    """A size in the unit that suits it: 86.2 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
