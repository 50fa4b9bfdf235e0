"""The boarding school's influenza: effective draws a CPU second from a cold start, and the published posterior.

Each contestant runs in a fresh process on one thread; tracing, compiling and warming up count, and the CPU seconds of
children with them. Effective draws are ArviZ's fewest, bulk or tail, over beta, gamma and phi_inv. Ours are 1,024
chains that stop by their own rule at 20,000 effective draws and an r-hat of 1.01; NumPyro's NUTS is 2 chains of 500 +
1,000 steps, Pyro's one short chain of 60 + 100 that begins near the mode, which flatters it. Seeds are rounds; medians.
"""

from __future__ import annotations

import statistics

from benchmarks.common import Row
from benchmarks.mcmc_tasks.fresh import fresh
from benchmarks.spread_tasks.flu_judged import PUBLISHED

OFF = {"beta": 0.05, "gamma": 0.05, "R0": 0.3}
"""Posterior standard deviations, as published."""


def rows(rounds: int) -> list[Row]:
    rounds = min(rounds, 3)
    ours = median("ours", rounds)
    numpyro, pyro = median("numpyro", rounds), median("pyro", 1)
    found = [
        _over("pyro", ours, pyro, 500.0),
        _over("numpyro", ours, numpyro, 15.0),
        Row("flu_rhat", ours["rhat"], 1.011, "lower", f"{ours['ess']:.0f} effective draws in {ours['seconds']:.1f} s"),
    ]
    for name, mean in PUBLISHED.items():
        told = f"{ours[name]:.3f}, NumPyro {numpyro[name]:.3f}, published {mean}"
        found.append(Row(f"flu_{name}_off_in_sd", abs(ours[name] - mean) / OFF[name], 0.2, "lower", told))
    return found


def _over(peer: str, ours: dict[str, float], theirs: dict[str, float], goal: float) -> Row:
    told = f"{ours['rate']:.0f} effective draws a CPU second beside {theirs['rate']:.1f}"
    return Row(f"flu_ess_a_second_over_{peer}", ours["rate"] / theirs["rate"], goal, "higher", told)


def median(who: str, rounds: int) -> dict[str, float]:
    runs = [fresh(f"benchmarks.spread_tasks.flu_{who}", "cold", seed) for seed in range(rounds)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}
