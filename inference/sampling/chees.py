"""Hamiltonian Monte Carlo for many chains at once, which learns from all of them how far and how finely to go."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inference.sampling.adaptation import Ascent, Dense, Diagonal, DualAveraging, Metric, halton
from inference.sampling.approach import Climb
from inference.sampling.kernel import Chains, Density, Kernel

DIVERGED = 1000.0
"""The energy error, in nats, from which on a path has left the level set: a divergence, as Stan says it."""

FEWEST = 4
DENSE_UP_TO = 200


class Chees(Kernel):
    """ChEES-HMC: all chains take the same number of leapfrog steps, of a length that is learnt from all of them.

    The path's length climbs the criterion E[(|q' - m|^2 - |q - m|^2)^2] / 4 (in units of the metric), jittered by a
    Halton sequence between half and one and a half of itself; the step's size brings the harmonic mean of the chains'
    acceptance rates to `target`; the metric is learnt from positions and slopes of all chains. Chains begin by climbing
    towards the bulk, which costs tens of slopes.

    Parameters:
        target: the acceptance rate wanted.
        metric: `Dense()` or `Diagonal()`; None takes the dense one where there are chains enough to learn it.
        longest: leapfrog steps a transition at most.

    References:
        An adaptive-MCMC scheme for setting trajectory lengths in Hamiltonian Monte Carlo (Hoffman, Radul and Sountsov,
        2021), https://proceedings.mlr.press/v130/hoffman21a.html
    """

    name = "ChEES-HMC"

    def __init__(self, *, target: float = 0.8, metric: Metric | None = None, longest: int = 256) -> None:
        if not 0 < target < 1:
            raise ValueError(f"target is the acceptance rate wanted, between 0 and 1, not {target}")
        self._target, self._metric, self._longest = target, metric, longest
        self.metric: Metric = metric if metric is not None else Diagonal()
        self._turn = 0
        self._adapted = False

    def chains_for(self, dim: int) -> int:
        return 256 if dim <= 64 else 128

    def warmup_for(self, dim: int) -> int:
        return 40

    def begin(self, density: Density, q: Tensor) -> Chains:
        self._meet(density, q)
        chains = Climb(density, q, self.metric).run()
        self.metric.refresh()
        return chains

    def _meet(self, density: Density, q: Tensor) -> None:
        chains, dim = q.shape
        if chains < FEWEST:
            raise ValueError(f"{self.name} learns from many chains at once: it needs {FEWEST}, better 64, not {chains}")
        self.density = density
        if self._metric is None:
            self.metric = Dense() if dim <= DENSE_UP_TO and chains >= 2 * dim else Diagonal()
        self.metric.begin(q)
        self._turn, self._adapted = 0, False
        self._step_size = DualAveraging(self._target, dim**-0.25)
        self._length = Ascent(math.pi / 2)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        adapting = warmup is not None
        jitter = 0.5 + halton(self._turn)
        self._turn += 1
        length = jitter * (self._length.value if adapting else self._length.mean)
        finest = self._step_size.step if adapting else self._step_size.mean
        steps = min(max(math.ceil(length / finest), 1), self._longest)
        size = min(finest, length / steps)
        moved, u, change = self._path(chains, steps, size)
        rate = change.clamp(max=0).exp()
        proposed = Chains(moved.q, moved.log_density, moved.slope)
        accepted = torch.rand_like(rate) < rate
        after = chains.where(accepted, proposed)
        if adapting:
            self._adapt(chains, proposed, u, rate, jitter * 1.0, after)
        return after, self._stats(after, u, change, rate, steps, size)
