"""Whole histories of a spread on a graph, given what was seen of some nodes at some steps.

A chain holds a history, the compartment of every node at every step. A sweep draws the path of each node from its exact
conditional given all others' (its own moves and its out-neighbours', by forward filtering and backward sampling), then
the rates that have priors by Metropolis steps. The nodes that began it are part of the history.

References:
    Scalable Bayesian Inference for Coupled Hidden Markov and Semi-Markov Models (Touloupou, Finkenstädt and Spencer,
    2020), https://arxiv.org/abs/1806.00128
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.posterior import Posterior
from inference.protocols import name_of
from inference.query.answer import Answer
from inference.sampling.statistics import bulk_ess, rhat
from inference.seeding import seeded
from inference.spread_begin import begun
from inference.spread_moves import Moves, moves_of
from inference.spread_rates import Rates
from inference.spread_seen import Seen, seen_of
from inference.spread_swaps import swap
from inference.spread_sweeps import log_joint, sweep, weigh_contacts

METHOD = "chains over histories, each node's from its exact conditional"
RHAT, ESS = 1.05, 100
"""Beyond which r-hat, and below how many effective draws, an answer warns."""


def history(
    spread: Any,
    given: Mapping[Any, Any],
    *,
    priors: Mapping[str, Any] | None = None,
    seeds: float | Mapping[Any, float] | None = None,
    chains: int = 4,
    draws: int = 500,
    warmup: int = 200,
    thin: int = 2,
    seed: int = 0,
) -> Posterior:
    """p(histories, rates | what was seen), by chains.

    Draws: each rate that has a prior; "reached" [chains, draws, n], the step at which each node left the first
    compartment, and by the name of every other compartment the step at which each node came there: 0 of those who
    began in it, steps + 1 of those who did not until the last. `extra` has "nodes" and "steps".

    Parameters:
        spread: on a graph, in steps (`inference.protocols.OnGraph`).
        given: "step", the last one (the largest named, where it is left out); "start", who began it, as `simulate` takes
            it; "reached", {node: step that reached it, None for never until the last}; "infected", nodes that had been
            reached at the last step, or {node: step}; a compartment, nodes that were in it at the last step, or
            {node: step}. Of a node that is not named nothing is known.
        priors: rate -> its distribution; a rate without one is the spread's.
        seeds: without "start", the chance of each node to begin it, independently, or {node: chance}; 1 / n unless told.
        warmup, thin: sweeps before the first draw, and from each draw to the next.

    Raises:
        ValueError: an unknown node or key, a step beyond the last, or what can't have happened; it names the node.
    """
    began = time.perf_counter()
    moves = moves_of(spread)
    seen = seen_of(moves, given, seeds)
    found = []
    with seeded(seed):
        for random in np.random.default_rng(seed).spawn(chains):
            rates = Rates(moves, priors or {}, seen.steps, random)
            found.append(_chain(moves, seen, rates, draws, warmup, thin))
    names = found[0].keys()
    stacked = {name: torch.from_numpy(np.stack([each[name] for each in found])) for name in names}
    stats = {"lp": stacked.pop("lp")}
    posterior = Posterior(
        name_of(spread), None, stacked, stats, METHOD, seconds=time.perf_counter() - began,
        extra={"nodes": moves.nodes, "steps": seen.steps},
    )  # fmt: skip
    return posterior


def _chain(moves: Moves, seen: Seen, rates: Rates, draws: int, warmup: int, thin: int) -> dict[str, np.ndarray]:
    """Draws of one chain by name, the log density of each among them."""
    states = begun(moves, seen, rates.table)
    pressure = np.zeros((len(states), seen.steps, len(moves.met)))
    contacts = np.zeros(pressure.shape, dtype=np.int64)
    free = _free(seen)
    kept: dict[str, list[Any]] = {name: [] for name in (*rates.priors, "reached", *moves.names[1:], "lp")}
    for number in range(warmup + draws * thin):
        weigh_contacts(states, *moves.arcs, moves.met, pressure, contacts)  # anew, that rounding does not pile up
        order = rates.random.permutation(free)
        law = moves.law, seen.log_start, seen.allowed, order, rates.random
        sweep(states, pressure, contacts, moves.arcs, rates.table, *law)
        swap(states, pressure, contacts, moves.arcs, rates.table, *law)
        rates.update(states, pressure, number < warmup)
        if number >= warmup and (number - warmup) % thin == thin - 1:
            for name, value in rates.values.items():
                kept[name].append(value)
            kept["reached"].append(_first(states != 0))
            for k, name in enumerate(moves.names[1:], start=1):
                kept[name].append(_first(states == k))
            kept["lp"].append(log_joint(states, pressure, rates.table, *moves.law[:3], seen.log_start))
    return {name: np.stack(values) for name, values in kept.items()}


def _free(seen: Seen) -> np.ndarray:
    """The nodes whose path is not known."""
    start = seen.allowed[:, 0] & (seen.log_start > -np.inf)
    return np.flatnonzero((start.sum(1) > 1) | (seen.allowed[:, 1:].sum(2) > 1).any(1))


def _first(there: np.ndarray) -> np.ndarray:
    """[n], the first step at which a node is there, steps + 1 where it never is."""
    return np.where(there.any(1), there.argmax(1), there.shape[1])


def unseen(spread: Any, given: Mapping[Any, Any], seed: int = 0, **options: Any) -> Answer:
    """Whom a spread has reached until each step, [node, step], and when: its mean and deviation, of draws that were.

    `given` and the options are those of `history`.
    """
    posterior = history(spread, given, seed=seed, **options)
    nodes, last = posterior.extra["nodes"], posterior.extra["steps"]
    reached = posterior["reached"]
    ess, worst = _trust(reached)
    steps = torch.arange(last + 1)
    infected = torch.stack([(reached <= step).double().mean((0, 1)) for step in steps.tolist()], 1)
    was = (reached <= last).double()
    count = was.sum((0, 1))
    mean = (was * reached).sum((0, 1)) / count
    sd = ((was * (reached - mean).nan_to_num().square()).sum((0, 1)) / count).sqrt()
    labels = xr.DataArray(np.fromiter(nodes, dtype=object, count=len(nodes)), dims="node")
    values = {
        "infected": xr.DataArray(infected.numpy(), {"node": labels, "step": steps.numpy()}, ("node", "step")),
        "reached": xr.DataArray(
            torch.stack([mean, sd], 1).numpy(), {"node": labels, "statistic": ["mean", "sd"]}, ("node", "statistic")
        ),
    }
    warnings = []
    if worst > RHAT or ess < ESS:
        warnings.append(f"chains of unseen nodes agree to r-hat {worst:.3f}, with {ess:.0f} effective draws: draw more")
    return Answer(
        "P(infected | seen)", values, METHOD, "estimate", reliability={"ess": ess, "rhat": worst},
        warnings=tuple(warnings),
    )  # fmt: skip


def _trust(reached: Tensor) -> tuple[float, float]:
    """The fewest effective draws and the largest r-hat of the nodes whose step is not the same in all draws."""
    flat = reached.double()
    moving = flat[..., flat.flatten(0, 1).var(0) > 0]
    if not moving.shape[-1]:
        return float(flat.shape[0] * flat.shape[1]), 1.0
    ess, worst = bulk_ess(moving), rhat(moving)
    return float(ess[ess.isfinite()].min()), float(worst[worst.isfinite()].max())
