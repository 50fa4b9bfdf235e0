"""Rates that change in time: constant between times, each piece with a prior, or a random walk of their logarithm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor


class Changing(ABC):
    """A rate that is constant between the times `at`, increasing: len(at) + 1 pieces, the first of a prior."""

    def __init__(self, prior: dist.TorchDistribution, at: Sequence[float]) -> None:
        self.prior = prior
        self.at = tuple(float(time) for time in at)
        if any(later <= earlier for earlier, later in zip(self.at, self.at[1:], strict=False)):
            raise ValueError(f"the times at which a rate changes must increase, and are {list(at)}")

    @property
    def pieces(self) -> int:
        return len(self.at) + 1

    @abstractmethod
    def draw(self, name: str) -> Tensor:
        """The rate in each piece, [pieces], as sites of a program."""


class Piecewise(Changing):
    """Pieces that are independent draws of one prior: the site NAME is [pieces]."""

    def draw(self, name: str) -> Tensor:
        return pyro.sample(name, self.prior.expand([self.pieces]).to_event(1))


class RandomWalk(Changing):
    """log r_k = log r_(k-1) + scale e_k, e_k ~ N(0, 1): NAME is r [pieces].

    Sites: NAME_first with the prior `first`, NAME_scale with the prior `scale` (or a number), NAME_steps e.
    """

    def __init__(
        self, first: dist.TorchDistribution, scale: dist.TorchDistribution | float, at: Sequence[float]
    ) -> None:
        super().__init__(first, at)
        if not self.at:
            raise ValueError("a random walk changes at one time at least: at= is empty")
        self.scale = scale

    def draw(self, name: str) -> Tensor:
        first = pyro.sample(f"{name}_first", self.prior)
        scale = self.scale if isinstance(self.scale, int | float) else pyro.sample(f"{name}_scale", self.scale)
        steps = pyro.sample(f"{name}_steps", dist.Normal(first.new_zeros(len(self.at)), 1.0).to_event(1))
        walk = torch.cat([first[None], first * (scale * steps.cumsum(-1)).exp()])
        return pyro.deterministic(name, walk, event_dim=1)
