"""Populations of chains over histories, from chance to the posterior: weighed and drawn anew as they cool.

At heat 0 every node's times are drawn by what is its own, removal and the edges on which it passed nothing to those
never reached. What goes along the other edges then counts as exp(heat log p); a node that nobody can have reached is
reached from nowhere, by a stray that costs a few nats, so that a history is never a dead end. At heat 1 strays get
dearer until chains without any remain. All steps are as long as half of the chains' weights allow, so that chains in
structures that explain little die out, and the others multiply; what was left out in all is an estimate of the
evidence, of no bias before its logarithm.

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
"""The share of a population that its weights are worth after a step."""
STRAY, DEARER, DEAREST = 3.0, 2.0, 40.0
"""Nats that a stray costs at first, how many more after a step at most, and those at which a population gives up."""


class Population:
    """C chains: `option`, `x`, `r`, `hit` [C, n] and `source` [C], and `found` [n], how often each was the source."""

    def __init__(self, law: Histories, chains: int, seed: int) -> None:
        self.law, self.arrays, self.stray = law, arrays_of(law), STRAY
        self.generator = torch.Generator().manual_seed(seed)
        alone, began = (torch.from_numpy(part) for part in self.arrays[6:8])
        self.source = torch.multinomial(
            (began.logsumexp(1) - alone.logsumexp(1)).softmax(0), chains, replacement=True, generator=self.generator
        )
        self.option = torch.multinomial(alone.softmax(1), chains, replacement=True, generator=self.generator).T
        own = torch.multinomial(began[self.source].softmax(1), 1, generator=self.generator)
        self.option = self.option.scatter(1, self.source[:, None], own).contiguous()
        self.log_evidence = float(alone.logsumexp(1).sum() + (began.logsumexp(1) - alone.logsumexp(1)).logsumexp(0))
        x, r = law.options[self.option].unbind(-1)
        self.x, self.r, self.hit = x.contiguous(), r.contiguous(), torch.zeros(x.shape, dtype=torch.float64)
        self.found = torch.zeros(law.n, dtype=torch.float64)

    def anneal(self, between: int) -> None:
        """Cool down to the posterior, with so many sweeps after each step."""
        heat = 0.0
        while heat < 1:
            nats, strays = self._weighed()
            heat = self._step(nats - self.stray * strays, heat, 1.0)
            self._sweeps(between, heat)
        _, strays = self._weighed()
        while bool(strays.any()) and self.stray < DEAREST:
            most = -IMPOSSIBLE if float((strays == 0).double().mean()) >= SPREAD else self.stray + DEARER
            self.stray = self._step(-strays, self.stray, most)
            self._sweeps(between, 1.0)
            _, strays = self._weighed()
        self.stray = -IMPOSSIBLE
        self.found.zero_()

    def nats(self) -> Tensor:
        """log p of each history, [C], strays being impossible."""
        nats, strays = self._weighed()
        alone, began = (torch.from_numpy(part) for part in self.arrays[6:8])
        own = alone.expand(len(nats), -1, -1).gather(2, self.option[..., None])[..., 0]
        place = self.source[:, None]
        own.scatter_(1, place, began[self.source].gather(1, self.option.gather(1, place)))
        return nats + IMPOSSIBLE * strays + own.sum(1)

    def _weighed(self) -> tuple[Tensor, Tensor]:
        """Nats along edges, and strays, of each history; `hit` is made anew, that rounding does not pile up."""
        strays = torch.zeros(len(self.x), dtype=torch.float64)
        state = (self.x.numpy(), self.r.numpy(), self.source.numpy(), self.hit.numpy(), strays.numpy())
        return torch.from_numpy(pressures(self.arrays, *state)), strays

    def _step(self, nats: Tensor, now: float, most: float) -> float:
        """Weigh the chains by the exponential of `nats` times how far it goes from now, and draw them anew."""
        then = _next(nats, now, most)
        log_weights = (then - now) * nats
        self.log_evidence += float(log_weights.logsumexp(0)) - float(np.log(len(nats)))
        self._resample(log_weights.softmax(0))
        return then

    def _sweeps(self, count: int, heat: float) -> None:
        for _ in range(count):
            self.sweep(heat)

    def sweep(self, heat: float = 1.0) -> None:
        chains, n = self.x.shape
        uniforms = torch.rand(chains, 2 * n + 3 * SWAPS, generator=self.generator, dtype=torch.float64)
        state = (self.option, self.x, self.r, self.hit, self.source, uniforms)
        arrays = _straying(self.arrays, self.stray)
        sweeps(arrays, *(part.numpy() for part in state), SWAPS, EARLY, heat, self.found.numpy())

    def _resample(self, weights: Tensor) -> None:
        places = (torch.arange(len(weights)) + torch.rand(1, generator=self.generator, dtype=torch.float64)) / len(
            weights
        )
        kept = torch.searchsorted(weights.cumsum(0), places).clamp(max=len(weights) - 1)
        self.option, self.x, self.r, self.hit, self.source = (
            part[kept].contiguous() for part in (self.option, self.x, self.r, self.hit, self.source)
        )


def _next(nats: Tensor, now: float, most: float) -> float:
    """How far to go, that weights of chains are worth `SPREAD` of them, or as far as may be."""

    def worth(then: float) -> float:
        return 1 / float(((then - now) * nats).softmax(0).square().sum()) / len(nats)

    low, high = now, most
    if worth(high) >= SPREAD:
        return most
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) >= SPREAD else (low, middle)
    return high


def arrays_of(law: Histories) -> tuple[Any, ...]:
    """The law as `inference.spread.loops` reads it."""
    who, whom = law.ends.T
    x, r = (column.contiguous() for column in law.options.T)
    place = torch.full((law.steps + 2, law.steps + 2), -1)
    place[x, r] = torch.arange(len(x))
    alike = len(law.hazards) > 0 and bool((law.hazards == law.hazards[0]).all())
    unit = law.hazards[0] if alike else torch.zeros((), dtype=torch.float64)
    table = log_hit(unit * torch.arange(law.n + 2))
    into, out = _rows(whom, who, law), _rows(who, whom, law)
    mutual = all(np.array_equal(*parts) for parts in zip(into[:2], out[:2], strict=True))
    even = alike and mutual and bool((r == law.steps + 1).all())
    numbers = (x, r, *_own(law, x, r), place)
    xs, rs, alone, began, places = (part.contiguous().numpy() for part in numbers)
    return law.steps, into, out, even, xs, rs, alone, began, places, float(unit), table.numpy()


def _own(law: Histories, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Nats [n, O] of a node's own, of what is allowed: of one that did not begin it, and of one that did."""
    passed = law.outside[:, None] * (r.clamp(max=law.steps) - x.clamp(max=law.steps))
    own = torch.where(law.allowed, law.log_removal - passed, -torch.inf)
    start = law.log_start[:, x.clamp(max=law.steps)]
    return own + torch.where(x == 0, IMPOSSIBLE, 0.0), own + torch.where(x <= law.steps, start, IMPOSSIBLE)


def _straying(arrays: tuple[Any, ...], nats: float) -> tuple[Any, ...]:
    """The law where a node is reached from nowhere at the cost of so many nats."""
    table = arrays[-1].copy()
    table[0] = -nats
    return (*arrays[:-1], table)


def _rows(of: Tensor, other: Tensor, law: Histories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = of.argsort(stable=True)
    begin = torch.nn.functional.pad(torch.bincount(of, minlength=law.n).cumsum(0), (1, 0))
    return begin.numpy(), other[order].int().contiguous().numpy(), law.hazards[order].contiguous().numpy()
