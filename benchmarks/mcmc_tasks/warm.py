"""Effective draws a CPU second once compiled and warmed up, beside nutpie, blackjax and NumPyro.

Each draws for some seconds with as many chains as serve it best; the worst parameter counts, bulk or tail.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.common import Row
from benchmarks.mcmc_tasks.fresh import fresh

NAMES = ("eight_schools", "kidscore_momiq", "autoregression", "linear_regression")
CONTESTANTS: dict[str, Callable[[str, int], dict[str, float]]] = {
    "ours": lambda name, seed: fresh("ours", "warm", name, seed, 100, 1_000),
    "nutpie": lambda name, seed: fresh("peer_nutpie", "warm", name, seed, 20_000),
    "blackjax": lambda name, seed: fresh("peer_blackjax", "warm", name, seed, 5_000),
    "NumPyro": lambda name, seed: fresh("peer_numpyro", "warm", name, seed, 64, 200),
}


def rows(rounds: int) -> list[Row]:
    return [row for name in NAMES for row in each(name, min(rounds, 3))]


def each(name: str, rounds: int) -> list[Row]:
    rates = {
        who: statistics.median(run(name, seed)["rate"] for seed in range(rounds)) for who, run in CONTESTANTS.items()
    }
    ours = rates.pop("ours")
    told = [Row(f"warm_{name}_ess_per_second", ours, rates["nutpie"], "higher", f"{rates['nutpie']:.0f}: nutpie")]
    return told + [Row(f"warm_{name}_over_{who}", ours / rate, 1.0, "higher", who) for who, rate in rates.items()]
