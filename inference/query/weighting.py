"""Questions to a directed graph of tables too large for exact elimination, estimated from weighted draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from inference.exact.evidence import MISSING, Evidence, read_evidence
from inference.exact.factors import Factors, factors_of
from inference.query.answer import Answer
from inference.query.network import by_row, check_targets, labelled, row_index, variables_of
from inference.query.question import Question


@dataclass(frozen=True)
class LikelihoodWeighting:
    """`method` of `query` for a network: forward draws of what is not known, weighted by the likelihood of what is.

    An estimate with its error; poor where the evidence is unlikely a priori, and its effective sample size says so.
    Weighing and Integrating Evidence for Stochastic Simulation in Bayesian Networks (Fung and Chang, 1990).

    Parameters:
        draws: how many a row of evidence.
    """

    draws: int = 10_000

    def __post_init__(self) -> None:
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 2:
            raise ValueError(f"draws must be a whole number of at least 2, not {self.draws!r}")

    def __call__(self, question: Question) -> Answer:
        factors = factors_of(question.model)
        given = read_evidence(factors.variables, factors.states, question.given)
        do = read_evidence(factors.variables, factors.states, question.do, "do")
        targets = {target: variables_of(factors.variables, target) for target in question.targets}
        check_targets(factors.variables, targets, given, do)
        rows = row_index(question, given, do)
        factors = factors.without_causes(do.codes) if do.codes else factors
        places = [tuple(factors.place[v] for v in names) for names in targets.values()]
        parts = [
            _estimate(
                factors,
                given.take(torch.tensor([row % given.rows])),
                do.take(torch.tensor([row % do.rows])),
                places,
                self.draws,
            )
            for row in _seeded(max(given.rows, do.rows), question.seed)
        ]
        values = {
            target: labelled(factors.states, torch.stack([p.values[i] for p in parts]), names, rows)
            for i, (target, names) in enumerate(targets.items())
        }
        log_evidence = torch.stack([part.log_evidence for part in parts])
        effective = torch.stack([part.effective for part in parts])
        error = float(torch.stack([part.error for part in parts]).max())
        reliability = {
            "draws": self.draws,
            "ess_min": float(effective.min()),
            "standard_error_max": error,
        }
        few = float(effective.min()) < 100
        warned = ("fewer than 100 effective draws: take more, or condition on less",) if few else ()
        evidence = float(log_evidence[0]) if rows is None else by_row(log_evidence, rows)
        return Answer(str(question), values, "likelihood weighting", "estimate", evidence, reliability, warned)


@dataclass(frozen=True)
class _Part:
    """One row's estimates."""

    values: list[Tensor]
    log_evidence: Tensor
    effective: Tensor
    error: Tensor


def _seeded(rows: int, seed: int) -> Iterator[int]:
    """The rows one after the other, the caller's random state left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield from range(rows)


def _estimate(factors: Factors, given: Evidence, do: Evidence, targets: list[tuple[int, ...]], draws: int) -> _Part:
    cards = factors.structure.cards
    codes, log_w = _draw(factors, given, do, draws)
    if not bool((log_w > -torch.inf).any()):
        raise ValueError("what is given came about in none of the draws: it is impossible, or needs more of them")
    weights = (log_w - log_w.max()).exp()
    total = weights.sum()
    effective = total**2 / (weights**2).sum()
    values, error = [], torch.zeros((), dtype=torch.float64)
    for names in targets:
        place = torch.zeros(draws, dtype=torch.long)
        for v in names:
            place = place * cards[v] + codes[v]
        size = int(np.prod([cards[v] for v in names]))
        p = torch.zeros(size, dtype=torch.float64).index_add_(0, place, weights) / total
        squares = torch.zeros(size, dtype=torch.float64).index_add_(0, place, weights**2)
        # the delta method: sum of w^2 (1 - p)^2 over draws there, w^2 p^2 over the others
        variance = (squares * (1 - 2 * p) + p**2 * (weights**2).sum()) / total**2
        error = torch.maximum(error, variance.clamp(min=0).sqrt().max())
        values.append(p.reshape([cards[v] for v in names]))
    log_evidence = log_w.max() + (total / draws).log()
    return _Part(values, log_evidence, effective, error)


def _draw(factors: Factors, given: Evidence, do: Evidence, draws: int) -> tuple[dict[int, Tensor], Tensor]:
    """States of every variable, [draws], and the log-likelihood of what is known given them."""
    structure = factors.structure
    if structure.parents is None:
        raise ValueError("likelihood weighting draws forward, along the edges of a directed graph")
    order = nx.topological_sort(nx.DiGraph(_edges(structure.parents)))
    codes: dict[int, Tensor] = {}
    log_w = torch.zeros(draws, dtype=torch.float64)
    for v in order:
        table = factors.tables[v].detach().cpu().double()
        p = table[tuple(codes[u] for u in structure.parents[v])].expand(draws, -1)
        known = _state(given, do, v)
        if known is None:
            codes[v] = torch.multinomial(p, 1)[:, 0]
        else:
            codes[v] = torch.full((draws,), known)
            log_w = log_w + p[:, known].log()  # of what is set, nothing: its table is of ones
        if v in given.likelihoods:
            log_w = log_w + given.likelihoods[v][0].double()[codes[v]].log()
    return codes, log_w


def _edges(parents: tuple[tuple[int, ...], ...]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = {v: [] for v in range(len(parents))}
    for v, above in enumerate(parents):
        for u in above:
            children[u].append(v)
    return children


def _state(given: Evidence, do: Evidence, v: int) -> int | None:
    for part in (do, given):
        if v in part.codes and int(part.codes[v][0]) != MISSING:
            return int(part.codes[v][0])
    return None
