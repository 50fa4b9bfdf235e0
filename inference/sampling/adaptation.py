"""What chains learn from each other while warming up: the scale of the space, the step, the length of a path.

All is learnt from the whole batch at once, so that tens of steps do what one chain needs a thousand for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

ROWS_A_DIMENSION = 2
"""Below so many rows a dimension a dense scale is noise, and the diagonal one serves."""
DENSE_UP_TO = 200
"""Dimensions in which a dense metric still costs little beside a slope."""


class Metric(ABC):
    """The scale S = L L' of the target: paths move by q' = L u, u' = L' slope, in which it has about unit variance.

    S is the geometric mean of the positions' covariance and the slopes' inverse covariance: for a Gaussian target that
    is the target's covariance whatever the chains' own distribution, far from stationarity too.

    Reference:
        Preconditioning Hamiltonian Monte Carlo by minimizing Fisher divergence (Seyboldt, Carlson and Carpenter, 2026),
        https://arxiv.org/abs/2603.18845
    """

    def __init__(self) -> None:
        self.factor = self.inverse = self.spread = self.steepness = torch.empty(0)
        self.count = 0.0

    def learn(self, q: Tensor, slope: Tensor, memory: float) -> None:
        """Take in centred positions and slopes [N, dim]; what was known before counts for at most `memory` rows."""
        whole = q.isfinite().all(-1) & slope.isfinite().all(-1)
        q, slope = q[whole], slope[whole]
        if not len(q):
            return
        before = min(self.count, memory)
        spread, steepness = self._moments(q), self._moments(slope)
        if before:
            spread, steepness = spread + before * self.spread, steepness + before * self.steepness
        self.count = before + len(q)
        self.spread, self.steepness = spread / self.count, steepness / self.count

    def state_dict(self) -> dict[str, Any]:
        """What was learnt, and the scale that is in use."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        vars(self).update(state)

    @abstractmethod
    def begin(self, like: Tensor) -> None:
        """Unit scale in the space of `like` [C, dim]."""

    @abstractmethod
    def refresh(self) -> None:
        """Bring the scale to what has been learnt."""

    @abstractmethod
    def drift(self, q: Tensor, u: Tensor, step: float) -> Tensor:
        """Position q + step L u, all [C, dim]."""

    @abstractmethod
    def kick(self, u: Tensor, slope: Tensor, step: float) -> Tensor:
        """Velocity u + step L' slope, all [C, dim]."""

    @abstractmethod
    def white(self, q: Tensor) -> Tensor:
        """Where q [C, dim] lies in units of the scale: L^-1 q."""

    @abstractmethod
    def _moments(self, rows: Tensor) -> Tensor:
        """The sum over rows [N, dim] of the products that this metric knows."""


class Diagonal(Metric):
    """A scale for every coordinate on its own."""

    def begin(self, like: Tensor) -> None:
        self.factor, self.inverse, self.count = torch.ones_like(like[0]), torch.ones_like(like[0]), 0.0

    def refresh(self) -> None:
        if not self.count:
            return
        scale = _scale(self.spread, self.steepness)
        self.factor, self.inverse = scale, 1 / scale

    def drift(self, q: Tensor, u: Tensor, step: float) -> Tensor:
        return torch.addcmul(q, u, self.factor, value=step)

    def kick(self, u: Tensor, slope: Tensor, step: float) -> Tensor:
        return torch.addcmul(u, slope, self.factor, value=step)

    def white(self, q: Tensor) -> Tensor:
        return q * self.inverse

    def _moments(self, rows: Tensor) -> Tensor:
        return rows.square().sum(0)


class Dense(Metric):
    """A scale for every direction: correlated coordinates move together. Costs dim^2 a step and chain."""

    def begin(self, like: Tensor) -> None:
        unit = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
        self.factor, self.inverse, self.count = unit, unit.clone(), 0.0

    def refresh(self) -> None:
        if not self.count:
            return
        scale = _scale(self.spread.diagonal(), self.steepness.diagonal())
        spread, steepness = self.spread / torch.outer(scale, scale), self.steepness * torch.outer(scale, scale)
        if self.count < ROWS_A_DIMENSION * len(scale):
            spread, steepness = spread.diagonal().diag(), steepness.diagonal().diag()
        if not bool(spread.isfinite().all() & steepness.isfinite().all()):
            return
        factor, ok = torch.linalg.cholesky_ex(geometric_mean(spread, steepness))
        if ok == 0 and bool(factor.isfinite().all()):
            self.factor = scale.unsqueeze(1) * factor
            self.inverse = torch.linalg.solve_triangular(self.factor, torch.diag(torch.ones_like(scale)), upper=False)

    def drift(self, q: Tensor, u: Tensor, step: float) -> Tensor:
        return torch.addmm(q, u, self.factor.mT, alpha=step)

    def kick(self, u: Tensor, slope: Tensor, step: float) -> Tensor:
        return torch.addmm(u, slope, self.factor, alpha=step)

    def white(self, q: Tensor) -> Tensor:
        return q @ self.inverse.mT

    def _moments(self, rows: Tensor) -> Tensor:
        return rows.mT @ rows


def geometric_mean(spread: Tensor, steepness: Tensor) -> Tensor:
    """The S of S steepness S = spread: halfway from `spread` to the inverse of `steepness`, both [dim, dim]."""
    values, vectors = torch.linalg.eigh(steepness)
    floor = torch.finfo(values.dtype).eps * len(values)
    values = values.clamp(min=floor * float(values[-1])).sqrt()
    root, unroot = (vectors * values) @ vectors.mT, (vectors / values) @ vectors.mT
    values, vectors = torch.linalg.eigh(root @ spread @ root)
    values = values.clamp(min=floor * float(values[-1])).sqrt()
    mean = unroot @ (vectors * values) @ vectors.mT @ unroot
    return (mean + mean.mT) / 2


def _scale(spread: Tensor, steepness: Tensor) -> Tensor:
    """What makes the variances of positions and of slopes alike; one where either tells nothing."""
    scale = (spread / steepness).pow(0.25)
    return torch.where(scale.isfinite() & (scale > 0), scale, 1.0)


class Kept:
    """Something that is nothing but its numbers: kept and taken up again bit for bit."""

    def state_dict(self) -> dict[str, Any]:
        """All numbers of it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        vars(self).update(state)


class DualAveraging(Kept):
    """A step size under which the mean of what `update` is told comes to `target`, its logarithm averaged over time.

    Reference:
        The No-U-Turn sampler (Hoffman and Gelman, 2014), section 3.2, https://arxiv.org/abs/1111.4246
    """

    def __init__(
        self, target: float, start: float, gain: float = 0.05, delay: float = 10.0, decay: float = 0.75
    ) -> None:
        self.target, self.gain, self.delay, self.decay = target, gain, delay, decay
        self.restart(start)

    def restart(self, start: float) -> None:
        """Begin anew, from the step `start`."""
        self.anchor = self.log_step = self.log_mean = math.log(start)
        self.time, self.error = 0, 0.0

    def update(self, found: float) -> None:
        """Take in what the step in use gave."""
        self.time += 1
        self.error += (self.target - found - self.error) / (self.time + self.delay)
        self.log_step = self.anchor - math.sqrt(self.time) / self.gain * self.error
        share = self.time**-self.decay
        self.log_mean += share * (self.log_step - self.log_mean)

    @property
    def step(self) -> float:
        """The step to try next."""
        return math.exp(self.log_step)

    @property
    def mean(self) -> float:
        """The step to keep."""
        return math.exp(self.log_mean)


class Ascent(Kept):
    """Adam's steps up a slope of one number's logarithm, averaged over time."""

    def __init__(self, start: float, rate: float = 0.05, slow: float = 0.9, wide: float = 0.95) -> None:
        self.rate, self.slow, self.wide = rate, slow, wide
        self.log_value = self.log_mean = math.log(start)
        self.first = self.second = 0.0
        self.time = 0

    def update(self, slope: float) -> None:
        """One step up; a slope that is not finite is none."""
        if not math.isfinite(slope):
            return
        self.time += 1
        self.first += (1 - self.slow) * (slope - self.first)
        self.second += (1 - self.wide) * (slope * slope - self.second)
        first, second = self.first / (1 - self.slow**self.time), self.second / (1 - self.wide**self.time)
        self.log_value += self.rate * first / (math.sqrt(second) + 1e-12)
        self.log_mean += (self.log_value - self.log_mean) * max(0.1, 1 / self.time)

    @property
    def value(self) -> float:
        """Where it stands."""
        return math.exp(self.log_value)

    @property
    def mean(self) -> float:
        """Where it stood of late."""
        return math.exp(self.log_mean)


def halton(index: int) -> float:
    """The index-th number of van der Corput's sequence in base two, in (0, 1): spread more evenly than random ones."""
    value, unit = 0.0, 0.5
    index += 1
    while index:
        value, index, unit = value + unit * (index & 1), index >> 1, unit / 2
    return value
