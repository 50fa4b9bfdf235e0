"""`inference.mcmc` on the flu: many chains in one batch, begun at a Laplace approximation."""

from __future__ import annotations

import torch

from benchmarks.spread_tasks.flu_judged import cpu, judged
from inference.mcmc import mcmc
from inference.sampling import Ess, Independent
from inference.variational import laplace
from zoo.spread.influenza import in_bed, influenza

CHAINS, ENOUGH = 1024, 20_000


def cold(seed: int) -> dict[str, float]:
    torch.set_num_threads(1)
    program, data = influenza(), {"cases": in_bed()}
    begun = cpu()
    near = laplace(program, data, seed=seed)
    posterior = mcmc(
        program,
        data,
        kernel=Independent(),
        chains=CHAINS,
        until=Ess(ENOUGH),
        start=near,
        seed=seed,
        progress=False,
    )
    return judged(posterior.draws, cpu() - begun)
