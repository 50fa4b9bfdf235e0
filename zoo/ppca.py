"""Probabilistic principal component analysis."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.base import Shape
from zoo.linear_gaussian import LinearGaussian, principal
from zoo.networks import flat


class ProbabilisticPCA(LinearGaussian):
    """Probabilistic PCA: p(x) = integral of N(z; 0, I) N(x; loc + W z, s^2 I) dz, a normal, z integrated exactly.

    Shapes: x is [N, *event_shape], its axes flattened inside; z is [N, latent]. Likelihood in nats a row, exact, and so
    is p(z | x). Cells that are not known (NaN) are integrated out. Fitted at once by `maximum_likelihood` where rows
    lack nothing, by EM (`inference.em`, which starts there) where they do, or by gradients. It takes no context.

    Parameters:
        latent: how many numbers z has, fewer than x.
        floor: the least variance of the noise that closed-form updates give, in units of x squared.

    References:
        Probabilistic Principal Component Analysis (Tipping and Bishop, 1999)
    """

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None = None, latent: int = 2, floor: float = 1e-6
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, latent=latent, floor=floor)
        self.log_scale = nn.Parameter(torch.zeros(()))

    @property
    def log_scales(self) -> Tensor:
        return self.log_scale.expand(self.features)

    @torch.no_grad()
    def maximum_likelihood(self, x: Tensor) -> ProbabilisticPCA:
        """Set the likeliest parameters of rows that lack nothing, by one eigendecomposition; gives the model."""
        self.check(x)
        rows = flat(x, self.event_shape).double().to(self.device)
        if len(rows) < 2 or not rows.isfinite().all():
            raise ValueError(
                "the closed form needs at least 2 rows of finite numbers; for rows that lack cells take inference.em"
            )
        mean = rows.mean(0)
        loadings, noise = principal(rows - mean, *self.latent)
        self.loc.copy_(mean)
        self.loadings.copy_(loadings)
        self.log_scale.copy_(0.5 * noise.clamp(min=self.floor).log())
        return self

    @torch.no_grad()
    def components(self) -> tuple[Tensor, Tensor]:
        """Orthonormal directions of x, [latent, *event_shape], and the variance of x along each, most first."""
        directions, roots, _ = torch.linalg.svd(self.loadings, full_matrices=False)
        return directions.mT.reshape(-1, *self.event_shape), roots.square() + (2 * self.log_scale).exp()

    def _set_noise(self, squares: Tensor, counts: Tensor) -> None:
        self.log_scale.copy_(0.5 * (squares.sum() / counts.sum()).clamp(min=self.floor).log())

    def _units(self, variance: Tensor) -> Tensor:
        return torch.ones_like(variance)
