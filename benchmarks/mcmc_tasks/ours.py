"""`inference.mcmc` on the eight posteriors."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.mcmc_tasks.judging import ENOUGH, effective, judged
from inference.mcmc import mcmc
from inference.program import Program
from inference.sampling.chees import Chees
from inference.sampling.density import LogDensity
from inference.sampling.stopping import Ess
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
    found = judged(name, posterior.draws)
    return {"seconds": measured * max(1.0, ENOUGH / found["ess"]), "measured": measured, **found}


def warm(name: str, seed: int, draws: int, chains: int) -> dict[str, float]:
    """Effective draws a CPU second of drawing, traced and warmed up before."""
    torch.set_num_threads(1)
    found, seconds = drawn(name, seed, draws, chains)
    return {"rate": effective(name, found) / seconds, "seconds": seconds, **judged(name, found)}


def drawn(
    name: str,
    seed: int,
    draws: int,
    chains: int | None = None,
    device: str | None = None,
    clock: Callable[[], float] = time.process_time,
) -> tuple[dict[str, torch.Tensor], float]:
    """What the steps after the warm-up draw, and the seconds that they and nothing else took."""
    density = LogDensity.of(Program.of(programs.POSTERIORS[name], programs.data(name), device=device))
    kernel = Chees()
    warmup, count = kernel.warmup_for(density.dim), chains or kernel.chains_for(density.dim)
    torch.manual_seed(seed)
    with torch.no_grad():
        at = kernel.begin(density, density.start(count))
        for step in range(warmup):
            at, _ = kernel.step(at, step / warmup)
        kernel.finish_warmup()
        path = []
        at.q.sum().item()  # a GPU is waited for before either look at the clock
        begun = clock()
        for _ in range(draws):
            at, _ = kernel.step(at, None)
            path.append(at.q)
        at.q.sum().item()
        seconds = clock() - begun
        found = density.constrain(torch.stack(path, 1))
    return {site: value.cpu() for site, value in found.items()}, seconds
