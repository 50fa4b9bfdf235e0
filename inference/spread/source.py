"""Who began it: the posterior over the nodes of a graph, given whom a spread had reached when it was seen.

    query(spread, "source", given={"infected": labels, "step": 8})

Every history of the spread that ends in what was seen has an exact probability. Where they are few they are all summed;
elsewhere two populations of chains draw histories and beginners together, each by itself, so that how far they are
apart tells how far to trust them.

References:
    Rumors in a Network: Who's the Culprit? (Shah and Zaman, 2011), https://arxiv.org/abs/0909.4370
    Inferring the origin of an epidemic with a dynamic message-passing algorithm (Lokhov et al., 2014)
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.query.answer import Answer
from inference.seeding import seeded
from inference.spread.annealing import Population
from inference.spread.law import IMPOSSIBLE, Histories
from inference.spread.snapshot import Snapshot

FEW = 100_000
"""Histories up to which they are all summed."""
CHAINS, BETWEEN, AFTER = 128, 4, 60
"""Of each of two populations; its sweeps after each step of the heat, and at the posterior."""
APART = 5.0
"""Nats between the evidence of two populations above which they found different histories."""
WIDE = 0.3
"""How far apart shares of two populations are in total variation, above which they are warned of."""
ALMOST = 1.0
"""How many sweeps' worth of chains is spread over all candidates: what chains have not found is not impossible."""


def source(spread: Any, given: Mapping[Any, Any], seed: int = 0) -> Answer:
    """P(node began it | snapshot), of every node; alike before anything was seen.

    Parameters:
        spread: on a graph, whose nodes go from the first compartment to the second by contact with it, and at most from
            there to a third: SI, SIR, cascades.
        given: "step", when it was seen, counted from the beginning, or {step: its chance}; "infected", nodes that it
            had reached by then, and a compartment's name, nodes that were in it; "seen", the nodes of which anything
            was seen, all where it is left out (other than in `history`). Who was seen and is not named was still in
            the first compartment.

    Raises:
        ValueError: unknown keys or nodes, no step, nobody reached, or what no one node can have begun.
    """
    snapshot = Snapshot.of(spread, given)
    kept, law = snapshot.histories()
    if math.prod(map(float, law.allowed.sum(1).tolist())) * law.n <= FEW:
        nats = torch.stack([_summed(law, node) for node in range(law.n)])
        _possible(float(nats.max()), snapshot)
        evidence = float(nats.logsumexp(0))
        return _answer(snapshot, kept, (nats - evidence).exp(), "the sum over all histories", "exact", evidence, {}, ())
    with seeded(seed):
        found, evidence, trust = _drawn(law, snapshot, seed)
    method = f"two populations of {CHAINS} chains over histories, cooled from chance"
    warned = _warnings(trust, float(found.max()))
    return _answer(snapshot, kept, found, method, "estimate", evidence, trust, warned)


def _warnings(trust: Mapping[str, Any], most: float) -> tuple[str, ...]:
    """What to warn of; `most` is the probability of the likeliest."""
    warned: tuple[str, ...] = ()
    if trust["beginners_left"] < 2 and most < 0.9:
        warned = ("the chains descend from one beginner: another seed may find others",)
    if trust["evidence_apart"] > APART:
        warned += (f"two populations differ by {trust['evidence_apart']:.1f} nats in what they found: try other seeds",)
    if trust["error"] > WIDE:
        warned += (f"two populations disagree on {trust['error']:.0%} of who began it: take the mean of several seeds",)
    return warned


def _answer(
    snapshot: Snapshot,
    kept: np.ndarray,
    found: Tensor,
    method: str,
    kind: str,
    evidence: float,
    trust: dict,
    warned: Any,
) -> Answer:
    nodes = snapshot.moves.nodes
    share = np.zeros(len(nodes))
    share[kept] = found.numpy()
    labels = np.fromiter(nodes, dtype=object, count=len(nodes))
    values: dict[Hashable, xr.DataArray] = {
        "source": xr.DataArray(share, {"source": labels}, ("source",), name="probability")
    }
    return Answer("P(source | seen)", values, f"{method}, {snapshot.reading}", kind, evidence, trust, warned)


def _summed(law: Histories, node: int) -> Tensor:
    """log p(snapshot, begun by this node), by all histories."""
    x = law.options[:, 0]
    own = [(law.allowed[j] & ((x <= law.steps) if j == node else (x > 0))).nonzero()[:, 0] for j in range(law.n)]
    histories = torch.cartesian_prod(*own).reshape(-1, law.n)
    if not len(histories):
        return torch.tensor(IMPOSSIBLE, dtype=torch.float64)
    return law.log_prob(histories, torch.full((len(histories),), node)).logsumexp(0)


def _possible(nats: float, snapshot: Snapshot) -> None:
    if nats < IMPOSSIBLE / 2:
        raise ValueError(
            f"no history of {max(snapshot.steps)} steps that one node began was found to end with just "
            f"these {len(snapshot.reached)} nodes reached"
        )


def _drawn(law: Histories, snapshot: Snapshot, seed: int) -> tuple[Tensor, float, dict[str, Any]]:
    """Shares of the chains, log evidence, and how far to trust them: "error" is how far two populations are apart."""
    two = [_population(law, snapshot, 2 * seed + number) for number in range(2)]
    shares = [population.found / population.found.sum() for population in two]
    able = (law.log_start.amax(1) > IMPOSSIBLE / 2).double()
    left = ALMOST / (2 * CHAINS)
    found = (1 - left) * (shares[0] + shares[1]) / 2 + left * able / able.sum()
    evidence = torch.tensor([population.log_evidence for population in two], dtype=torch.float64)
    trust = {
        "error": float((shares[0] - shares[1]).abs().sum() / 2),
        "evidence_apart": float(evidence.max() - evidence.min()),
        "beginners_left": min(len(population.source.unique()) for population in two),
    }
    return found, float(evidence.logsumexp(0)) - math.log(2), trust


def _population(law: Histories, snapshot: Snapshot, seed: int) -> Population:
    """At the posterior, and what it found there."""
    population = Population(law, CHAINS, seed)
    population.anneal(BETWEEN)
    _possible(float(population.nats().max()), snapshot)
    for _ in range(AFTER):
        population.sweep()
    return population
