"""NumPyro's NUTS on the flu, two chains in one batch, its loop a scan that is compiled once."""

from __future__ import annotations

import jax
import numpyro
import numpyro.distributions as dist
from jax import numpy as jnp
from numpyro.infer import MCMC, NUTS

from benchmarks.spread_tasks.flu_judged import cpu, judged
from zoo.spread.influenza import BOYS, in_bed

WARMUP, DRAWS, CHAINS, STEPS = 500, 1000, 2, 5


def curve(beta: jax.Array, gamma: jax.Array) -> jax.Array:
    h = 1 / STEPS

    def slope(y: jax.Array) -> jax.Array:
        new, gone = beta / BOYS * y[0] * y[1], gamma * y[1]
        return jnp.stack([-new, new - gone])

    def step(y: jax.Array, _: None) -> tuple[jax.Array, None]:
        one = slope(y)
        two = slope(y + h / 2 * one)
        three = slope(y + h / 2 * two)
        four = slope(y + h * three)
        return y + h / 6 * (one + 2 * two + 2 * three + four), None

    def day(y: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        y, _ = jax.lax.scan(step, y, None, length=STEPS)
        return y, y[1]

    return jax.lax.scan(day, jnp.array([BOYS - 1.0, 1.0]), None, length=14)[1]


def model(cases: jax.Array) -> None:
    beta = numpyro.sample("beta", dist.TruncatedNormal(2.0, 1.0, low=0.0))
    gamma = numpyro.sample("gamma", dist.TruncatedNormal(0.4, 0.5, low=0.0))
    phi_inv = numpyro.sample("phi_inv", dist.Exponential(5.0))
    with numpyro.plate("time", 14):
        numpyro.sample("cases", dist.NegativeBinomial2(curve(beta, gamma), 1 / phi_inv), obs=cases)


def cold(seed: int) -> dict[str, float]:
    numpyro.enable_x64()
    cases = jnp.asarray(in_bed().numpy())
    begun = cpu()
    mcmc = MCMC(
        NUTS(model),
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), cases)
    found = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    return judged(found, cpu() - begun)
