"""The Pyro faces of models that are not distributions: drawn as one batch of independent rows."""

from __future__ import annotations

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class Rows(dist.TorchDistribution):
    """A distribution of independent rows that a model draws as one batch."""

    arg_constraints: ClassVar[dict] = {}

    def __init__(self, model: Any, batch_shape: torch.Size = torch.Size()) -> None:  # noqa: B008
        self._model = model
        super().__init__(batch_shape, self._shape_of(model), validate_args=False)

    @staticmethod
    def _shape_of(model: Any) -> torch.Size:
        return model.event_shape

    def expand(self, batch_shape: Any, _instance: Any = None) -> Rows:
        return type(self)(self._model, batch_shape=torch.Size(batch_shape))


class GibbsRows(Rows):
    """The Pyro face of an energy: drawn by its chain, scored up to log Z."""

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, len(self.event_shape))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = torch.Size(sample_shape) + self.batch_shape
        return self._model.sample(shape.numel()).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        rows = value.reshape(-1, *self.event_shape)
        return -self._model.free_energy(rows).reshape(value.shape[: value.dim() - len(self.event_shape)])


class NoiseRows(Rows):
    """The Pyro face of a generator's noise: standard normal, as `noise` draws it."""

    support = constraints.real_vector

    @staticmethod
    def _shape_of(model: Any) -> torch.Size:
        return model.noise(1).shape[1:]

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = torch.Size(sample_shape) + self.batch_shape
        return self._model.noise(shape.numel()).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return dist.Normal(0.0, 1.0, validate_args=False).log_prob(value).flatten(-len(self.event_shape)).sum(-1)
