"""Factor analysis."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.base import Shape
from zoo.linear_gaussian import LinearGaussian


class FactorAnalysis(LinearGaussian):
    """Factor analysis: p(x) = integral of N(z; 0, I) N(x; loc + W z, diag(scale^2)) dz, z integrated exactly.

    Each number of x has noise of its own, so the factors tell what numbers have in common and nothing of the units
    that they are measured in.

    Shapes: x is [N, *event_shape], its axes flattened inside; z is [N, latent]. Likelihood in nats a row, exact, and so
    is p(z | x). Cells that are not known (NaN) are integrated out. Fitted by EM with expanded parameters
    (`inference.em`) or by gradients of the exact likelihood. It takes no context.

    Parameters:
        latent: how many factors, fewer than x has numbers.
        floor: the least variance of the noise that closed-form updates give, in units of x squared.

    References:
        EM Algorithms for ML Factor Analysis (Rubin and Thayer, 1982)
        Parameter Expansion to Accelerate EM: the PX-EM Algorithm (Liu, Rubin and Wu, 1998)
    """

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None = None, latent: int = 2, floor: float = 1e-6
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, latent=latent, floor=floor)
        self.log_scale = nn.Parameter(torch.zeros(self.features))

    @property
    def log_scales(self) -> Tensor:
        return self.log_scale

    @property
    def communalities(self) -> Tensor:
        """The share of each number's variance that the factors make, [*event_shape]."""
        shared = self.loadings.square().sum(-1)
        return (shared / (shared + (2 * self.log_scale).exp())).reshape(self.event_shape)

    def _set_noise(self, squares: Tensor, counts: Tensor) -> None:
        self.log_scale.copy_(0.5 * (squares / counts).clamp(min=self.floor).log())

    def _units(self, variance: Tensor) -> Tensor:
        return torch.where(variance > 0, variance, 1.0).sqrt()
