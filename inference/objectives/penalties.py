"""Penalties of a critic's slope, asked together with its answers to real rows and to made ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Ask = Callable[..., tuple[Tensor, ...]]
"""(kinds of rows) -> a critic's answers to each kind, in one call."""


class Penalty:
    """weight * E_points[cost(slope)], where a point's slope is the gradient of the critic's answer there by the point.

    The points are a call of their own: the second derivatives of a call are taken through all of its rows.
    """

    def __init__(self, weight: float) -> None:
        if not weight > 0:
            raise ValueError(f"weight must be above 0, not {weight}")
        self.weight = weight

    def __call__(self, ask: Ask, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The critic's answers to real rows and to made ones, and the penalty."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its points are")

    def cost(self, slopes: Tensor) -> Tensor:
        """What slopes [N, D] cost, [N]."""
        raise NotImplementedError(f"{type(self).__name__} does not say what slopes it wants")

    def of(self, answers: Tensor, points: Tensor) -> Tensor:
        """The penalty, of answers each of which depends on its own point."""
        (slopes,) = torch.autograd.grad(answers.sum(), points, create_graph=True)
        return self.weight * self.cost(slopes.flatten(1)).mean()


class GradientPenalty(Penalty):
    """weight * E[(|dc/dx| - 1)^2] at random mixes of a real row and a made one, evenly between them.

    References:
        Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__(weight)

    def __call__(self, ask: Ask, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = torch.rand(len(real), *(1,) * (real.dim() - 1), dtype=real.dtype, device=real.device)
        points = torch.lerp(made.to(real), real, share).requires_grad_()
        on_real, on_made = ask(real, made)
        (on_points,) = ask(points)
        return on_real, on_made, self.of(on_points, points)

    def cost(self, slopes: Tensor) -> Tensor:
        return (slopes.norm(dim=1) - 1).square()


class R1(Penalty):
    """weight / 2 * E_real[|dc/dx|^2]: no slope at the data, where a generator that has arrived is to stay.

    References:
        Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018),
        https://arxiv.org/abs/1801.04406
    """

    def __call__(self, ask: Ask, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = real.detach().requires_grad_()
        (on_real,), (on_made,) = ask(points), ask(made)
        return on_real, on_made, self.of(on_real, points)

    def cost(self, slopes: Tensor) -> Tensor:
        return 0.5 * slopes.square().sum(1)
