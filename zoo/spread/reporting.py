"""What of a spread is counted: distributions of reported numbers, whose parameters are given or have priors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.spread.checks import ABOVE_ZERO, SHARE, Limit, within

Uncertain = float | dist.TorchDistribution
"""A number, or the prior of one."""
LEAST = 1e-10
"""The expected number below which all are alike: a solver may give one a little below zero."""


@dataclass(frozen=True)
class Reporting(ABC):
    """How reported numbers scatter about what is expected. Parameters are numbers or priors, by their sites' names.

    Parameters:
        share: the chance that a head is reported at all.
    """

    share: Uncertain = 1.0

    whole = True
    """Whether the reported numbers are counts."""

    limits: ClassVar[dict[str, Limit]] = {"share": SHARE}
    """What each parameter may be."""

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            within(f"{name} of {type(self).__name__}", value, self.limits[name])

    def given(self) -> dict[str, Uncertain]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @abstractmethod
    def distribution(
        self, expected: Tensor, population: float | Tensor, parameters: Mapping[str, Any]
    ) -> dist.TorchDistribution:
        """Of the reported numbers where `expected` heads are there, [...], of a population."""

    def _reported(self, expected: Tensor, parameters: Mapping[str, Any]) -> Tensor:
        share = parameters["share"]
        reported = expected if isinstance(share, float) and share == 1 else expected * share
        return reported.clamp(min=LEAST)


@dataclass(frozen=True)
class Poisson(Reporting):
    """Reported ~ Poisson(share expected)."""

    def distribution(
        self, expected: Tensor, population: float | Tensor, parameters: Mapping[str, Any]
    ) -> dist.TorchDistribution:
        return dist.Poisson(self._reported(expected, parameters))


@dataclass(frozen=True)
class NegativeBinomial(Reporting):
    """Of the mean m = share expected and the variance m + phi_inv m^2: phi_inv is the overdispersion."""

    phi_inv: Uncertain = field(default_factory=lambda: dist.Exponential(torch.tensor(5.0, dtype=torch.float64)))

    limits: ClassVar[dict[str, Limit]] = {"share": SHARE, "phi_inv": ABOVE_ZERO}

    def distribution(
        self, expected: Tensor, population: float | Tensor, parameters: Mapping[str, Any]
    ) -> dist.TorchDistribution:
        phi_inv = torch.as_tensor(parameters["phi_inv"], dtype=expected.dtype)
        logits = (self._reported(expected, parameters) * phi_inv).log()
        return dist.NegativeBinomial(1 / phi_inv, logits=logits)


@dataclass(frozen=True)
class Binomial(Reporting):
    """Each of all heads is reported with the chance share expected / population, independently of the others."""

    def distribution(
        self, expected: Tensor, population: float | Tensor, parameters: Mapping[str, Any]
    ) -> dist.TorchDistribution:
        chance = (self._reported(expected, parameters) / population).clamp(max=1 - 1e-12)
        return dist.Binomial(torch.as_tensor(population, dtype=chance.dtype).round(), chance)


@dataclass(frozen=True)
class Normal(Reporting):
    """Of the mean share expected and the standard deviation sd: where numbers are rates, not counts."""

    sd: Uncertain = field(default_factory=lambda: dist.HalfNormal(torch.tensor(10.0, dtype=torch.float64)))

    whole = False
    limits: ClassVar[dict[str, Limit]] = {"share": SHARE, "sd": ABOVE_ZERO}

    def distribution(
        self, expected: Tensor, population: float | Tensor, parameters: Mapping[str, Any]
    ) -> dist.TorchDistribution:
        return dist.Normal(self._reported(expected, parameters), parameters["sd"])


class PositiveNormal(dist.TorchDistribution):
    """N(mean, sd) given that it is positive, N+(mean, sd)."""

    arg_constraints = {}  # noqa: RUF012
    support = dist.constraints.positive

    def __init__(self, mean: float | Tensor, sd: float | Tensor) -> None:
        self.mean_of, self.sd = (torch.as_tensor(x, dtype=torch.float64) for x in (mean, sd))
        if not bool((self.sd > 0).all()):
            raise ValueError(f"the sd of a PositiveNormal is above 0, not {sd}")
        super().__init__(torch.broadcast_shapes(self.mean_of.shape, self.sd.shape), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PositiveNormal:
        return PositiveNormal(self.mean_of.expand(batch_shape), self.sd.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.mean_of) / self.sd
        share = torch.special.log_ndtr(self.mean_of / self.sd)
        found = -0.5 * z.square() - self.sd.log() - 0.5 * math.log(2 * math.pi) - share
        return torch.where(value > 0, found, -math.inf)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        share = torch.special.log_ndtr(self.mean_of / self.sd).exp()
        u = 1 - torch.rand(shape, dtype=self.mean_of.dtype)  # never 0
        drawn = self.mean_of - self.sd * torch.special.ndtri(share * u)  # by the upper tail, exact however small it is
        return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)
