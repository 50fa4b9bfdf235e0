"""Pyro's NUTS on the flu, one chain: the model by hand, Runge and Kutta's steps in as few operations as it takes."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS

from benchmarks.spread_tasks.flu_judged import cpu, judged
from zoo.spread.influenza import BOYS, in_bed
from zoo.spread.reporting import PositiveNormal

WARMUP, DRAWS, STEPS = 60, 100, 5


def curve(beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    s, i, seen, h = torch.tensor(BOYS - 1.0), torch.tensor(1.0), [], 1 / STEPS
    force = beta / BOYS

    def slope(s: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        new = force * s * i
        return -new, new - gamma * i

    for _ in range(14):
        for _ in range(STEPS):
            s1, i1 = slope(s, i)
            s2, i2 = slope(s + h / 2 * s1, i + h / 2 * i1)
            s3, i3 = slope(s + h / 2 * s2, i + h / 2 * i2)
            s4, i4 = slope(s + h * s3, i + h * i3)
            s = s + h / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
            i = i + h / 6 * (i1 + 2 * i2 + 2 * i3 + i4)
        seen.append(i)
    return torch.stack(seen)


def model(cases: torch.Tensor) -> None:
    beta = pyro.sample("beta", PositiveNormal(2.0, 1.0))
    gamma = pyro.sample("gamma", PositiveNormal(0.4, 0.5))
    phi_inv = pyro.sample("phi_inv", dist.Exponential(5.0))
    mean = curve(beta, gamma)
    with pyro.plate("time", 14):
        pyro.sample("cases", dist.NegativeBinomial(1 / phi_inv, logits=(mean * phi_inv).log()), obs=cases)


def cold(seed: int) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    pyro.set_rng_seed(seed)
    begun = cpu()
    start = {name: torch.tensor(at).log() for name, at in {"beta": 2.0, "gamma": 0.5, "phi_inv": 0.2}.items()}
    mcmc = MCMC(NUTS(model), num_samples=DRAWS, warmup_steps=WARMUP, initial_params=start, disable_progbar=True)
    mcmc.run(in_bed())
    return judged(mcmc.get_samples(group_by_chain=True), cpu() - begun)
