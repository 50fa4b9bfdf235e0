"""The exact probability of a history on a graph: when each node was reached, and when it passed nothing on any more.

Node j is reached at step x_j with the chance 1 - exp(-a_j(x_j - 1)), and was not before with exp(-a_j(t)) each step t,
where a_j(t) is the sum of the hazards w_ij of edges from nodes that have been reached by t and are not removed yet,
x_i <= t < r_i. Removal comes with a chance a step. What is never reached has x = r = steps + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IMPOSSIBLE = -1e6
"""Nats of what can't be; finite, so that differences of it are numbers."""
TINY = 1e-9
"""A hazard below which there is none: what sums leave over."""


@dataclass(frozen=True)
class Histories:
    """Histories of n nodes in `steps` steps, and what they weigh.

    Attributes:
        steps: T.
        ends: [E, 2], edges from (row 0) and to (row 1), among these nodes.
        hazards: [E], w of each.
        outside: [n], the sum of hazards of a node's edges to nodes that are known not to have been reached.
        options: [O, 2], (x, r) that a node can have; `log_removal` [O], log of the chance of r given x.
        allowed: [n, O], which of them a node's observation allows, were it the source or not.
        log_start: [n, T + 1], log of the prior that a node began it at a step.
    """

    steps: int
    ends: Tensor
    hazards: Tensor
    outside: Tensor
    options: Tensor
    log_removal: Tensor
    allowed: Tensor
    log_start: Tensor

    @property
    def n(self) -> int:
        return len(self.outside)

    def log_prob(self, option: Tensor, source: Tensor) -> Tensor:
        """Nats [C] of histories [C, n], places in `options`, that begin at `source` [C]; observation included."""
        x, r = self.options[option].unbind(-1)
        who, whom = self.ends.T
        last = x[:, whom] - 1
        begun = self.hazards * (x[:, who] <= last)
        spared = begun * (torch.minimum(r[:, who], last) - x[:, who])
        hit = torch.zeros_like(x, dtype=torch.float64).index_add_(1, whom, begun * (last < r[:, who]))
        spared = torch.zeros_like(hit).index_add_(1, whom, spared)
        own = torch.where((x > 0) & (x <= self.steps), log_hit(hit), 0.0) - spared
        own.scatter_(
            1, source[:, None], self.log_start[source].gather(1, x.gather(1, source[:, None]).clamp(max=self.steps))
        )
        passed = self.outside * (r.clamp(max=self.steps) - x.clamp(max=self.steps))
        seen = torch.where(self.allowed.expand(len(x), -1, -1).gather(2, option[..., None])[..., 0], 0.0, IMPOSSIBLE)
        late = torch.where((x == 0).scatter(1, source[:, None], False), IMPOSSIBLE, 0.0)
        return (own - passed + self.log_removal[option] + seen + late).sum(1)


def log_hit(hazard: Tensor) -> Tensor:
    """log(1 - exp(-hazard)), the chance that at least one contact passes it on."""
    return torch.where(hazard > TINY, (-torch.expm1(-hazard)).log(), IMPOSSIBLE)


def options(steps: int, removal: float | None) -> tuple[Tensor, Tensor]:
    """(x, r) of a node [O, 2] and log of the chance of r given x, [O]; `removal` is the chance a step, None for never.

    A node that is not removed by the end has r = steps + 1, and so has one that is never reached.
    """
    stay, go = (0.0, IMPOSSIBLE) if removal is None else _logs(removal)
    pairs, logs = [(steps + 1, steps + 1)], [0.0]
    for x in range(steps + 1):
        for r in range(x + 1, steps + 2):
            log = stay * (r - x - 1) + (go if r <= steps else 0.0)
            if log > IMPOSSIBLE / 2:
                pairs.append((x, r))
                logs.append(log)
    return torch.tensor(pairs), torch.tensor(logs, dtype=torch.float64)


def _logs(chance: float) -> tuple[float, float]:
    """log of one minus a chance, and of the chance."""
    values = torch.tensor([1 - chance, chance], dtype=torch.float64).log().clamp(min=IMPOSSIBLE)
    return values[0].item(), values[1].item()
