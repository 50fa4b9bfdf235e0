"""Populations of chains over histories, from chance to the posterior: weighed and drawn anew as they cool.

At heat 0 every node's times are any that its observation allows. Steps of exp(heat log p) up to 1 are as long as half
of the chains' weights allow, so that chains in structures that explain little die out, and the others multiply; what
was left out in all is an estimate of the evidence.

References:
    Sequential Monte Carlo Samplers (Del Moral, Doucet and Jasra, 2006)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.spread.law import IMPOSSIBLE, Histories, log_hit
from inference.spread.loops import pressures, sweeps

EARLY = 2
"""Steps after the source's within which a node must have been reached to be proposed as the source instead."""
SWAPS = 10
"""Proposals of another source a sweep."""
SPREAD = 0.5
"""The share of a population that its weights are worth after a step of the heat."""


class Population:
    """C chains: `option`, `x`, `r`, `hit` [C, n] and `source` [C], and `found` [n], how often each was the source."""

    def __init__(self, law: Histories, chains: int, seed: int) -> None:
        self.law, self.arrays = law, arrays_of(law)
        self.generator = torch.Generator().manual_seed(seed)
        weights = law.allowed.double()
        self.option = torch.multinomial(weights, chains, replacement=True, generator=self.generator).T.contiguous()
        able = law.log_start.amax(1) > IMPOSSIBLE / 2
        self.source = torch.multinomial(able.double(), chains, replacement=True, generator=self.generator)
        self.log_evidence = float(weights.sum(1).log().sum() + able.sum().log())
        x, r = law.options[self.option].unbind(-1)
        self.x, self.r, self.hit = x.contiguous(), r.contiguous(), torch.zeros(x.shape, dtype=torch.float64)
        self.found = torch.zeros(law.n, dtype=torch.float64)

    def anneal(self, between: int) -> None:
        """Cool down to the posterior, with so many sweeps after each step."""
        heat = 0.0
        while heat < 1:
            nats = self.nats()
            then = _next(nats, heat)
            log_weights = (then - heat) * nats
            self.log_evidence += float(log_weights.logsumexp(0)) - float(np.log(len(nats)))
            self._resample(log_weights.softmax(0))
            heat = then
            for _ in range(between):
                self.sweep(heat)
        self.found.zero_()

    def nats(self) -> Tensor:
        """log p of each history, [C]; `hit` is made anew, that rounding does not pile up."""
        state = (self.x.numpy(), self.r.numpy(), self.source.numpy(), self.hit.numpy())
        return torch.from_numpy(pressures(self.arrays, *state))

    def sweep(self, heat: float = 1.0) -> None:
        chains, n = self.x.shape
        uniforms = torch.rand(chains, 2 * n + 3 * SWAPS, generator=self.generator, dtype=torch.float64)
        state = (self.option, self.x, self.r, self.hit, self.source, uniforms)
        sweeps(self.arrays, *(part.numpy() for part in state), SWAPS, EARLY, heat, self.found.numpy())

    def _resample(self, weights: Tensor) -> None:
        places = (torch.arange(len(weights)) + torch.rand(1, generator=self.generator, dtype=torch.float64)) / len(
            weights
        )
        kept = torch.searchsorted(weights.cumsum(0), places).clamp(max=len(weights) - 1)
        self.option, self.x, self.r, self.hit, self.source = (
            part[kept].contiguous() for part in (self.option, self.x, self.r, self.hit, self.source)
        )


def _next(nats: Tensor, heat: float) -> float:
    """The heat at which weights of chains at this one are worth `SPREAD` of them, or 1."""

    def worth(then: float) -> float:
        return 1 / float(((then - heat) * nats).softmax(0).square().sum()) / len(nats)

    low, high = heat, 1.0
    if worth(high) >= SPREAD:
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) >= SPREAD else (low, middle)
    return high


def arrays_of(law: Histories) -> tuple[Any, ...]:
    """The law as `inference.spread.loops` reads it."""
    who, whom = law.ends.T
    x, r = (column.contiguous() for column in law.options.T)
    removal = torch.full((law.steps + 2, law.steps + 2), IMPOSSIBLE, dtype=torch.float64)
    place = torch.full((law.steps + 2, law.steps + 2), -1)
    removal[x, r], place[x, r] = law.log_removal, torch.arange(len(x))
    alike = len(law.hazards) > 0 and bool((law.hazards == law.hazards[0]).all())
    unit = law.hazards[0] if alike else torch.zeros((), dtype=torch.float64)
    table = log_hit(unit * torch.arange(law.n + 2))
    into, out = _rows(whom, who, law), _rows(who, whom, law)
    numbers = (x, r, law.allowed, removal, place, law.log_start)
    xs, rs, allowed, log_removal, places, log_start = (part.contiguous().numpy() for part in numbers)
    return (
        law.steps, law.outside.numpy(), into, out, xs, rs, allowed, log_removal, places, log_start, float(unit),
        table.numpy(),
    )  # fmt: skip


def _rows(of: Tensor, other: Tensor, law: Histories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = of.argsort(stable=True)
    begin = torch.nn.functional.pad(torch.bincount(of, minlength=law.n).cumsum(0), (1, 0))
    return begin.numpy(), other[order].int().contiguous().numpy(), law.hazards[order].contiguous().numpy()
