"""Effective draws a second on a GPU with 1,000 and 10,000 chains, beside the same on one core of the CPU.

Seconds on a clock, once traced and warmed up; nothing is measured where there is no GPU.
"""

from __future__ import annotations

import time

import torch

from benchmarks.common import Row
from benchmarks.mcmc_tasks.judging import effective
from benchmarks.mcmc_tasks.ours import FEW, NEVER, draws_of
from inference.mcmc import mcmc
from zoo import programs

NAMES = ("eight_schools", "linear_regression", "gaussian_mixture")
CHAINS = (1_000, 10_000)
DRAWS = 50


def rate(name: str, chains: int, device: str) -> float:
    """What so many more draws of each chain cost and bring."""
    seconds = []
    for draws in (FEW, FEW + DRAWS):
        begun = time.perf_counter()
        posterior = mcmc(
            programs.POSTERIORS[name],
            programs.data(name),
            chains=chains,
            draws=draws,
            until=NEVER,
            device=device,
            progress=False,
        )
        seconds.append(time.perf_counter() - begun)
    last = {site: value[:, -DRAWS:] for site, value in draws_of(posterior).items()}
    return effective(name, last) / (seconds[1] - seconds[0])


def rows(rounds: int) -> list[Row]:
    if not torch.cuda.is_available():
        print("no GPU at hand: nothing measured")
        return []
    found = []
    for name in NAMES:
        for chains in CHAINS:
            cpu, gpu = rate(name, chains, "cpu"), rate(name, chains, "cuda")
            found.append(Row(f"gpu_{name}_{chains}_chains_over_cpu", gpu / cpu, 1.0, "higher", f"{gpu:.0f} a second"))
    return found
