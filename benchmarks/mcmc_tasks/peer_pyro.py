"""Pyro's own NUTS on the same programs, one chain."""

from __future__ import annotations

import time

import pyro
import torch
from pyro.infer import NUTS

from benchmarks.mcmc_tasks.judging import ENOUGH, effective, judged
from zoo import programs

WARMUP = 500
BUDGET = 60.0
"""CPU seconds of drawing after which its rate is taken as it is."""
LOOK = 250


def cold(name: str, seed: int) -> dict[str, float]:
    """CPU seconds until 1,000 effective draws; beyond the budget by the rate until then, the warm-up added."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    given = programs.data(name)
    pyro.set_rng_seed(seed)
    begun = time.process_time()
    kernel = NUTS(programs.POSTERIORS[name])
    kernel.setup(WARMUP, **given)
    params = kernel.initial_params
    for _ in range(WARMUP):
        params = kernel.sample(params)
    kernel.end_warmup()
    warmup, drawing, found = time.process_time() - begun, 0.0, []
    while drawing < BUDGET:
        begun = time.process_time()
        for _ in range(LOOK):
            params = kernel.sample(params)
            found.append(params)
        drawing += time.process_time() - begun
        draws = constrained(kernel, found)
        if (ess := effective(name, draws)) >= ENOUGH:
            break
    seconds = warmup + drawing * max(1.0, ENOUGH / ess)
    return {"seconds": seconds, "measured": warmup + drawing, **judged(name, draws)}


def constrained(kernel: NUTS, found: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The draws in the sites' own spaces, [1, draws, *shape]."""
    stacked = {site: torch.stack([params[site] for params in found])[None] for site in found[0]}
    return {
        site: kernel.transforms[site].inv(value) if site in kernel.transforms else value
        for site, value in stacked.items()
    }
