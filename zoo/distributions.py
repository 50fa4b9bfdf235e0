"""The few distributions that families are made of, lean enough for a training loop.

Each is a Pyro distribution over whole rows (its event shape is the row's), computes its density straight
from the numbers that a network puts out, and builds nothing it does not need: a step of a small VAE takes
as long as one written by hand. `expand` changes only how many rows are drawn; parameters broadcast.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)
_AXES = tuple(tuple(range(-n, 0)) for n in range(9))


class RowDistribution(dist.TorchDistribution):
    """A distribution over rows: parameters of shape [*batch_shape, ...] broadcast over the draws.

    One whose numbers are independent has the log-probability of each in `cell_log_prob`, of the shape of the rows.
    """

    arg_constraints: ClassVar[dict] = {}
    _elementwise: ClassVar[constraints.Constraint] = constraints.real

    def __init__(self, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        # what torch's own __init__ sets when nothing is to be validated, without its detours
        self._batch_shape, self._event_shape, self._validate_args = batch_shape, event_shape, False
        self._axes = _AXES[len(event_shape)]

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._elementwise, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self.rsample(sample_shape)


class DiagonalNormal(RowDistribution):
    """Independent normals: loc and log_scale of shape [*batch_shape, *event_shape] (or broadcasting to it)."""

    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor, event_dim: int = 1) -> None:
        self.loc, self.log_scale = loc, log_scale
        split = loc.dim() - event_dim
        super().__init__(loc.shape[:split], loc.shape[split:])

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.log_scale.exp().expand_as(self.loc)

    @property
    def each(self) -> dist.Normal:
        """Every number by itself: the event's axes as axes of a batch."""
        return _normals(self, self.loc, self.log_scale.exp())

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.log_scale.exp(), noise)

    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) * (-self.log_scale).exp()
        terms = standard.square() * -0.5 - self.log_scale
        return terms.sum(self._axes) - 0.5 * LOG_2PI * self.event_shape.numel()

    def cell_log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) * (-self.log_scale).exp()
        return standard.square() * -0.5 - self.log_scale - 0.5 * LOG_2PI


class StandardNormal(RowDistribution):
    """Independent standard normals; `like` gives device and dtype."""

    has_rsample = True

    def __init__(self, event_shape: torch.Size, like: Tensor) -> None:
        self._like = like
        super().__init__(torch.Size(), event_shape)

    @property
    def mean(self) -> Tensor:
        return self._like.new_zeros(self.batch_shape + self.event_shape)

    @property
    def each(self) -> dist.Normal:
        """Every number by itself."""
        zero = self._like.new_zeros(())
        return _normals(self, zero, zero + 1)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        return torch.randn(shape, dtype=self._like.dtype, device=self._like.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.square().sum(self._axes) * -0.5 - 0.5 * LOG_2PI * self.event_shape.numel()


class Bits(RowDistribution):
    """Independent Bernoulli variables, by their logits; x holds zeros and ones, as numbers of any dtype."""

    _elementwise = constraints.boolean

    def __init__(self, logits: Tensor, event_dim: int = 1) -> None:
        self.logits = logits
        split = logits.dim() - event_dim
        super().__init__(logits.shape[:split], logits.shape[split:])

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        probability = self.mean.expand(self._extended_shape(sample_shape))
        return torch.bernoulli(probability.detach())

    def log_prob(self, value: Tensor) -> Tensor:
        logits = self.logits
        if value.dtype != logits.dtype:
            value = value.to(logits.dtype)
        if value.shape != logits.shape:
            value, logits = torch.broadcast_tensors(value, logits)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none").sum(self._axes)

    def cell_log_prob(self, value: Tensor) -> Tensor:
        value, logits = torch.broadcast_tensors(value.to(self.logits.dtype), self.logits)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")


class Levels(RowDistribution):
    """Independent categorical variables, by logits [..., *event_shape, levels]; x holds codes 0..levels-1."""

    def __init__(self, logits: Tensor, event_dim: int = 1) -> None:
        self.log_probs = logits.log_softmax(-1)
        split = logits.dim() - 1 - event_dim
        super().__init__(logits.shape[:split], logits.shape[split:-1])

    @property
    def support(self) -> constraints.Constraint:
        top = self.log_probs.shape[-1] - 1
        return constraints.independent(constraints.integer_interval(0, top), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        levels = torch.arange(self.log_probs.shape[-1], device=self.log_probs.device, dtype=self.log_probs.dtype)
        return self.log_probs.exp() @ levels

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        rows = self.log_probs.detach().exp().expand(*shape, -1).reshape(-1, self.log_probs.shape[-1])
        return torch.multinomial(rows, 1).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.cell_log_prob(value).sum(self._axes)

    def cell_log_prob(self, value: Tensor) -> Tensor:
        codes = value.long()
        shape = torch.broadcast_shapes(codes.shape, self.log_probs.shape[:-1])
        chosen = self.log_probs.expand(*shape, -1).gather(-1, codes.expand(shape).unsqueeze(-1))
        return chosen.squeeze(-1)


def _normals(rows: RowDistribution, loc: Tensor, scale: Tensor) -> dist.Normal:
    shape = rows.batch_shape + rows.event_shape
    return dist.Normal(loc.expand(shape), scale.expand(shape), validate_args=False)


@register_kl(DiagonalNormal, StandardNormal)
def _kl_diagonal_standard(p: DiagonalNormal, q: StandardNormal) -> Tensor:
    log_variance = 2 * p.log_scale
    terms = p.loc.square() + log_variance.expm1() - log_variance
    return terms.sum(p._axes) * 0.5


@register_kl(DiagonalNormal, DiagonalNormal)
def _kl_diagonal_diagonal(p: DiagonalNormal, q: DiagonalNormal) -> Tensor:
    gap = (p.loc - q.loc) * (-q.log_scale).exp()
    ratio = 2 * (p.log_scale - q.log_scale)
    return (gap.square() + ratio.exp() - 1 - ratio).sum(p._axes) * 0.5
