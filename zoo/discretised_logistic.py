"""Discretised logistics: levels that are near in value are near in probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import Shape
from zoo.conditionals import Parameters
from zoo.convolutional import NetworkSlot, by_number
from zoo.distributions import RowDistribution
from zoo.logistics import LogisticOutput
from zoo.unrolling import Factorised


class RoundedLogistics(RowDistribution):
    """Independent logistics rounded to levels, by values [*batch_shape, *event_shape, 2]: means and log scales."""

    def __init__(self, values: Tensor, output: LogisticOutput, event_dim: int = 1) -> None:
        self.values, self.output = values, output
        split = values.dim() - 1 - event_dim
        super().__init__(values.shape[:split], values.shape[split:-1])

    @property
    def support(self) -> constraints.Constraint:
        levels = constraints.integer_interval(0, self.output.levels - 1)
        return constraints.independent(levels, len(self.event_shape))

    @property
    def log_probs(self) -> Tensor:
        """Of each level, [*batch_shape, *event_shape, levels]."""
        return self.output.logits(F.pad(self.values, (1, 0)))

    @property
    def mean(self) -> Tensor:
        levels = torch.arange(self.output.levels, device=self.values.device, dtype=self.values.dtype)
        return (self.log_probs.exp() @ levels).expand(self._extended_shape())

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        means, log_scales = self.values.unbind(-1)
        tiny = torch.finfo(means.dtype).tiny
        uniform = torch.rand(shape, dtype=means.dtype, device=means.device).clamp_min(tiny)
        scales = log_scales.clamp(*self.output.log_scales).exp()
        place = means + scales * (uniform.log() - (-uniform).log1p())
        top = self.output.levels - 1
        return ((place + 1) * (top / 2)).round().clamp(0, top).long()

    def log_prob(self, value: Tensor) -> Tensor:
        return self.cell_log_prob(value).sum(self._axes)

    def cell_log_prob(self, value: Tensor) -> Tensor:
        return self.output.log_prob(F.pad(self.values, (1, 0)), value)


class DiscretisedLogistic(Factorised):
    """Independent variables of `levels` levels, each a logistic rounded to them: p(x | c) = prod_i p(x_i | c).

    The levels lie evenly on [-1, 1], and a level has the mass of its interval, the ends all that is beyond them. It
    tells 256 levels of a pixel by two numbers where `Categorical` takes 256.

    Shapes: x is [N, *event_shape], codes 0..levels-1; context is [N, *context_shape]. `log_prob` is in nats a row.

    Parameters:
        levels: how many.
        hidden, network: the network of the context, as for every conditional of `zoo.conditionals`.

    References:
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), section 6,
        https://arxiv.org/abs/1606.04934
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        levels: int,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.levels = levels
        self.support = constraints.integer_interval(0, levels - 1)
        self.output = LogisticOutput(levels, mixture=1)
        self.parameters_of = Parameters(self, 2, hidden, network, arranged=by_number)

    def distribution(self, context: Tensor | None = None) -> RoundedLogistics:
        values = self.parameters_of(context).unflatten(-1, (*self.event_shape, 2))
        return RoundedLogistics(values, self.output, len(self.event_shape))

    def level_logits(self, context: Tensor | None) -> Tensor:
        distribution = self.distribution(context)
        return distribution.log_probs.reshape(-1, self.features, self.levels)
