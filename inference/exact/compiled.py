"""The compiled executor: a program run on a CPU by numba, a tile of rows at a time, its tables in the cache."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.exact.program import Op, Program, Slot
from inference.exact.values import Output

WIDE, NARROW, FEW = 128, 64, 32
"""Bytes of an entry of a tile: of small programs, of others, and when there are but few rows."""

LARGEST_WIDE = 1 << 17
"""Bytes of an arena up to which wide tiles pay: what a loop costs beside its arithmetic is shared by more rows."""

MOST_SELECTED = 8
"""Values of the evidence up to which a row's part of a table is selected from all of them, not looked up."""

ROWS_A_THREAD = 256
"""Rows below which another thread is not worth waking."""


class CompiledExecutor:
    """Answers batches of evidence with one program and one set of tables, on the CPU, in the tables' precision.

    `static` holds the values of the program's static slots. Codes must be in range: they are not checked again.
    `row_bytes` is the working memory of a row.
    """

    def __init__(self, program: Program, static: dict[int, Tensor]) -> None:
        self._encode, self._run = _kernels()
        self.program = program
        self.dtype = next((value.dtype for value in static.values()), torch.get_default_dtype())
        self._number = np.float32 if self.dtype == torch.float32 else np.float64
        listing = _Listing(program)
        records, table, entries, places = self._encoded(listing, static)
        self._roots = np.array([places[slot.index] for slot in program.roots if slot.batched], np.int64)
        self._scales = np.array([places[slot.index] for slot in program.scales if slot.batched], np.int64)
        self._constant = _log_constant(program, static)
        self._records, self._table, self._entries = records, table, entries
        self._fixed = [(row, static[slot.index].detach().numpy().reshape(-1, 1)) for slot, row in listing.fixed]
        self._states, self._rows = listing.states, listing.rows
        self.row_bytes = entries * np.dtype(self._number).itemsize
        self._widest = WIDE if entries * WIDE <= LARGEST_WIDE else NARROW
        self._arenas = [self._arena()]

    def __call__(self, codes: Tensor, likelihoods: Tensor) -> Output:
        """Codes [hard variables, N] and likelihoods [states of the soft variables, N], in the program's order."""
        count = codes.shape[1]
        evidence = np.full(count, self._constant, np.float64)
        answers = np.empty((self._rows, count), self._number)
        inputs = (
            np.ascontiguousarray(codes.detach().numpy(), np.int64),
            np.ascontiguousarray(likelihoods.detach().numpy(), self._number),
        )
        for row, value in self._fixed:
            answers[row : row + len(value)] = value
        self._spread(count, inputs, answers, evidence)
        found = torch.from_numpy(answers)
        joint = found[self._states :] if self.program.joint is not None else None
        return Output(torch.from_numpy(evidence).to(self.dtype), found[: self._states], joint)

    def _spread(self, count: int, inputs: tuple[Any, Any], answers: Any, evidence: Any) -> None:
        """The rows in one thread, or in as many as torch has, each with its own arena."""
        threads = max(1, min(torch.get_num_threads(), count // ROWS_A_THREAD))
        item = np.dtype(self._number).itemsize
        lanes = (FEW if count * item <= FEW else self._widest) // item

        def work(arena: Any, start: int, stop: int) -> None:
            outputs = (answers, evidence, self._roots, self._scales)
            self._run(_TILES[lanes], self._records, self._table, self._consts, arena, *inputs, *outputs, start, stop)

        if threads == 1:
            work(self._arenas[0], 0, count)
            return
        while len(self._arenas) < threads:
            self._arenas.append(self._arena())
        tiles = -(-count // lanes)
        cuts = [min(count, tiles * i // threads * lanes) for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, self._arenas[:threads], cuts[:-1], cuts[1:]))

    def _arena(self) -> Any:
        """Room for a tile's tables, at an address that vectors like."""
        item = np.dtype(self._number).itemsize
        size = max(1, self._entries) * self._widest // item
        raw = np.empty(size + 64 // item, self._number)
        first = -raw.ctypes.data % 64 // item
        return raw[first : first + size]

    def _encoded(self, listing: _Listing, static: dict[int, Tensor]) -> tuple[Any, Any, int, Any]:
        program, slots = self.program, self.program.slots
        values = [_laid_out(slot, static[slot.index].detach().numpy()) for slot in listing.read]
        self._consts = np.concatenate([*values, np.zeros(1)]).astype(self._number, copy=False)
        consts = np.full(len(slots), -1, np.int64)
        consts[[slot.index for slot in listing.read]] = np.cumsum([0, *map(len, values)])[:-1]
        position = {v: row for row, v in enumerate(program.ask.hard)}
        cards = program.structure.cards
        starts, axes = _rows([slot.axes for slot in slots])
        hard_starts, hards = _rows([[position[v] for v in slot.hard] for slot in slots])
        kept = [slot.index for slot in (*program.roots, *program.scales) if slot.batched]
        return self._encode(
            np.array(listing.operations, np.int64).reshape(-1, 4),
            starts,
            axes,
            np.array([slot.size for slot in slots], np.int64),
            consts,
            hard_starts,
            hards,
            np.array([cards[v] for v in program.ranked], np.int64),
            np.array([cards[v] for v in program.ask.hard], np.int64),
            np.array(kept, np.int64),
        )


_TILES = {lanes: (0,) * lanes for lanes in (4, 8, 16, 32)}
"""Only the length matters: it is part of the type, so that the kernel is compiled for it."""

_CODES = {"contract": 0, "inverse": 1, "scale": 2, "load": 3, "store": 4, "gather": 5}


class _Listing:
    """The operations of a program as four numbers each, with what brings likelihoods in and answers out."""

    def __init__(self, program: Program) -> None:
        emitted: dict[int, list[int]] = {}
        self.fixed: list[tuple[Slot, int]] = []
        row = 0
        asked = [*program.marginals.values(), *([program.joint] if program.joint is not None else [])]
        for slot in asked:
            if slot.batched:
                emitted.setdefault(slot.index, []).append(row)
            else:
                self.fixed.append((slot, row))
            row += slot.size
        self.rows = row
        self.states = row - (program.joint.size if program.joint is not None else 0)
        starts = itertools.accumulate((slot.size for slot, _ in program.likelihoods), initial=0)
        waiting = {slot.index: start for (slot, _), start in zip(program.likelihoods, starts, strict=False)}
        self.operations: list[tuple[int, int, int, int]] = []
        self.read: list[Slot] = []
        seen: set[int] = set()
        for index in [index for index in emitted if index in waiting]:
            self._load(index, waiting, emitted)
        for slot in program.roots:
            if slot.index in waiting:
                self._load(slot.index, waiting, emitted)
        for op in program.batched:
            for slot in self._operands(op):
                if slot.index in waiting:
                    self._load(slot.index, waiting, emitted)
                elif not slot.batched and slot.index not in seen:
                    seen.add(slot.index)
                    self.read.append(slot)
            self.operations.append((_CODES[op.kind], op.out.index, op.a.index, -1 if op.b is None else op.b.index))
            for to in emitted.get(op.out.index, ()):
                self.operations.append((_CODES["store"], to, op.out.index, -1))

    def _load(self, index: int, waiting: dict[int, int], emitted: dict[int, list[int]]) -> None:
        self.operations.append((_CODES["load"], index, waiting.pop(index), -1))
        for to in emitted.get(index, ()):
            self.operations.append((_CODES["store"], to, index, -1))

    @staticmethod
    def _operands(op: Op) -> tuple[Slot, ...]:
        return (op.a,) if op.b is None or op.kind == "scale" else (op.a, op.b)


def _laid_out(slot: Slot, value: Any) -> Any:
    """A static table's numbers; where there are many values of the evidence, those of one lie side by side."""
    if value.size > MOST_SELECTED * slot.size:
        return value.reshape(slot.size, -1).T.ravel()
    return value.ravel()


def _rows(lists: Any) -> tuple[Any, Any]:
    """Lists of different lengths in one array, and where each starts."""
    flat = list(itertools.chain.from_iterable(lists))
    return np.cumsum([0, *map(len, lists)], dtype=np.int64), np.array(flat, np.int64)


def _log_constant(program: Program, static: dict[int, Tensor]) -> float:
    """What the components of the graph without evidence add to log P(evidence)."""
    values = [float(static[slot.index]) for slot in program.roots if not slot.batched]
    return sum(math.log(value) if value > 0 else -math.inf for value in values)


def _kernels() -> tuple[Any, Any]:
    try:
        from inference.exact.encoding import encode
        from inference.exact.kernel import run
    except ModuleNotFoundError as error:
        raise ImportError("the compiled executor needs numba: pip install 'pyro-zoo[compiled]'") from error
    return encode, run
