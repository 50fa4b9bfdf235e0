"""Student's t: independent numbers with heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.base import Explicit, Shape
from zoo.conditionals import Parameters
from zoo.distributions import RowDistribution


class StandardStudentTs(RowDistribution):
    """Independent Student-t's of loc 0 and scale 1; `df`, the degrees of freedom, is one number, as a tensor."""

    has_rsample = True

    def __init__(self, event_shape: torch.Size, df: Tensor, batch_shape: torch.Size = torch.Size()) -> None:  # noqa: B008
        self.df = df
        super().__init__(batch_shape, event_shape)

    @property
    def mean(self) -> Tensor:
        """Zero; not a number where there is none, for df of 1 or less."""
        return torch.where(self.df > 1, 0.0, math.nan).to(self.df).expand(self.batch_shape + self.event_shape)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        normal = torch.randn(shape, dtype=self.df.dtype, device=self.df.device)
        half = self.df / 2
        return normal * (half / torch._standard_gamma(half.expand(shape))).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        half = self.df / 2
        constant = torch.lgamma(half + 0.5) - torch.lgamma(half) - 0.5 * (self.df * math.pi).log()
        terms = (value.square() / self.df).log1p()
        return constant * self.event_shape.numel() - (half + 0.5) * terms.sum(self._axes)


class StudentTs(StandardStudentTs):
    """Independent Student-t's: loc and log_scale of shape [*batch_shape, *event_shape]."""

    def __init__(self, loc: Tensor, log_scale: Tensor, df: Tensor, event_dim: int = 1) -> None:
        self.loc, self.log_scale = loc, log_scale
        split = loc.dim() - event_dim
        super().__init__(loc.shape[split:], df, loc.shape[:split])

    @property
    def mean(self) -> Tensor:
        return self.loc + super().mean

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return torch.addcmul(self.loc, self.log_scale.exp(), super().rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) * (-self.log_scale).exp()
        return super().log_prob(standard) - self.log_scale.sum(self._axes)


class StudentT(Explicit):
    """Independent Student-t's, locs and scales from the context: p(x | c) = prod_i t(x_i; df, loc_i(c), scale_i(c)).

    Where a few rows lie far out, a normal moves to them and a Student-t does not: its log-density falls with the
    logarithm of the distance and not with its square. As a base it gives a flow heavy tails (Jaini et al., 2020), as a
    decoder it leaves outliers unexplained.

    Shapes: x is [N, *event_shape], context [N, *context_shape]. `log_prob` is in nats a row.

    Parameters:
        df: degrees of freedom, above 0; the fewer, the heavier the tails: 1 is Cauchy's, a large number the normal.
        hidden: widths of the network of the context.

    References:
        Tails of Lipschitz Triangular Flows (Jaini et al., 2020), https://arxiv.org/abs/1907.04481
    """

    df: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        df: float = 5.0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if not 0 < df < math.inf:
            raise ValueError(
                f"df, the degrees of freedom, must be above 0 and finite, not {df}; for normals take Gaussian"
            )
        self.parameters_of = Parameters(self, 2, hidden)
        self.register_buffer("df", torch.tensor(float(df)), persistent=False)

    def distribution(self, context: Tensor | None = None) -> StudentTs:
        loc, log_scale = self.parameters_of(context).chunk(2, -1)
        if len(self.event_shape) > 1:
            loc, log_scale = (t.unflatten(-1, self.event_shape) for t in (loc, log_scale))
        return StudentTs(loc, log_scale, self.df, len(self.event_shape))
