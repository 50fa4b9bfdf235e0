"""CPU seconds from a cold start until the worst parameter has 1,000 effective draws, bulk and tail, by ArviZ.

Every contestant runs in a fresh process on one thread; what it imports by name is not counted, tracing, compiling and
warming up are. Ours stops by its own rule. NumPyro (four chains in one batch, 500 steps of warm-up) is told beforehand
how many draws it needs, by doubling, and only the run that has them counts. Pyro (one chain, 500 steps of warm-up) that
is not done after a minute of drawing is taken at its rate until then. Seeds are rounds; the medians are compared.
"""

from __future__ import annotations

import statistics

from benchmarks.common import Row
from benchmarks.mcmc_tasks.fresh import fresh
from benchmarks.mcmc_tasks.judging import ENOUGH
from zoo import programs

FEWEST, MOST = 250, 32_000


def rows(rounds: int) -> list[Row]:
    found, over = [], []
    for name in programs.POSTERIORS:
        times = seconds(name, min(rounds, 3))
        over.append(times["ours"] / times["NumPyro"])
        told = ", ".join(f"{who} {value:.1f} s" for who, value in times.items())
        found.append(Row(f"cold_{name}_over_pyro", times["ours"] / times["Pyro"], 0.02, "lower", told))
    return [*found, Row("cold_median_over_numpyro", statistics.median(over), 1.0, "lower", "NumPyro")]


def seconds(name: str, rounds: int) -> dict[str, float]:
    """The median of each contestant's; Pyro's is of one run."""
    draws, theirs = FEWEST, []
    for seed in range(rounds):
        while (run := fresh("peer_numpyro", "cold", name, seed, draws))["ess"] < ENOUGH and draws < MOST:
            draws *= 2
        theirs.append(run["seconds"])
    ours = [fresh("ours", "cold", name, seed)["seconds"] for seed in range(rounds)]
    return {
        "ours": statistics.median(ours),
        "NumPyro": statistics.median(theirs),
        "Pyro": fresh("peer_pyro", "cold", name, 0)["seconds"],
    }
