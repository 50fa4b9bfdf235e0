"""Energies of numbers or codes, asked about a part of x: exact where hidden units are few, else by chains.

References:
    Information processing in dynamical systems: foundations of harmony theory (Smolensky, 1986), for completion by
    holding what is known
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.query.answer import Answer
from inference.query.gaps import Gaps, named
from inference.query.mixing import followed, verdict
from inference.query.question import Question

CHAINS = 4


def answer(question: Question, gaps: Gaps) -> Answer:
    """Summed over the hidden units, or by chains that hold what is known, half of whose sweeps are a warm-up."""
    held = gaps.model.held(gaps.filled, gaps.known)
    with torch.no_grad():
        if held.summable:
            how = "summing over the hidden units"
            return Answer(str(question), {"x": named(gaps, held.sums().double())}, how, "exact")
        drawn = _chains(held, gaps, max(25, -(-question.draws // CHAINS)))
    flat = drawn.flatten(3).double()
    trust, warned = verdict(followed(flat.sum(3), flat), torch.ones(len(gaps.x)))
    error = torch.as_tensor(trust["ess"].values).clamp(min=1).rsqrt().reshape(-1, *[1] * (gaps.x.dim() - 1))
    how = f"{CHAINS} chains that hold what is known, {drawn.shape[1]} sweeps each after as many"
    cells = _cells(drawn.flatten(0, 1), held.levels, error)
    return Answer(str(question), {"x": named(gaps, cells)}, how, "estimate", None, trust, warned)


def _chains(held: Any, gaps: Gaps, kept: int) -> Tensor:
    """Rows as each kept sweep leaves them, [chains, kept, N, *event_shape]."""
    model, count = gaps.model, len(gaps.x)
    rows = model.start(CHAINS * count).flatten(1).to(gaps.filled.dtype)
    found = []
    for sweep in range(2 * kept):
        rows = held.step(rows)
        if sweep >= kept:
            found.append(rows)
    return torch.stack(found, 1).unflatten(0, (CHAINS, count)).transpose(1, 2).unflatten(3, gaps.x.shape[1:])


def _cells(drawn: Tensor, levels: int | None, error: Tensor) -> Tensor:
    """Of numbers mean, deviation and the mean's error; of codes the share of each level."""
    if levels is not None:
        return torch.stack([(drawn == level).double().mean(0) for level in range(levels)], -1)
    mean, sd = drawn.double().mean(0), drawn.double().std(0)
    return torch.stack([mean, sd, sd * error], -1)
