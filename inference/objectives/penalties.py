"""Penalties of a critic's slope, at points that share the one call of real and made rows."""

from __future__ import annotations

import torch
from torch import Tensor


class Penalty:
    """weight * E_points[of(slope)], where a point's slope is the gradient of the critic's answer there by the point.

    A subclass says where its points are (`placed`) and what it asks of slopes [N, D] (`of`).
    """

    def __init__(self, weight: float) -> None:
        if not weight > 0:
            raise ValueError(f"weight must be above 0, not {weight}")
        self.weight = weight

    def placed(self, real: Tensor, made: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The points, and the kinds of rows for the critic's one call: real, made, and others of which points are."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its points are")

    def of(self, slopes: Tensor) -> Tensor:
        """What is asked of slopes [N, D]: [N], to be 0."""
        raise NotImplementedError(f"{type(self).__name__} does not say what slopes it wants")

    def __call__(self, answers: Tensor, points: Tensor) -> Tensor:
        """The penalty, from all the answers of a call: those of other rows do not depend on the points."""
        (slopes,) = torch.autograd.grad(answers.sum(), points, create_graph=True)
        return self.weight * self.of(slopes.flatten(1)).mean()


class GradientPenalty(Penalty):
    """weight * E[(|dc/dx| - 1)^2] at random mixes of a real row and a made one, evenly between them.

    References:
        Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__(weight)

    def placed(self, real: Tensor, made: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        share = torch.rand(len(real), *(1,) * (real.dim() - 1), dtype=real.dtype, device=real.device)
        points = torch.lerp(made, real, share).requires_grad_()
        return points, (real, made, points)

    def of(self, slopes: Tensor) -> Tensor:
        return (slopes.norm(dim=1) - 1).square()


class R1(Penalty):
    """weight / 2 * E_real[|dc/dx|^2]: no slope at the data, where a generator that has arrived is to stay.

    References:
        Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018),
        https://arxiv.org/abs/1801.04406
    """

    def placed(self, real: Tensor, made: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        points = real.detach().requires_grad_()
        return points, (points, made)

    def of(self, slopes: Tensor) -> Tensor:
        return 0.5 * slopes.square().sum(1)
