"""A distribution held to a part of its support: an order, a sign."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

TRIES = 100


class Restricted(dist.TorchDistribution):
    """p(x) = base(x) / share on the support, of one event: the base given that it falls there.

    Parameters:
        base: a distribution of one event, of shape [K].
        support: the part of its support that is left.
        share: the probability of that part under the base.

    A draw is the first of 100 of the base's that falls there, so that the share must not be small.
    """

    arg_constraints: ClassVar[dict] = {}

    def __init__(self, base: Any, support: Constraint, *, share: float) -> None:
        self.base, self._support, self._log_share = base, support, math.log(share)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Constraint:
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Restricted:
        return Restricted(self.base.expand(batch_shape), self._support, share=math.exp(self._log_share))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value) - self._log_share

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        tries = self.base.sample((TRIES, *sample_shape))
        first = self._support.check(tries).byte().argmax(0)
        return tries.gather(0, first[None, ..., None].expand(1, *tries.shape[1:]))[0]
