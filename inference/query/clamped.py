"""Some units of an energy-based model held, the others asked for.

query(machine, "x", given={"x": rows with gaps})      P(cell = 1 | the cells that are known), of each cell
query(machine, "h", given={"x": rows, gaps or none})  the same of its hidden units

Exact where what is free can be summed over; else by clamped Gibbs chains, several a row, whose probabilities are
averages of P(unit = 1 | the rest) as units were drawn. `method=MeanField()` is the quick approximation.
An energy that does not know how to be clamped (`inference.protocols.Clampable`) is asked for its free energy alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.protocols import Clampable, Energy, measure_of, name_of, offers
from inference.query.answer import Answer
from inference.query.by_free_energy import ByFreeEnergy
from inference.query.estimates import by_row, labelled
from inference.query.gaps import Gaps, tabled
from inference.query.mixing import followed, verdict
from inference.query.question import Question

NUMBERS = 2**24
"""How many numbers the draws of a block of rows may hold."""
APPROXIMATE = "mean field takes free units for independent, and keeps to one mode: ClampedChains() says how far off"


def clamps(model: Any) -> bool:
    """Whether a model's cells are bits under an energy, so that any of them may be held."""
    return offers(model, Clampable) or (offers(model, Energy) and measure_of(model) == "mass" and _bits(model))


def _bits(model: Any) -> bool:
    return getattr(model, "support", None) is torch.distributions.constraints.boolean


def answers(question: Question) -> bool:
    """Whether hidden units are asked for given x, or cells of x that are not known."""
    if set(question.given) != {"x"} or question.do or question.context is not None or not clamps(question.model):
        return False
    if question.targets == ("h",):
        return offers(question.model, Clampable)
    return question.targets == ("x",) and not bool(Gaps(question).known.all())


def answer(question: Question) -> Answer:
    gaps = Gaps(question)
    with asking(question.model, question.seed):
        rows = _clamped(gaps)
        return _exactly(question, gaps, rows) if rows.summable else ClampedChains().fill(question, gaps, rows)


def _clamped(gaps: Gaps, part: slice = slice(None)) -> Any:
    x, known = gaps.filled[part], gaps.known[part]
    if offers(gaps.model, Clampable):
        return gaps.model.clamped(x, known)
    return ByFreeEnergy(gaps.model, x, known)


def _exactly(question: Question, gaps: Gaps, rows: Any) -> Answer:
    """By summing over all that is not known."""
    means, total = rows.sums()
    evidence = by_row(total - gaps.model.log_partition()) if hasattr(gaps.model, "log_partition") else None
    return Answer(str(question), _told(question, gaps, means), "summing over what is not known", "exact", evidence)


@dataclass(frozen=True)
class MeanField:
    """The quick approximation: units that are not known as if they were independent, given what is."""

    def __call__(self, question: Question) -> Answer:
        _check(question)
        gaps = Gaps(question)
        with asking(question.model, question.seed):
            means, _ = _clamped(gaps).mean_field()
        return Answer(
            str(question), _told(question, gaps, means), "mean field", "approximation", warnings=(APPROXIMATE,)
        )


@dataclass(frozen=True)
class ClampedChains:
    """Gibbs chains over what is not known of each row, from starts of their own.

    The reliability of the answer has R-hat and the effective sample size of the energy and of the directions in which
    a row's units vary most, and "error", the greatest standard error of a probability, from how much chains differ.

    Parameters:
        chains: how many a row.
        warmup: sweeps before what is kept; the question's `draws` are shared among the chains.
    """

    chains: int = 16
    warmup: int = 100

    def __post_init__(self) -> None:
        if self.chains < 2 or self.warmup < 1:
            raise ValueError(f"there must be 2 chains and 1 sweep of warm-up, not {self.chains} and {self.warmup}")

    def __call__(self, question: Question) -> Answer:
        _check(question)
        gaps = Gaps(question)
        with asking(question.model, question.seed):
            return self.fill(question, gaps, _clamped(gaps))

    def fill(self, question: Question, gaps: Gaps, rows: Any) -> Answer:
        """The answer, by random numbers as they come."""
        length = max(8, math.ceil(question.draws / self.chains))
        runs = [self._run(_clamped(gaps, part), length) for part in _parts(gaps, self.chains * length)]
        by_chain = torch.cat([means for means, _ in runs], 1)
        series = torch.cat([followed_ for _, followed_ in runs], 2)
        trust, warned = verdict(series, torch.ones(series.shape[2]))
        kept = {name: value for name, value in trust.items() if not name.startswith("acceptance")}
        error = by_chain.std(0) / math.sqrt(self.chains)
        kept |= {"error_max": float(error.max()), "error": by_row(error.amax(1))}
        method = f"clamped Gibbs sampling, {self.chains} chains of {length} sweeps a row after {self.warmup} of warm-up"
        return Answer(str(question), _told(question, gaps, by_chain.mean(0)), method, "estimate", None, kept, warned)

    def _run(self, rows: Any, length: int) -> tuple[Tensor, Tensor]:
        """Mean probabilities by chain, [C, N, units], and what is followed of the chains."""
        states, total = rows.begin(self.chains), 0.0
        for _ in range(self.warmup):
            states, _told_by = rows.step(states)
        units, energies = [], []
        for _ in range(length):
            states, told = rows.step(states)
            total = total + told.double()
            units.append(states.unflatten(0, (self.chains, -1)).float())
            energies.append(-rows.energy(states).unflatten(0, (self.chains, -1)))
        means = torch.as_tensor(total / length).unflatten(0, (self.chains, -1))
        return means, followed(torch.stack(energies, 1), torch.stack(units, 1))


def _parts(gaps: Gaps, draws: int) -> Iterator[slice]:
    step = max(1, NUMBERS // (draws * getattr(gaps.model, "units", gaps.x[0].numel())))
    return (slice(start, start + step) for start in range(0, len(gaps.x), step))


def _check(question: Question) -> None:
    if not answers(question):
        raise ValueError(
            f"{name_of(question.model)} can't answer {question} by clamping: give {{'x': rows}} of bits of an "
            "energy-based model, and ask for 'x' where rows have gaps, or for its hidden units, 'h'"
        )


def _told(question: Question, gaps: Gaps, means: Tensor) -> dict[Any, xr.DataArray]:
    """P(cell = 0) and P(cell = 1) of the cells or of the hidden units."""
    width = gaps.x[0].numel()
    if question.targets == ("h",):
        hidden = means[:, width:]
        table = torch.stack([1 - hidden, hidden], -1)
        return {"h": labelled(table, "h", "level", range(2)).rename("probability")}
    cells = means[:, :width].reshape(gaps.x.shape)
    return {"x": tabled(torch.stack([1 - cells, cells], -1))}
