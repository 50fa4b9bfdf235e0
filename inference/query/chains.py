"""What is missing of a latent-variable model's rows, by chains (`inference.query.gibbs`)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.importance import repeated
from inference.query.answer import Answer
from inference.query.cells import by_cell, levels_of, said_of, summary
from inference.query.estimates import by_row, labelled, reliability
from inference.query.gaps import Gaps, tabled
from inference.query.gibbs import Metropolis, Pool, State, Target, start
from inference.query.mixing import followed, verdict
from inference.query.question import Question

NUMBERS = 2**24
"""How many numbers the draws of a block of rows may hold."""
REFRESHED = (0.3, 0.6, 1.0)
"""After which parts of the warm-up the pool of proposals is made anew."""
UNFIT = "the pool proposes poorly for them, and log_evidence is off by more than its draws say"


class Moves(Protocol):
    """One step of all chains, what it is called, and what is to be said against it."""

    label: str
    warning: tuple[str, ...]

    def __call__(self, target: Target, state: State) -> State: ...


@dataclass(frozen=True)
class Chains:
    """Missing cells by chains over (z, x_missing), several a row, each from a start of its own.

    Cells are averaged over what the decoder says of them at each step. "error" is the standard error of a mean, from
    how much chains differ. The reliability of the answer has R-hat and the effective sample size of log p(z, x_known)
    and of the directions in which a row's cells vary most.

    Parameters:
        chains: how many a row.
        warmup: steps before what is kept; the question's `draws` are shared among the chains.
        moves: `Metropolis()`, or `PseudoGibbs()` for chains without its correction.
    """

    chains: int = 16
    warmup: int = 100
    moves: Moves = field(default_factory=Metropolis)

    def __post_init__(self) -> None:
        if self.chains < 2 or self.warmup < 1:
            raise ValueError(f"there must be 2 chains and 1 step of warm-up, not {self.chains} and {self.warmup}")

    def __call__(self, question: Question) -> Answer:
        gaps = Gaps(question)
        with asking(question.model, question.seed):
            return self.fill(question, gaps)

    def fill(self, question: Question, gaps: Gaps) -> Answer:
        """The answer, by random numbers as they come."""
        if gaps.context is not None:
            gaps.model.check(gaps.filled, gaps.context)
        length = max(8, math.ceil(question.draws / self.chains))
        levels = levels_of(getattr(gaps.model, "support", None)) if gaps.codes else None
        step = max(1, NUMBERS // (self.chains * max(length, 2 * (levels or 1)) * gaps.x[0].numel()))
        runs = [self._run(gaps, slice(i, i + step), length, levels) for i in range(0, len(gaps.x), step)]
        trust, warned = verdict(torch.cat([run.series for run in runs], 2), torch.cat([run.taken for run in runs]))
        log_v = None if runs[0].log_v is None else torch.cat([run.log_v for run in runs if run.log_v is not None], 1)
        if log_v is not None:
            weights, unfit = reliability(log_v, UNFIT)
            trust |= {f"evidence_{name}": weights[name] for name in ("pareto_k_max", "pareto_k", "ess")}
            warned += unfit
        cells = torch.cat([run.cells for run in runs])
        values: dict[Hashable, xr.DataArray] = {"x": tabled(cells) if levels else labelled(cells, "x")}
        evidence = None if log_v is None else by_row(log_v.logsumexp(0) - math.log(len(log_v)))
        method = f"{self.moves.label}, {self.chains} chains of {length} draws a row after {self.warmup} of warm-up"
        return Answer(str(question), values, method, "estimate", evidence, trust, self.moves.warning + warned)

    def _run(self, gaps: Gaps, part: slice, length: int, levels: int | None) -> Run:
        """The chains of some rows, from the beginning to the end."""
        x, known = (rows[part].repeat(self.chains, *[1] * (rows.dim() - 1)) for rows in (gaps.filled, gaps.known))
        context = None if gaps.context is None else repeated(gaps.context[part], self.chains)
        target = Target(gaps.model, x, known, context, self.chains)
        state = self._warmed(target)
        run = Recorder(target, levels, length)
        for _ in range(length):
            state = self.moves(target, state)
            run.record(state)
        return run.done(part.start)

    def _warmed(self, target: Target) -> State:
        state = start(target)
        refreshed = {math.ceil(share * self.warmup) for share in REFRESHED}
        for i in range(self.warmup):
            state = self.moves(target, state)
            if i + 1 in refreshed and by_cell(state.decoder, state.x.shape) is not None:
                state = replace(state, pool=Pool(target, state.x))
        state.walk.learning = False
        return state


@dataclass(frozen=True)
class Run:
    """What chains of some rows gave."""

    cells: Tensor
    series: Tensor
    taken: Tensor
    log_v: Tensor | None


class Recorder:
    """What is kept of each step: sums of what the decoder says of the cells, and what is followed of the chains."""

    def __init__(self, target: Target, levels: int | None, length: int) -> None:
        self.target, self.levels, self.length = target, levels, length
        self.total: Tensor | float = 0.0
        self.cells: list[Tensor] = []
        self.log_p: list[Tensor] = []
        self.taken: list[Tensor] = []
        self.log_v: list[Tensor] = []

    def record(self, state: State) -> None:
        said = said_of(state.decoder, state.x, self.levels).double()
        self.total = self.total + said
        codes = torch.arange(said.shape[-1], dtype=said.dtype, device=said.device)
        first = said[..., 0] if self.levels is None else said @ codes
        self.cells.append(self._by_chain(torch.where(self.target.known, 0.0, first).flatten(1).float()))
        self.log_p.append(self._by_chain(self.target.joint(state.z, state.decoder, state.x)))
        assert state.taken is not None
        self.taken.append(self._by_chain(state.taken.double()).mean(0))
        if state.log_v is not None:
            self.log_v.append(self._by_chain(state.log_v.double()))

    def _by_chain(self, values: Tensor) -> Tensor:
        return values.unflatten(0, (self.target.chains, -1))

    def done(self, first_row: int) -> Run:
        log_p = torch.stack(self.log_p, 1)
        lost = ~log_p[:, -1].isfinite().all(0)
        if lost.any():
            row = first_row + int(lost.nonzero()[0])
            raise ValueError(f"row {row}: no chain found a z under which what is known has a density above zero")
        series = followed(log_p, torch.stack(self.cells, 1))
        log_v = torch.cat(self.log_v) if self.log_v else None
        return Run(self._cells(), series, torch.stack(self.taken).mean(0), log_v)

    def _cells(self) -> Tensor:
        x, known = (self._by_chain(rows)[0] for rows in (self.target.x, self.target.known))
        said = self._by_chain(torch.as_tensor(self.total / self.length))
        error = said[..., 0].std(0) / math.sqrt(len(said))
        return summary(x, known, said.mean(0), error, self.levels)
