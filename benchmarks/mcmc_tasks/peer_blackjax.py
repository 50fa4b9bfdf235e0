"""blackjax's NUTS on NumPyro's log densities, four chains in one compiled batch."""

from __future__ import annotations

import time
from functools import partial

import blackjax
import jax
from numpyro.infer.util import initialize_model

from benchmarks.mcmc_tasks.judging import effective, judged
from benchmarks.mcmc_tasks.peer_numpyro import arguments
from benchmarks.mcmc_tasks.peers_numpyro import MODELS

CHAINS, WARMUP = 4, 500


def warm(name: str, seed: int, draws: int) -> dict[str, float]:
    """Effective draws a CPU second of drawing, compiled and warmed up before."""
    keys = jax.random.split(jax.random.PRNGKey(seed), CHAINS)
    started = initialize_model(keys, MODELS[name], model_kwargs=arguments(name))
    potential, constrain = started.potential_fn, started.postprocess_fn

    def log_density(z):
        return -potential(z)

    @jax.jit
    @jax.vmap
    def adapted(key, z):
        (state, parameters), _ = blackjax.window_adaptation(blackjax.nuts, log_density).run(key, z, num_steps=WARMUP)
        return state, parameters

    @partial(jax.jit)
    @jax.vmap
    def drawn(key, state, parameters):
        step = blackjax.nuts(log_density, **parameters).step

        def one(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(one, state, jax.random.split(key, draws))[1]

    warmed = jax.block_until_ready(adapted(keys, started.param_info.z))
    jax.block_until_ready(drawn(keys, *warmed))
    begun = time.process_time()
    positions = jax.block_until_ready(drawn(jax.random.split(jax.random.PRNGKey(seed + 1), CHAINS), *warmed))
    spent = time.process_time() - begun
    found = jax.vmap(jax.vmap(constrain))(positions)
    return {"rate": effective(name, found) / spent, "seconds": spent, **judged(name, found)}
