"""The evidence lower bound of guides over global latents, as an objective of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.objectives import Loss, Objective
from inference.variational.guides import Guide

Bounded = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(q [C, dim], rows [B]) -> log p(q, data) [C] in nats and its gradient [C, dim]; `rows` are those of the batch."""


class Approximation(nn.Module):
    """What `fit` fits: K guides and the log density that they are to come near. Its data are the numbers of rows."""

    def __init__(self, guide: Guide, density: Bounded) -> None:
        super().__init__()
        self.guide, self.density = guide, density


class GlobalElbo(Objective):
    """Minus E_q [log p(q, data) - log q(q)] in nats, all guides' mean; each of the K goes its own way.

    Parameters:
        draws: of each guide at each step.

    References:
        Automatic Differentiation Variational Inference (Kucukelbir et al., 2017), https://arxiv.org/abs/1603.00788
    """

    def __init__(self, draws: int = 8) -> None:
        super().__init__()
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        self.draws = draws

    def forward(self, model: Approximation, x: Tensor, context: Tensor | None = None) -> Loss:
        q, log_q = model.guide.draw(self.draws)
        elbos = (log_density(model.density, q, x) - log_q).mean(0)
        value = -elbos.mean()
        return Loss(value, {"loss": value.detach(), "best": -elbos.detach().max()})

    def unit(self, model: Any) -> str:
        return "nats"


class _Known(torch.autograd.Function):
    """A value whose gradient was worked out with it."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad[0][..., None] * slope, None, None


def log_density(density: Bounded, q: Tensor, rows: Tensor) -> Tensor:
    """log p at q [n, K, dim], [n, K], with the gradient that the density gave beside it."""
    value, slope = density(q.detach().flatten(0, 1), rows)
    return _Known.apply(q, value.detach().view(q.shape[:-1]), slope.detach().view(q.shape))
