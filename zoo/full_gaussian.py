"""A normal with every covariance: what a diagonal one can't say of numbers that hang together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions.kl import register_kl

from zoo.base import Explicit, Shape
from zoo.conditionals import Parameters
from zoo.convolutional import NetworkSlot
from zoo.distributions import LOG_2PI, RowDistribution, StandardNormal
from zoo.networks import flat, unflat


class DenseNormal(RowDistribution):
    """N(loc, L L'): loc and log_diagonal [*batch_shape, d], L lower triangular [*batch_shape, d, d]."""

    has_rsample = True

    def __init__(self, loc: Tensor, root: Tensor, log_diagonal: Tensor, event_shape: torch.Size) -> None:
        self.loc, self.root, self.log_diagonal = loc, root, log_diagonal
        super().__init__(loc.shape[:-1], event_shape)

    @property
    def mean(self) -> Tensor:
        return unflat(self.loc, self.event_shape).expand(self._extended_shape())

    @property
    def stddev(self) -> Tensor:
        return unflat(self.root.square().sum(-1).sqrt(), self.event_shape).expand(self._extended_shape())

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        split = len(shape) - len(self.event_shape)
        noise = torch.randn(*shape[:split], self.loc.shape[-1], 1, dtype=self.loc.dtype, device=self.loc.device)
        return unflat(self.loc + (self.root @ noise).squeeze(-1), self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        gap = (flat(value, self.event_shape) - self.loc).unsqueeze(-1)
        root = self.root.expand(*gap.shape[:-2], -1, -1)
        standard = torch.linalg.solve_triangular(root, gap, upper=False).squeeze(-1)
        return standard.square().sum(-1) * -0.5 - self.log_diagonal.sum(-1) - 0.5 * LOG_2PI * self.loc.shape[-1]


class FullGaussian(Explicit):
    """A normal with a full covariance, both from the context: p(x | c) = N(mean(c), L(c) L(c)').

    L is lower triangular with a positive diagonal, so that whatever the network puts out is a covariance. Its
    divergence from `StandardGaussian` is known in closed form.

    Shapes: x is [N, *event_shape], its numbers in the order of memory; context is [N, *context_shape]. `log_prob` is
    in nats a row. A row of d numbers takes d (d + 3) / 2 parameters of the network.

    Parameters:
        hidden, network: the network of the context, as for every conditional of `zoo.conditionals`.
    """

    places: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        d = self.features
        self.parameters_of = Parameters(self, 1, hidden, network, shape=torch.Size([d * (d + 3) // 2]))
        self.register_buffer("places", torch.tril_indices(d, d, -1), persistent=False)

    def distribution(self, context: Tensor | None = None) -> DenseNormal:
        d = self.features
        loc, log_diagonal, below = self.parameters_of(context).split([d, d, d * (d - 1) // 2], -1)
        root = torch.diag_embed(log_diagonal.exp())
        row, column = self.places
        root[..., row, column] = below
        return DenseNormal(loc, root, log_diagonal, self.event_shape)


@register_kl(DenseNormal, StandardNormal)
def _kl_dense_standard(p: DenseNormal, q: StandardNormal) -> Tensor:
    log_variance = 2 * p.log_diagonal
    terms = p.loc.square() + log_variance.expm1() - log_variance
    return (terms.sum(-1) + p.root.tril(-1).square().sum((-2, -1))) * 0.5
