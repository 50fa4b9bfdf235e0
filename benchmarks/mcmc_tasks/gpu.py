"""Effective draws a second on a GPU with 1,000 and 10,000 chains, beside the same on one core of the CPU.

Seconds on a clock, once traced and warmed up; nothing is measured where there is no GPU.
"""

from __future__ import annotations

import time

import torch

from benchmarks.common import Row
from benchmarks.mcmc_tasks.judging import effective
from benchmarks.mcmc_tasks.ours import drawn

NAMES = ("eight_schools", "linear_regression", "gaussian_mixture")
CHAINS = (1_000, 10_000)
DRAWS = 50


def rate(name: str, chains: int, device: str) -> float:
    found, seconds = drawn(name, 0, DRAWS, chains, device, time.perf_counter)
    return effective(name, found) / seconds


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
