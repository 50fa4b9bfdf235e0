"""Whom to choose: the k nodes to begin with, or to vaccinate, one after the other, and what each of them is worth.

    best(rumour, 5)                                             seeds of a campaign: those who are reached
    best(epidemic, 5, do="vaccinate", given={"I": 1})           whom it spares, wherever it begins

Seeds are chosen by sets of who would have reached a node (`reverse_reach`); those to vaccinate by what would
not be reached without them in sampled runs (`dominators`), which tells it of all nodes at once, so that there
is nothing to evaluate lazily; or, where those save more, the highest degrees. What they are worth is told by other runs
than those that they were chosen by.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from inference.near import near
from inference.protocols import name_of
from inference.spread.live_edges import NEVER, Live
from inference.spread.reverse_reach import Sets, certified, greedy, reverse_reach
from inference.spread.runs import Begun, carriers
from inference.spread.sampled_runs import SampledRuns

PILOT, SETS, LOOKED = 200, (1_000, 100_000), 40_000_000
"""Sets to see how large they are; then the fewest and the most, so that about so many edges are looked at."""
FIRST, RUNS, PASSED = 10, (50, 300), 1_000_000
"""The same of runs to choose whom to vaccinate, by the edges that pass it on."""
RANDOM = 10
"""Random choices to compare with."""
SEEDS = "on the samples at least 1 - 1/e = 63 % of the best, as who is reached is submodular (Kempe et al., 2003)"
FOREST = "on the samples at least 1 - 1/e = 63 % of the best: there is one way to everyone, so that it is submodular"
NONE = "none: what is saved is not submodular; two who close two ways to a third save him together, and neither alone"


@dataclass(frozen=True, repr=False)
class Choice:
    """Nodes that were chosen, and what they are expected to be worth.

    Attributes:
        nodes: labels, in the order in which they were chosen.
        gains: what each adds to those before it, in nodes reached or saved, [k].
        errors: the standard errors of the gains, [k].
        value: what all are worth together, and `error` its standard error.
        measure: "reached" or "saved".
        guarantee: in words, how good the choice is sure to be.
        certified: the share of the best choice's value that it has, with 99 % confidence; None where nothing is sure.
        others: value and error of other choices of as many: the highest degrees, at random.
        method: how it was found, in words.
    """

    nodes: tuple[Hashable, ...]
    gains: np.ndarray
    errors: np.ndarray
    value: float
    error: float
    measure: str
    guarantee: str
    certified: float | None
    others: Mapping[str, tuple[float, float]]
    method: str

    def to_frame(self) -> pd.DataFrame:
        """A row for each node, in the order of the choice."""
        return pd.DataFrame({"node": self.nodes, "gain": self.gains, "error": self.errors})

    def __repr__(self) -> str:
        lines = [f"{self.value:.4g} ± {self.error:.2g} {self.measure}, by {self.method}"]
        lines += ["  " + line for line in self.to_frame().to_string(index=False, float_format="%.3g").splitlines()]
        lines += [f"  {name}: {value:.4g} ± {error:.2g}" for name, (value, error) in self.others.items()]
        return "\n".join([*lines, f"  guarantee: {self.guarantee}"])


def best(
    spread: Any,
    k: int,
    do: str = "seed",
    *,
    given: Mapping[Any, Any] | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Choice:
    """The k nodes that are worth most, greedily.

    Parameters:
        spread: on a graph, where nobody comes back to the first compartment.
        k: how many.
        do: "seed", to begin it with them; "vaccinate", to spare as many as can be.
        given: to vaccinate, who begins it, as in `outcome`: {"I": labels}, or {"I": 1} for one at random. For seeds at
            most {"steps": 10}: who is reached until then counts.
        samples: sets, or runs, to choose by, and as many again to tell what the choice is worth.

    Raises:
        ValueError: k that is too large; an unknown `do`; a spread that comes back; who begins it missing or unknown.
    """
    if do not in CHOICES:
        raise ValueError(f"do={do!r} is nothing to choose nodes for{near(do, CHOICES)}")
    if not hasattr(spread, "graph"):
        raise TypeError(f"nodes are chosen for a spread on a graph, not for a {name_of(spread)}")
    if samples is not None and not (isinstance(samples, int) and samples >= 2):
        raise ValueError(f"samples are a whole number from 2 on, not {samples!r}")
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"given says who begins it, {{compartment: [nodes]}}, and is no {name_of(given)}")
    live = Live.of(spread, seed)
    if live is None:
        raise ValueError(
            "nodes are chosen for spreads in which nobody comes back to the first compartment, on a graph and with "
            "rates that stay as they are"
        )
    return CHOICES[do](spread, live, k, dict(given or {}), samples)


def _count(k: int, free: int, n: int) -> None:
    if not free:
        raise ValueError(f"there is nobody left to choose: all {n} nodes begin it")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= free:
        raise ValueError(f"k is a whole number from 1 to {free}, the nodes of {n} that can be chosen, not {k!r}")


def _affordable(seen: int, cost: int, budget: int, bounds: tuple[int, int]) -> int:
    """How many samples cost about what there is, where so many that were seen cost this; within bounds."""
    return int(min(bounds[1], max(bounds[0], budget * seen / max(cost, 1))))


# ---- seeds


def _seeds(spread: Any, live: Live, k: int, given: dict[Any, Any], samples: int | None) -> Choice:
    n = spread.graph.n
    _count(k, n, n)
    if more := [key for key in given if key != "steps"]:
        raise ValueError(f"those who begin it are to be chosen: given={{{more[0]!r}: ...}} would say who they are")
    until = Begun.of(spread, {carriers(spread.compartments)[0]: 1, **given}).steps
    until = NEVER - 1 if until is None else until
    if samples is None:
        pilot = reverse_reach(live, 0, PILOT, until)
        samples = _affordable(PILOT, int(spread.graph.indptr.diff()[pilot.nodes].sum()), LOOKED, SETS)
    sets, held = (reverse_reach(live, PILOT + part * samples, samples, until) for part in (0, 1))
    chosen, most = greedy(sets, k)
    first = held.met(chosen)
    gains, errors = _shares(torch.stack([first == place for place in range(k)]), n)
    value, error = _shares((first < k)[None], n)
    share = certified(most, samples, float((first < k).sum()), samples)
    sure = f"{SEEDS}; sampling error and all, at least {share:.0%} of the best of all choices, with 99 % confidence"
    others = {name: _of_others(held, picks) for name, picks in _rivals(spread.graph, k, live.seed).items()}
    labels = tuple(spread.graph.nodes[place] for place in chosen)
    method = f"greedy choice on {samples:,} sets of who would have reached a node, and told by {samples:,} others"
    return Choice(labels, gains, errors, float(value[0]), float(error[0]), "reached", sure, share, others, method)


def _shares(met: Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n times the share of sets that are met, and its standard error, of rows [..., sets]."""
    share = met.double().mean(-1)
    return (n * share).cpu().numpy(), (n * (share * (1 - share) / met.shape[-1]).sqrt()).cpu().numpy()


def _of_others(held: Sets, picks: list[list[int]]) -> tuple[float, float]:
    met = torch.stack([held.met(pick) < len(pick) for pick in picks]).double()
    return _mean(held.n * met)


def _mean(values: Tensor) -> tuple[float, float]:
    """The mean of [choices, samples], and its standard error: of the samples, and of choices where they are several."""
    within = float(values.mean(0).std() / values.shape[1] ** 0.5)
    between = float(values.mean(1).std() / len(values) ** 0.5) if len(values) > 1 else 0.0
    return float(values.mean()), (within**2 + between**2) ** 0.5


def _rivals(graph: Any, k: int, seed: int, free: Tensor | None = None) -> dict[str, list[list[int]]]:
    """Choices to compare with: the highest degrees, and random ones."""
    degree = graph.indptr.diff() if free is None else torch.where(free, graph.indptr.diff(), -1)
    able = torch.arange(graph.n) if free is None else free.nonzero()[:, 0].cpu()
    generator = torch.Generator().manual_seed(seed)
    random = [able[torch.randperm(len(able), generator=generator)[:k]].tolist() for _ in range(RANDOM)]
    return {"highest degrees": [degree.topk(k).indices.tolist()], "at random": random}


# ---- vaccinated


def _vaccinated(spread: Any, live: Live, k: int, given: dict[Any, Any], samples: int | None) -> Choice:
    graph = spread.graph
    if "steps" in given:
        raise ValueError("whom to vaccinate is chosen by who is ever reached: leave the steps out")
    begun = Begun.of(spread, given)
    free = begun.places == 0
    _count(k, int(free.sum()), graph.n)
    if samples is None:
        samples = _affordable(FIRST, len(SampledRuns.of(live, begun, 0, FIRST).source), PASSED, RUNS)
    first, held = (SampledRuns.of(live, begun, FIRST + part * samples, samples) for part in (0, 1))
    rivals = _rivals(graph, k, live.seed, free)
    picks = {"greedy choice": first.greedy(k, free), "highest degrees": rivals["highest degrees"][0]}
    name, other = sorted(picks, key=lambda each: int(first.reached(picks[each]).sum()))  # none is sure to be better
    chosen, others = picks[name], {other: [picks[other]], "at random": rivals["at random"]}
    reached = torch.stack([held.reached(chosen[:count]) for count in range(k + 1)]).double()
    saved = reached[:1] - reached[1:]
    value, error = _mean(saved[-1:])
    gains = (reached[:-1] - reached[1:]).cpu()
    errors = (gains.std(1) / samples**0.5).numpy()
    worth = {
        other: _mean(torch.stack([reached[0] - held.reached(pick) for pick in each])) for other, each in others.items()
    }
    labels = tuple(graph.nodes[place] for place in chosen)
    greedily = name == "greedy choice"
    words = (
        FOREST
        if greedily and _one_way(graph, begun, carriers(spread.compartments), spread.compartments.names)
        else NONE
    )
    method = f"{name} on {samples:,} runs, better there than {other}, and told by {samples:,} others"
    return Choice(labels, gains.mean(1).numpy(), errors, value, error, "saved", words, None, worth, method)


def _one_way(graph: Any, begun: Begun, carrying: list[str], names: Any) -> bool:
    """Whether there is one way at most to each node from all those who begin it: a forest, and one of them a tree."""
    ends = graph.sources.cpu().numpy(), graph.indices.cpu().numpy()
    table = csr_array((np.ones(len(ends[0])), ends), shape=(graph.n, graph.n))
    trees, of = connected_components(table, directed=False)
    pairs = np.unique(np.sort(np.stack(ends), axis=0), axis=1).shape[1]
    if pairs != graph.n - trees:
        return False
    able = [list(names).index(name) for name in carrying]
    named = torch.isin(begun.places, torch.tensor(able, dtype=torch.uint8)).nonzero()[:, 0].cpu().numpy()
    random = sum(begun.chosen.values())
    return bool((np.bincount(of[named], minlength=1) <= 1).all() and (not random or (random == 1 and not len(named))))


CHOICES = {"seed": _seeds, "vaccinate": _vaccinated}
