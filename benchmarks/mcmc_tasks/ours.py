"""`inference.mcmc` on the eight posteriors."""

from __future__ import annotations

import time

import torch
from inference.mcmc import mcmc
from inference.sampling.stopping import Ess

from benchmarks.mcmc_tasks.judging import ENOUGH, effective, judged
from inference.posterior import Posterior
from zoo import programs


def cold(name: str, seed: int) -> dict[str, float]:
    """CPU seconds of one call until 1,000 effective draws, tracing and warm-up included.

    Where ArviZ counts fewer than our own rule did, by the rate of the whole.
    """
    torch.set_num_threads(1)
    given = programs.data(name)
    begun = time.process_time()
    posterior = mcmc(programs.POSTERIORS[name], given, until=Ess(ENOUGH), seed=seed, progress=False)
    measured = time.process_time() - begun
    found = judged(name, draws_of(posterior))
    return {"seconds": measured * max(1.0, ENOUGH / found["ess"]), "measured": measured, **found}


def warm(name: str, seed: int, draws: int) -> dict[str, float]:
    """Effective draws a CPU second of drawing, warmed up before: what so many more draws a chain cost and bring.

    Two runs of one seed, that differ in their draws alone.
    """
    torch.set_num_threads(1)
    program, given = programs.POSTERIORS[name], programs.data(name)
    seconds = []
    for each in (FEW, FEW + draws):
        begun = time.process_time()
        posterior = mcmc(program, given, draws=each, until=NEVER, seed=seed, progress=False)
        seconds.append(time.process_time() - begun)
    last = {site: value[:, -draws:] for site, value in draws_of(posterior).items()}
    spent = seconds[1] - seconds[0]
    return {"rate": effective(name, last) / spent, "seconds": spent, **judged(name, last)}


FEW = 20
NEVER = Ess(float("inf"))


def draws_of(posterior: Posterior) -> dict[str, torch.Tensor]:
    return {site: value.cpu() for site, value in posterior.draws.items()}
