"""`particle_mcmc`: the posterior of a program with states that are not seen and cannot be summed out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from inference.mcmc import ENOUGH, mcmc
from inference.particles.forecasting import Forecast, forecast
from inference.posterior import Posterior
from inference.predictive_draws import APART
from inference.program import Program
from inference.results import tell
from inference.sampling.kernel import Kernel
from inference.sampling.pseudo_marginal import Estimated, PseudoMarginal, noise_of
from inference.sampling.stopping import Rule
from inference.seeding import seeded

NOISY = 3.0
"""A variance of the log likelihood's estimate, nats squared, from which on chains hardly move."""
GOOD = 1.5
"""A variance at which the time spent on particles pays best, about."""
SELDOM = 0.5
"""The share of estimates that are not zero, below which chains hardly move."""
REPEATS = 8
"""Estimates at each chain's last place, to tell their variance of."""


def particle_mcmc(
    model: Any,
    data: Any = None,
    *,
    kernel: Kernel | None = None,
    chains: int | None = None,
    warmup: int | None = None,
    draws: int | None = None,
    until: Rule | Iterable[Rule] = ENOUGH,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Posterior:
    """Draw from p(parameters | data) where the likelihood is estimated by particles (`StateSpaceData`): exactly.

    Particle marginal Metropolis-Hastings: each chain keeps the estimate that its place was accepted with. All chains'
    particles are one batch. How many particles there are only decides how well chains move: the variance of the log
    likelihood's estimate is told, and an alarm where it is above 3.

    Parameters:
        model: a Pyro program with priors, as `mcmc` takes it, that observes `StateSpaceData(...)`.
        kernel: one that takes no slope and keeps estimates, as those that end in Metropolis's step do; None takes
            `PseudoMarginal()`.
        data, chains, warmup, draws, until, seed, device, progress: as `mcmc` has them.

    Returns:
        The posterior. `stats` has each draw's "log_likelihood" as it was kept, `extra` the "noise", the variance of the
        log likelihood's estimate at draws of the posterior (nats squared), and "possible", the share of estimates that
        are not zero.
    """
    program = Program.of(model, data, device=device, seed=seed)
    density = Estimated(program)
    found = mcmc(
        density,
        kernel=PseudoMarginal() if kernel is None else kernel,
        chains=chains,
        warmup=warmup,
        draws=draws,
        until=until,
        seed=seed,
        progress=progress,
    )
    assert found.unconstrained is not None
    with seeded(seed + APART, program.device):
        last = found.unconstrained[:, -1]
        noise, possible = noise_of(torch.stack([density(last) for _ in range(REPEATS)]))
    ailing = _alarms(noise, possible)
    tell(ailing)
    prior = density.prior(found.unconstrained.flatten(0, 1)).unflatten(0, found.shape)
    extra = {**found.extra, "noise": noise, "possible": possible}
    stats = {**found.stats, "log_likelihood": found.stats["lp"] - prior}
    kept = {each.name: getattr(found, each.name) for each in fields(found)}
    return ParticlePosterior(**{**kept, "stats": stats, "alarms": {**found.alarms, **ailing}, "extra": extra})


def _alarms(noise: float, possible: float) -> dict[str, str]:
    alarms = {}
    if noise > NOISY:
        alarms["noise"] = (
            f"the estimate of the log likelihood has a variance of {noise:.3g} nats squared, and chains stay for long "
            f"where it happens to be high: about {noise / GOOD:.2g} times the particles= would bring it to {GOOD:g}"
        )
    if possible < SELDOM:
        alarms["impossible data"] = (
            f"{1 - possible:.0%} of the estimates at draws of the posterior are zero, as no particle could have made "
            "the data, and the chains hardly move: more particles= would do, or data told with more noise"
        )
    return alarms


@dataclass(frozen=True, eq=False, repr=False)
class ParticlePosterior(Posterior):
    """A posterior whose draws came with estimates of their likelihood, which are not made again."""

    def log_likelihood(self) -> dict[str, Tensor]:
        """log p(observed site | draw) in nats, name -> [chains, draws]: the estimates that the draws were kept by."""
        names = list(self._program("score data").observed)
        return {names[0]: self.stats["log_likelihood"]} if len(names) == 1 else super().log_likelihood()

    def forecast(self, times: Iterable[float], *, draws: int = 400, particles: int = 1000, seed: int = 0) -> Forecast:
        """Courses of the state given all data, and how they and the data go on at times to come."""
        return forecast(self, times, draws=draws, particles=particles, seed=seed)
