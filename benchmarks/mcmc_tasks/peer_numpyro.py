"""NumPyro's NUTS on the eight posteriors."""

from __future__ import annotations

import time
from typing import Any

import jax
from numpyro.infer import MCMC, NUTS

from benchmarks.mcmc_tasks.judging import effective, judged
from benchmarks.mcmc_tasks.peers_numpyro import MODELS
from zoo import programs

WARMUP = 500


def cold(name: str, seed: int, draws: int, chains: int = 4, method: str = "vectorized") -> dict[str, float]:
    """CPU seconds of one run from its start to its draws; `draws` a chain, known beforehand."""
    given = arguments(name)
    begun = time.process_time()
    mcmc = MCMC(
        NUTS(MODELS[name]),
        num_warmup=WARMUP,
        num_samples=draws,
        num_chains=chains,
        chain_method=method,
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), **given)
    found = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    seconds = time.process_time() - begun
    return {"seconds": seconds, **judged(name, found)}


def warm(name: str, seed: int, chains: int, draws: int) -> dict[str, float]:
    """Effective draws a CPU second of drawing, all chains in one batch, compiled and warmed up before."""
    given = arguments(name)
    kernel = NUTS(MODELS[name])
    state = kernel.init(jax.random.split(jax.random.PRNGKey(seed), chains), WARMUP, None, (), given)

    def step(state, _):
        state = kernel.sample(state, (), given)
        return state, state.z

    def walk(steps):
        return jax.jit(lambda state: jax.lax.scan(step, state, length=steps))

    state, _ = walk(WARMUP)(state)
    more = walk(draws)
    state, _ = jax.block_until_ready(more(state))
    begun = time.process_time()
    _, z = jax.block_until_ready(more(state))
    seconds = time.process_time() - begun
    constrain = kernel.postprocess_fn((), given)
    found = jax.vmap(jax.vmap(constrain))(jax.tree.map(lambda value: value.swapaxes(0, 1), z))
    return {"rate": effective(name, found) / seconds, "seconds": seconds, **judged(name, found)}


def arguments(name: str) -> dict[str, Any]:
    return {key: jax.numpy.asarray(value.numpy()) for key, value in programs.data(name).items()}
