"""nutpie on PyMC models compiled by numba, four chains one after the other."""

from __future__ import annotations

import time

import nutpie
import pymc as pm

from benchmarks.mcmc_tasks.judging import effective, judged
from benchmarks.mcmc_tasks.peers_pymc import MODELS
from zoo import programs

CHAINS, TUNE = 4, 400


def warm(name: str, seed: int, draws: int) -> dict[str, float]:
    """Effective draws a CPU second of drawing: what so many more draws a chain cost, compiled and tuned alike."""
    with pm.Model() as model:
        MODELS[name](**{key: value.numpy() for key, value in programs.data(name).items()})
    compiled = nutpie.compile_pymc_model(model, backend="numba")
    seconds = []
    for each in (1, 1, 1 + draws):
        begun = time.process_time()
        found = nutpie.sample(
            compiled,
            draws=each,
            tune=TUNE,
            chains=CHAINS,
            cores=1,
            seed=seed,
            progress_bar=False,
            store_divergences=False,
        )
        seconds.append(time.process_time() - begun)
    kept = {site: found.posterior[site].to_numpy() for site in found.posterior.data_vars}
    spent = seconds[2] - seconds[1]
    return {"rate": effective(name, kept) / spent, "seconds": spent, **judged(name, kept)}
