"""The No-U-Turn sampler for many chains at once: each its own path, the scale and the step learnt from all.

References:
    The No-U-Turn Sampler (Hoffman and Gelman, 2014), https://arxiv.org/abs/1111.4246
    A Conceptual Introduction to Hamiltonian Monte Carlo (Betancourt, 2017), https://arxiv.org/abs/1701.02434
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inference.sampling.adaptation import DENSE_UP_TO, Dense, Diagonal, DualAveraging, Metric
from inference.sampling.approach import Climb
from inference.sampling.kernel import Chains, Density, Kernel
from inference.sampling.nuts_tree import Point, Tree, grown

ROWS = 20
"""Of the draws of a chain's warm-up, what they tell of the scale is worth so many rows."""


class Nuts(Kernel):
    """Multinomial NUTS: a path doubles until it turns back on itself, and its points count by their density.

    All chains double together, and wait for the one whose path is the longest: paths of very different lengths are what
    this costs more for than `Chees`, and what it is for. The metric is learnt from positions and slopes of all chains,
    the step so that their mean acceptance is `target`; chains begin by climbing towards the bulk.

    Parameters:
        target: the acceptance rate wanted; nearer to one where paths diverge.
        metric: `Dense()` or `Diagonal()`; None takes the dense one where there are chains enough to learn it.
        max_depth: a path has at most 2^max_depth - 1 leapfrog steps.
    """

    name = "NUTS"

    def __init__(self, *, target: float = 0.8, metric: Metric | None = None, max_depth: int = 10) -> None:
        if not 0 < target < 1:
            raise ValueError(f"target is the acceptance rate wanted, between 0 and 1, not {target}")
        if max_depth < 1:
            raise ValueError(f"max_depth, how often a path may double, must be at least 1, not {max_depth}")
        self._target, self._metric, self._max_depth = target, metric, max_depth

    def warmup_for(self, dim: int) -> int:
        return 150

    def begin(self, density: Density, q: Tensor) -> Chains:
        self._meet(density, q)
        chains = Climb(density, q, self.metric).run()
        self.metric.refresh()
        return chains

    def _meet(self, density: Density, q: Tensor) -> None:
        chains, dim = q.shape
        dense = dim <= min(DENSE_UP_TO, ROWS * chains)
        self.metric = self._metric if self._metric is not None else Dense() if dense else Diagonal()
        self.metric.begin(q)
        self.density, self._seen, self._due = density, 0, 1
        self._centre = q.new_zeros(2, 1, dim)
        self._step_size = DualAveraging(self._target, dim**-0.25)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        assert chains.slope is not None
        self._size = self._step_size.mean if warmup is None else self._step_size.step
        start = Point(chains.q, torch.randn_like(chains.q), chains.slope, chains.log_density)
        tree = grown(self._leap, start, self._max_depth)
        after = Chains(tree.draw.q, tree.draw.log_density, tree.draw.slope)
        stats = self._told(start, tree)
        if warmup is not None:
            self._adapt(after, stats["acceptance_rate"])
        return after, stats

    def _leap(self, at: Point, sign: Tensor) -> Point:
        u = self.metric.kick(sign * at.r, at.slope, self._size / 2)
        q = self.metric.drift(at.q, u, self._size)
        log_density, slope = self.density.value_and_grad(q)
        return Point(q, sign * self.metric.kick(u, slope, self._size / 2), slope, log_density)

    def _told(self, start: Point, tree: Tree) -> dict[str, Tensor]:
        return {
            "lp": tree.draw.log_density,
            "acceptance_rate": tree.accepted / tree.leapfrogs,
            "diverging": tree.diverging,
            "energy": start.energy(),
            "n_steps": tree.leapfrogs,
            "tree_depth": tree.depth,
            "step_size": torch.full_like(tree.accepted, self._size),
        }

    def _adapt(self, after: Chains, rate: Tensor) -> None:
        """Learn from one transition of all chains: the metric now and then, the step each time."""
        assert after.slope is not None
        self._step_size.update(float(rate.mean()))
        self._seen += 1
        share = 2 / (self._seen + 1)
        rows = torch.stack([after.q, after.slope])
        self._centre = self._centre.lerp(rows.mean(1, keepdim=True), share)
        q, slope = rows - self._centre
        self.metric.learn(q, slope, memory=self._seen / 2 * len(q))
        if self._seen >= self._due:
            self.metric.refresh()
            self._due = math.ceil(1.4 * self._due)

    def state_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric.state_dict(),
            "step_size": self._step_size.state_dict(),
            "counts": [self._seen, self._due],
            "centre": self._centre,
        }

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density, self._step_size = density, DualAveraging(self._target, 1.0)
        self.metric = Diagonal() if state["metric"]["factor"].dim() == 1 else Dense()
        self.metric.load_state_dict(state["metric"])
        self._step_size.load_state_dict(state["step_size"])
        self._seen, self._due = state["counts"]
        self._centre = state["centre"]
