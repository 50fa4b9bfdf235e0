"""Whom to begin with: the nodes that meet most sets of who would have reached one (`reverse_reach`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.spread.chosen import Choice, affordable, check_count, mean, rivals
from inference.spread.live_edges import NEVER, Live
from inference.spread.reverse_reach import Sets, certified, greedy, reverse_reach
from inference.spread.runs import horizon

PILOT, SETS, LOOKED = 200, (1_000, 100_000), 40_000_000
"""Sets to see how large they are; then the fewest and the most, so that about so many edges are looked at."""
SEEDS = "on the samples at least 1 - 1/e = 63 % of the best, as who is reached is submodular (Kempe et al., 2003)"


def seeds(spread: Any, live: Live, k: int, given: dict[Any, Any], samples: int | None) -> Choice:
    n = spread.graph.n
    check_count(k, n, n)
    if more := [key for key in given if key != "steps"]:
        raise ValueError(f"those who begin it are to be chosen: given={{{more[0]!r}: ...}} would say who they are")
    until = horizon(given.get("steps"))
    until = NEVER - 1 if until is None else until
    if samples is None:
        pilot = reverse_reach(live, 0, PILOT, until)
        samples = affordable(PILOT, int(spread.graph.indptr.diff()[pilot.nodes].sum()), LOOKED, SETS)
    sets, held = (reverse_reach(live, PILOT + part * samples, samples, until) for part in (0, 1))
    chosen, most = greedy(sets, k)
    first = held.met(chosen)
    gains, errors = _shares(torch.stack([first == place for place in range(k)]), n)
    value, error = _shares((first < k)[None], n)
    share = certified(most, samples, float((first < k).sum()), samples)
    sure = f"{SEEDS}; sampling error and all, at least {share:.0%} of the best of all choices, with 99 % confidence"
    others = {name: _of_others(held, picks) for name, picks in rivals(spread.graph, k, live.seed).items()}
    labels = tuple(spread.graph.nodes[place] for place in chosen)
    method = f"greedy choice on {samples:,} sets of who would have reached a node, and told by {samples:,} others"
    return Choice(labels, gains, errors, float(value[0]), float(error[0]), "reached", sure, share, others, method)


def _shares(met: Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n times the share of sets that are met, and its standard error, of rows [..., sets]."""
    share = met.double().mean(-1)
    return (n * share).cpu().numpy(), (n * (share * (1 - share) / met.shape[-1]).sqrt()).cpu().numpy()


def _of_others(held: Sets, picks: list[list[int]]) -> tuple[float, float]:
    met = torch.stack([held.met(pick) < len(pick) for pick in picks]).double()
    return mean(held.n * met)
