"""Hamiltonian Monte Carlo for many chains at once, which learns from all of them how far and how finely to go."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inference.sampling.adaptation import (
    DENSE_UP_TO,
    ROWS_A_DIMENSION,
    Ascent,
    Dense,
    Diagonal,
    DualAveraging,
    Metric,
    halton,
)
from inference.sampling.approach import Climb
from inference.sampling.kernel import DIVERGED, Chains, Density, Kernel

RAREST = 0.1
"""Chains that accept less count as accepting so much: a stuck one may not stop all others."""

GAIN, DELAY = 0.3, 3.0
"""Of dual averaging, which elsewhere listens to one chain, a noisy one, and here to the mean of many."""

FEWEST = 4


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

    def chains_for(self, dim: int) -> int:
        return min(max(64, 32 * math.ceil(dim / 16)), 256)

    def warmup_for(self, dim: int) -> int:
        return min(24 + dim // 2, 100)

    def begin(self, density: Density, q: Tensor) -> Chains:
        self._meet(density, q)
        return Climb(density, q, self.metric).run()

    def _meet(self, density: Density, q: Tensor) -> None:
        chains, dim = q.shape
        if chains < FEWEST:
            raise ValueError(f"{self.name} learns from many chains at once: it needs {FEWEST}, better 64, not {chains}")
        self.density = density
        if self._metric is None:
            self.metric = Dense() if dim <= DENSE_UP_TO and chains >= ROWS_A_DIMENSION * dim else Diagonal()
        self.metric.begin(q)
        self._turn, self._seen, self._due = 0, 0, 1
        self._step_size = DualAveraging(self._target, dim**-0.25, GAIN, DELAY)
        self._length = Ascent(math.pi / 2)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        length = (0.5 + halton(self._turn)) * (self._length.mean if warmup is None else self._length.value)
        finest = self._step_size.mean if warmup is None else self._step_size.step
        steps = min(max(math.ceil(length / finest), 1), self._longest)
        size = min(finest, length / steps)
        self._turn += 1
        u = torch.randn_like(chains.q)
        proposed, v = self.path(chains, u, steps, size)
        energy = u.square().sum(-1) / 2 - chains.log_density
        change = v.square().sum(-1) / 2 - proposed.log_density - energy
        rate = torch.where(change.isfinite(), -change, -torch.inf).clamp(max=0).exp()
        after = chains.where(torch.rand_like(rate) < rate, proposed)
        if warmup is not None:
            self._adapt(chains, proposed, after, v, rate, steps * size)
        stats = {
            "lp": after.log_density,
            "acceptance_rate": rate,
            "diverging": ~(change <= DIVERGED),
            "energy": energy,
            "n_steps": torch.full_like(rate, steps),
            "step_size": torch.full_like(rate, size),
        }
        return after, stats

    def path(self, chains: Chains, u: Tensor, steps: int, size: float) -> tuple[Chains, Tensor]:
        """Leapfrog `steps` of `size` from velocities u [C, dim] in units of the metric: where to, how fast."""
        assert chains.slope is not None
        q, metric = chains.q, self.metric
        u = metric.kick(u, chains.slope, size / 2)
        for taken in range(1, steps + 1):
            q = metric.drift(q, u, size)
            value, slope = self.density.value_and_grad(q)
            u = metric.kick(u, slope, size if taken < steps else size / 2)
        return Chains(q, value, slope), u

    def _adapt(self, before: Chains, proposed: Chains, after: Chains, v: Tensor, rate: Tensor, length: float) -> None:
        """Learn from one transition of all chains: the metric now and then, the step and the length each time."""
        assert after.slope is not None
        self._step_size.update(1 / float((1 / rate.clamp(min=RAREST)).mean()))
        self._length.update(length * self.criterion_slope(before.q, proposed.q, v, rate))
        self._length.log_value = min(self._length.log_value, math.log(self._longest * self._step_size.step))
        chains = len(after.q)
        self._seen += 1
        self.metric.learn(after.q - after.q.mean(0), after.slope - after.slope.mean(0), memory=self._seen / 2 * chains)
        if self._seen >= self._due:
            self.metric.refresh()
            self._step_size.restart(self._step_size.step)
            self._due = math.ceil(1.4 * self._due)

    def criterion_slope(self, before: Tensor, proposed: Tensor, v: Tensor, rate: Tensor) -> float:
        """How ChEES changes with the time travelled, the chains weighed by their acceptance rates [C]."""
        kept = rate * proposed.isfinite().all(-1) * v.isfinite().all(-1)
        weight = (kept / kept.sum()).unsqueeze(-1)
        start = self.metric.white(before - before.mean(0))
        there, v = torch.where(weight > 0, proposed, 0.0), torch.where(weight > 0, v, 0.0)
        end = self.metric.white(there - (weight * there).sum(0))
        change = end.square().sum(-1) - start.square().sum(-1)
        along = (end * (v - (weight * v).sum(0))).sum(-1)
        return float((weight.squeeze(-1) * change * along).sum())

    def state_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric.state_dict(),
            "step_size": self._step_size.state_dict(),
            "length": self._length.state_dict(),
            "counts": [self._turn, self._seen, self._due],
        }

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density = density
        self.metric = Diagonal() if state["metric"]["factor"].dim() == 1 else Dense()
        self.metric.load_state_dict(state["metric"])
        self._step_size, self._length = DualAveraging(self._target, 1.0, GAIN, DELAY), Ascent(1.0)
        self._step_size.load_state_dict(state["step_size"])
        self._length.load_state_dict(state["length"])
        self._turn, self._seen, self._due = state["counts"]
