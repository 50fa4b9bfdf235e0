"""Questions about a part of x given the rest: exact where a model has it, by sampling from any other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.protocols import (
    Completes,
    Density,
    Held,
    Latent,
    Reversible,
    Samples,
    Sequential,
    has_likelihood,
    measure_of,
    offers,
    sums_out,
)
from inference.query import held
from inference.query.answer import Answer
from inference.query.chains import Chains
from inference.query.estimates import by_row, moments, reliability
from inference.query.filling import in_sequence, proposed
from inference.query.gaps import Gaps, named
from inference.query.question import Question
from inference.query.steps import Particles

UNFIT = "what is proposed fits the missing cells poorly; take more draws, or ask for fewer cells"


def answers(question: Question) -> bool:
    """Whether some cell of x is asked for and there is a way to it."""
    if question.targets != ("x",) or set(question.given) != {"x"} or question.do:
        return False
    return way(question.model) is not None and not bool(Gaps(question).known.all())


def answer(question: Question) -> Answer:
    """What is not known of each row, given what is.

    Of numbers their means and standard deviations, of codes their probabilities; cells that are known are as they were.
    """
    gaps = Gaps(question)
    found = way(question.model)
    assert found is not None and len(gaps.filled)
    with asking(question.model, question.seed):
        return found(question, gaps)


def _exactly(question: Question, gaps: Gaps) -> Answer:
    """By the model's own closed form, or where it has none by its own draws."""
    model = gaps.model
    if gaps.context is not None:
        model.check(gaps.filled, gaps.context)
    evidence = None
    if sums_out(model):
        evidence = by_row(model.log_prob(_marked(gaps)))
    elif hasattr(model, "log_known"):
        evidence = by_row(model.log_known(gaps.filled, gaps.known))
    cells = model.cells(gaps.filled, gaps.known)
    if cells is not None:
        return Answer(str(question), {"x": named(gaps, cells)}, "its closed form", "exact", evidence)
    drawn = model.complete(gaps.filled, gaps.known, question.draws)
    flat = torch.zeros(question.draws, len(gaps.x), dtype=torch.float64, device=gaps.x.device)
    method = f"{question.draws} exact draws of what is missing"
    return Answer(str(question), {"x": _averaged(gaps, drawn, flat)}, method, "estimate", evidence)


def _marked(gaps: Gaps) -> Tensor:
    return torch.where(gaps.known, gaps.filled, torch.full_like(gaps.filled, gaps.model.missing_code))


def _in_order(question: Question, gaps: Gaps) -> Answer:
    """Number by number in the model's order, by likelihood weighting (Fung and Chang, 1990)."""
    found = in_sequence(gaps.model, gaps.filled, gaps.known, gaps.context, question.draws)
    return _weighted(question, gaps, *found, "importance sampling, number by number in the model's order")


def _anywhere(question: Question, gaps: Gaps) -> Answer:
    """By kernels about the model's own draws (`inference.query.filling`)."""
    found = proposed(gaps.model, gaps.filled, gaps.known, gaps.context, question.draws)
    return _weighted(question, gaps, *found, "importance sampling from kernels about the model's draws")


def _weighted(question: Question, gaps: Gaps, drawn: Tensor, log_w: Tensor, method: str) -> Answer:
    lost = log_w.max(0).values == -math.inf
    if lost.any():
        row = int(lost.nonzero()[0])
        raise ValueError(
            f"row {row}: none of {len(log_w)} proposals has a density above zero under the model; what is known may "
            "be impossible, or ask for more draws"
        )
    evidence = by_row(log_w.logsumexp(0) - math.log(len(log_w)))
    trust, warned = reliability(log_w, UNFIT)
    how = f"{method}, {len(log_w)} draws a row"
    return Answer(str(question), {"x": _averaged(gaps, drawn, log_w)}, how, "estimate", evidence, trust, warned)


def _averaged(gaps: Gaps, drawn: Tensor, log_w: Tensor) -> xr.DataArray:
    weights = log_w.softmax(0)
    if not gaps.codes:
        told = torch.stack([gaps.filled.double(), *[torch.zeros_like(gaps.filled, dtype=torch.float64)] * 2], -1)
        return named(gaps, torch.where(gaps.known.unsqueeze(-1), told, moments(drawn.double(), weights)))
    codes = drawn.long()
    levels = int(getattr(gaps.model, "levels", int(codes.max()) + 1))
    shape = weights.reshape(*weights.shape, *[1] * (codes.dim() - 2))
    return named(gaps, torch.stack([(shape * (codes == level)).sum(0) for level in range(levels)], -1))


WAYS: tuple[tuple[Callable[[Any], bool], Callable[[Question, Gaps], Answer]], ...] = (
    (lambda model: offers(model, Completes), _exactly),
    (lambda model: offers(model, Sequential) and offers(model, Density), _in_order),
    (
        lambda model: offers(model, Density) and offers(model, Samples) and measure_of(model) == "density",
        _anywhere,
    ),
    (lambda model: offers(model, Held), held.answer),
    (lambda model: offers(model, Reversible), Particles().fill),
    (lambda model: offers(model, Latent) and has_likelihood(model), Chains().fill),
)
"""What a model offers, and how its missing cells are found; the first that holds is taken."""


def way(model: Any) -> Callable[[Question, Gaps], Answer] | None:
    return next((found for applies, found in WAYS if applies(model)), None)
