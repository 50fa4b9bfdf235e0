"""Autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from zoo.base import Shape, Slot
from zoo.coding import Network, PointCoded, flat_box


class Autoencoder(PointCoded):
    """Autoencoder: a row's code is a point z = f(x), squashed into the box (-1, 1)^latent, and p(x | z) reads it.

    As a Pyro pair z is uniform on the box and the guide a `Delta` at f(x), so that the pair's ELBO is

        log p(x | f(x)) - latent log 2

    whose gradient is the reconstruction's alone: a flat prior holds no code for likelier than another. It bounds
    nothing, as a point has no density, and the codes of data don't fill the box: there is no marginal likelihood,
    `sample` shows what the decoder makes of codes that mean nothing, and a `VAE` or an `AdversarialAutoencoder`
    is what to fit where that matters.

    `encode(x)` is for compression and features, `reconstruct(x)` the mean of p(x | f(x)), `anomaly_score(x)` its
    -log p(x | f(x)), nats a row. Shapes: x is [N, *event_shape], z [N, latent], context [N, *context_shape].

    Parameters:
        latent, hidden, encoder, decoder: as `zoo.coding.PointCoded` says. A `HomoscedasticGaussian` decoder is the
            usual squared error, its scale learned beside it.

    References:
        Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006),
        https://doi.org/10.1126/science.1127647
        From Variational to Deterministic Autoencoders (Ghosh et al., 2020), https://arxiv.org/abs/1903.12436
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (128, 128),
        encoder: Network | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(
            event_shape, context_shape=context_shape, latent=latent, hidden=hidden, encoder=encoder, decoder=decoder
        )

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return flat_box(self.latent, self._anchor, context)

    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.read(x, context).tanh()
