"""Networks of tables and rows that lack cells: what is known of each row scored, and expected counts for EM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.exact import functional
from inference.exact.engine import UNDERFLOW, Engine
from inference.exact.evidence import MISSING
from inference.exact.grouping import WORKING, patterns
from inference.exact.program import Ask
from inference.exact.results import TooLarge
from inference.exact.values import static_values

BLOCK = 1 << 26
"""Bytes of tables that a block of rows keeps for its gradient on the CPU; elsewhere a part of the engine's budget."""
CALLING = 1e-4
"""Seconds a variable that a program's calls take, there and back, however few the rows."""
BACK = 5
"""Times the work of a program that its gradient takes, there and back."""


class Cells:
    """log P(known cells) of rows of codes [N, V], -1 where a cell is not known, as a function of the tables.

    A cell that some rows lack is a likelihood vector: one-hot where it is known, ones where it is not. So one
    program serves rows that lack different cells; rows are grouped by what they lack where that costs less.

    Parameters:
        model: a `Tabular` model; its graph is taken, its tables are given with each question.
    """

    def __init__(self, model: Any) -> None:
        self.engine = Engine(model, executor="torch")
        self.cards = self.engine.factors.structure.cards
        self.scaled = False

    def groups(self, x: Tensor) -> list[tuple[Tensor, Ask]]:
        """Rows that share a program, by their positions."""
        lacking = (x == MISSING).any(0)
        together = self._ask(lacking.tolist())
        kinds, group = patterns(x == MISSING)
        if not self._worth_grouping(len(kinds), len(x), together):
            return [(torch.arange(len(x), device=x.device), together)]
        return [((group == i).nonzero()[:, 0], self._ask(each)) for i, each in enumerate(kinds.tolist())]

    def _ask(self, lacking: Sequence[bool]) -> Ask:
        # what no row knows is asked about as well: a variable without any likelihood would be pruned,
        # and an expected count is a derivative by its table
        hard = tuple(v for v, absent in enumerate(lacking) if not absent)
        return Ask(hard, tuple(v for v, absent in enumerate(lacking) if absent))

    def _worth_grouping(self, patterns: int, rows: int, together: Ask) -> bool:
        if patterns == 1:
            return False
        try:
            work = self.engine.program(together).multiply_adds * WORKING * BACK
        except TooLarge:
            return True
        return patterns * len(self.cards) * CALLING < rows * work

    def log_known(self, ask: Ask, tables: Sequence[Tensor], x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """log P(known cells), nats, of one block of rows after the other; differentiable by the tables."""
        ask = Ask(ask.hard, ask.soft, scaled=self.scaled)
        program = self.engine.program(ask)
        static = static_values(program, tables)
        room = BLOCK if x.device.type == "cpu" else self.engine.budget // 4
        size = max(64, room // max(1, program.entries * tables[0].element_size()))
        for low in range(0, len(x), size):
            block = x[low : low + size]
            values = functional.run(program, static, *self._inputs(ask, block, tables[0]))
            log_evidence = functional.output(program, values, len(block)).log_evidence
            if not self.scaled and bool((log_evidence.detach() < UNDERFLOW[log_evidence.dtype]).any()):
                self.scaled = True
                for again, rest in self.log_known(ask, tables, x[low:]):
                    yield slice(low + again.start, low + again.stop), rest
                return
            yield slice(low, low + len(block)), log_evidence

    def _inputs(self, ask: Ask, x: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [hard, N] and likelihoods [states of the soft, N]."""
        codes = x[:, list(ask.hard)].T
        parts = [x.new_empty(0, len(x), dtype=torch.bool)]
        for v in ask.soft:
            states = torch.arange(self.cards[v], device=x.device)[:, None]
            parts.append((x[:, v] == states) | (x[:, v] == MISSING))
        return codes, torch.cat(parts).to(like.dtype)


class ExpectedCounts:
    """The closed-form steps of a network whose rows lack cells: its own, on expected counts.

    The expected count of a table's entry is that entry times the derivative by it of log P(known cells), summed
    over the rows. Rows that are the same are counted once, with their number.

    References:
        The EM algorithm for graphical association models with missing data (Lauritzen, 1995)
        A Differential Approach to Inference in Bayesian Networks (Darwiche, 2003)
    """

    def __init__(self, model: Any) -> None:
        self.model, self.cells = model, Cells(model)
        self.asks: list[Ask] = []

    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        self.model.em_start(x, generator)

    def prepare(self, x: Tensor) -> Tensor:
        """Different rows, each with its number and its group: [rows, V + 2]."""
        rows, number = x.long().unique(dim=0, return_counts=True)
        groups = self.cells.groups(rows)
        self.asks = [ask for _, ask in groups]
        parts = [
            torch.cat([rows[index], number[index, None], torch.full_like(number[index, None], i)], 1)
            for i, (index, _) in enumerate(groups)
        ]
        return torch.cat(parts)

    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Expected counts of all tables' entries, end to end, and the log-likelihood of what is known."""
        tables = [table.detach().requires_grad_() for table in self.model.probabilities()]
        derivatives = [torch.zeros_like(table) for table in tables]
        total = tables[0].new_zeros(())
        groups, sizes = prepared[:, -1].unique_consecutive(return_counts=True)
        for group, part in zip(groups.tolist(), prepared.split(sizes.tolist()), strict=True):
            x, number = part[:, :-2], part[:, -2].to(total.dtype)
            with torch.enable_grad():
                for rows, logs in self.cells.log_known(self.asks[group], tables, x):
                    self._refuse_impossible(logs, x[rows])
                    weighted = (number[rows] * logs).sum()
                    total += weighted.detach()
                    found = torch.autograd.grad(weighted, tables, retain_graph=True)
                    torch._foreach_add_(derivatives, found)
        counts = [(table.detach() * each).flatten() for table, each in zip(tables, derivatives, strict=True)]
        return (torch.cat(counts),), total

    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        self.model.maximise(statistics)

    def _refuse_impossible(self, logs: Tensor, x: Tensor) -> None:
        bad = ~torch.isfinite(logs)
        if not bad.any():
            return
        row = x[bad][0]
        variables, states = self.engine.variables, self.engine.states
        known = [f"{v} = {states[v][code]}" for v, code in zip(variables, row.tolist(), strict=True) if code != MISSING]
        more = ", ..." if len(known) > 6 else ""
        raise ValueError(
            f"a row has probability zero under the tables that em is at: {', '.join(known[:6])}{more}; "
            "start elsewhere, or with a pseudo_count"
        )

    @property
    def engine(self) -> Engine:
        return self.cells.engine
