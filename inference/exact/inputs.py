"""Evidence as a program's executor takes it: codes and likelihoods, the rows last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.exact.evidence import MISSING, Evidence
from inference.exact.program import Ask

if TYPE_CHECKING:
    from inference.exact.engine import Engine


def inputs(engine: Engine, ask: Ask, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Codes [hard, N] and likelihoods [states of the soft, N]."""
    order = tuple(sorted(evidence.codes))
    codes = evidence.matrix.to(engine.device)
    hard = codes if order == ask.hard else codes[[order.index(v) for v in ask.hard]]
    if not ask.soft and not ask.seen:
        return hard, torch.empty(0, evidence.rows, dtype=engine.dtype, device=engine.device)
    return hard, torch.cat([*_soft(engine, ask, evidence, order, codes), *_seen(engine, ask, evidence)])


def _soft(engine: Engine, ask: Ask, evidence: Evidence, order: tuple[int, ...], codes: Tensor) -> list[Tensor]:
    """The likelihoods of single variables, [states, N] in all: one at a known code, ones at a missing one."""
    cards = engine.factors.structure.cards
    states = torch.tensor([state for v in ask.soft for state in range(cards[v])], device=engine.device)[:, None]
    unknown = len(codes)
    rows = [order.index(v) if v in evidence.codes else unknown for v in ask.soft for _ in range(cards[v])]
    if unknown in rows:
        codes = torch.cat([codes, torch.full((1, evidence.rows), MISSING, device=engine.device)])
    spread = codes[torch.tensor(rows, dtype=torch.long, device=engine.device)]
    likelihoods = ((spread == states) | (spread == MISSING)).to(engine.dtype)
    start = 0
    for v in ask.soft:
        if v in evidence.likelihoods:
            likelihoods[start : start + cards[v]] *= evidence.likelihoods[v].T.to(engine.device, engine.dtype)
        start += cards[v]
    return [likelihoods]


def _seen(engine: Engine, ask: Ask, evidence: Evidence) -> list[Tensor]:
    """The joint likelihoods, [states, N] each, their axes as the program has them."""
    parts = []
    for (_, order), scope in zip(engine.program(ask).likelihoods[len(ask.soft) :], ask.seen, strict=True):
        part = evidence.joint[scope].to(engine.device, engine.dtype)
        parts.append(part.permute(*(1 + scope.index(v) for v in order), 0).reshape(-1, evidence.rows))
    return parts
