"""Whole histories of a spread on a graph, given what was seen of some nodes at some steps.

A chain holds a history, the compartment of every node at every step. A sweep draws the path of each node from its exact
conditional given all others' (its own moves and its out-neighbours', by forward filtering and backward sampling), then
the rates that have priors by Metropolis steps. The nodes that began it are part of the history: step 0.

References:
    Scalable Bayesian Inference for Coupled Hidden Markov and Semi-Markov Models (Touloupou, Finkenstädt and Spencer,
    2020), https://arxiv.org/abs/1806.00128
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.posterior import Posterior
from inference.protocols import name_of
from inference.query.answer import Answer
from inference.query.mixing import ESS, R_HAT
from inference.sampling.statistics import bulk_ess, rhat
from inference.seeding import seeded
from inference.spread.moves import Moves, moves_of
from inference.spread.seen import seen_of
from inference.spread.walks import STRAYS, Walk, drawn, warm

METHOD = "chains over histories, each node's from its exact conditional"
READING = "where of nodes not named nothing was seen"
CHAINS = 4
ENOUGH, STAGE = 0.4, 100
"""Effective draws for each draw asked for, of the worst number, at which an answer has enough; looked at each time each
chain has drawn so many."""


def history(
    spread: Any,
    given: Mapping[Any, Any],
    *,
    priors: Mapping[str, Any] | None = None,
    seeds: float | Mapping[Any, float] | None = None,
    chains: int = CHAINS,
    draws: int = 500,
    warmup: int = 500,
    thin: int = 5,
    enough: float = math.inf,
    seed: int = 0,
) -> Posterior:
    """p(histories, rates | what was seen), by chains.

    Draws: each rate that has a prior; "reached" [chains, draws, n], the step at which each node left the first
    compartment, and by the name of every other compartment the step at which each node came there: 0 of those who
    began in it, steps + 1 of those who did not until the last. `extra` has "nodes" and "steps".

    Parameters:
        spread: on a graph, in steps (`inference.protocols.OnGraph`).
        given: "step", the last one (the largest named, where it is left out); "start", who began it, as `simulate`
            takes it; "reached", {node: step that reached it, None for never until the last}; "infected", nodes that had
            been reached at the last step, or {node: step}; a compartment, nodes that were in it at the last step, or
            {node: step}; "seen", nodes that were looked at at the last step: those of them that nothing else names were
            still in the first compartment. Of a node that is not named nothing is known.
        priors: rate -> its distribution; a rate without one is the spread's.
        seeds: without "start", the chance of each node to begin it, independently, or {node: chance}; 1 / n unless
            told.
        draws: of each chain, fewer where `enough` effective draws of what is known least are reached before.
        warmup, thin: sweeps before the first draw, and from each draw to the next. A sweep of all replicas takes about
            0.8 ms for 30 nodes and 8 steps, and grows with nodes, edges and steps: 10 s of CPU for 3000 of 4 chains.
        chains: r-hat and effective draws of nodes, of rates and of how far the spread came make the alarms. The less
            was seen, the slower chains move between a spread and none: then draw more.

    Raises:
        ValueError: an unknown node or key, a step beyond the last, or what can't have happened; it names the node.
    """
    began = time.perf_counter()
    moves = moves_of(spread)
    seen = seen_of(moves, given, seeds)
    with seeded(seed):
        randoms = np.random.default_rng(seed).spawn(chains)
        replicas = [[Walk(moves, seen, priors or {}, strays, random) for strays in STRAYS] for random in randoms]
        for walks in replicas:
            warm(walks, warmup)
        stacked = _drawn(replicas, draws, thin, enough)
    stats = {"lp": stacked.pop("lp")}
    return Posterior(
        name_of(spread),
        None,
        stacked,
        stats,
        METHOD,
        seconds=time.perf_counter() - began,
        alarms=_alarms(stacked),
        extra={"nodes": moves.nodes, "steps": seen.steps, "coords": _coords(moves)},
    )


def unseen(spread: Any, given: Mapping[Any, Any], seed: int = 0, draws: int = 250, **options: Any) -> Answer:
    """Whom a spread has reached until each step, [node, step], and when: its mean and deviation, of draws that were.

    `given` and the options are those of `history`, which draws no more than is enough.
    """
    posterior = history(spread, given, seed=seed, **{"enough": ENOUGH * CHAINS * draws, **options}, draws=draws)
    nodes, last, reached = posterior.extra["nodes"], posterior.extra["steps"], posterior["reached"].flatten(0, 1)
    steps = torch.arange(last + 1)
    infected = (reached[..., None] <= steps).double().mean(0)
    was = (reached <= last).double()
    mean = (was * reached).sum(0) / was.sum(0)
    sd = ((was * (reached - mean.nan_to_num()).square()).sum(0) / was.sum(0)).sqrt()
    labels = np.fromiter(nodes, dtype=object, count=len(nodes))
    values: dict[Hashable, xr.DataArray] = {
        "infected": xr.DataArray(infected.numpy(), {"node": labels, "step": steps.numpy()}, ("node", "step")),
        "reached": xr.DataArray(
            torch.stack([mean, sd], 1).numpy(), {"node": labels, "statistic": ["mean", "sd"]}, ("node", "statistic")
        ),
    }
    ess, worst = _trust(posterior["reached"])
    trust = {"ess": ess, "rhat": worst}
    warnings, method = tuple(posterior.alarms.values()), f"{METHOD}, {READING}"
    return Answer("P(infected | seen)", values, method, "estimate", reliability=trust, warnings=warnings)


def _coords(moves: Moves) -> dict[str, list[Any]]:
    """What ArviZ calls the places of arrays of nodes: their labels, words where they are not all numbers."""
    labels = list(moves.nodes)
    if not all(type(label) is int for label in labels):
        labels = [str(label) for label in labels]
    return {f"{name}_dim_0": labels for name in ("reached", *moves.names[1:])}


def _drawn(replicas: list[list[Walk]], draws: int, thin: int, enough: float) -> dict[str, Tensor]:
    """name -> [chains, draws, ...], in stages, until there are enough."""
    stage = draws if enough == math.inf else STAGE
    found: dict[str, Tensor] = {}
    for made in range(0, draws, stage):
        parts = [drawn(walks, min(stage, draws - made), thin) for walks in replicas]
        more = {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in parts[0]}
        found = {name: torch.cat([found[name], more[name]], 1) if found else more[name] for name in more}
        trust = [_trust(values) for name, values in found.items() if name != "lp"]
        if min(ess for ess, _ in trust) >= enough and max(worst for _, worst in trust) <= R_HAT:
            break
    return found


def _alarms(draws: Mapping[str, Tensor]) -> dict[str, str]:
    """What to warn of, where chains disagree or know little."""
    found = {}
    for name, values in draws.items():
        ess, worst = _trust(values)
        if worst > R_HAT or ess < ESS:
            found[name] = (
                f"{name}: r-hat {worst:.3f}, {ess:.0f} effective draws at the least: draw more, by `draws` of `history`"
            )
    return found


def _trust(values: Tensor) -> tuple[float, float]:
    """The fewest effective draws and the largest r-hat, of numbers that are not the same in all draws.

    Among them is their sum, as chains that differ in how far a spread came differ little in each node.
    """
    flat = values.double().reshape(*values.shape[:2], -1)
    flat = torch.cat([flat, flat.sum(-1, keepdim=True)], -1)
    moving = flat[..., flat.flatten(0, 1).var(0) > 0]
    most = float(flat.shape[0] * flat.shape[1])
    if not moving.shape[-1]:
        return most, 1.0
    return float(bulk_ess(moving).nan_to_num(most).min()), float(rhat(moving).nan_to_num(1.0).max())
