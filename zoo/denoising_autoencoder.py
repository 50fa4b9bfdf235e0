"""Denoising autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.base import Shape
from zoo.coding import BoxCoded, Network
from zoo.corruption import Corruption, Masking, as_corruption
from zoo.slots import Slot


class DenoisingAutoencoder(BoxCoded):
    """Denoising autoencoder: p(z) p(x | z) C(x' | x), the row x and a corrupted x' of it, of which the code is made.

    The guide draws x' from C, as the model does, and proposes a `Delta` at z = f(x'), folded into the box
    [-1, 1]^latent on which p(z) is uniform. C cancels in the pair's ELBO, which is

        E_C(x' | x) log p(x | f(x')) - latent log 2

    the expected reconstruction of the clean row from the corrupted one. It bounds no likelihood of x, as f(x') is
    a point. The site of x' is "corrupted".

    `denoise(x')` is the mean of p(x | f(x')). `encode`, `reconstruct` and `anomaly_score` read rows as they are.
    `walk(x, steps)` draws x' from C and x from p(x | f(x')) in turns, a chain whose long run is near the data.
    Shapes: x and x' are [N, *event_shape], z [N, latent], context [N, *context_shape].

    Parameters:
        corruption: `GaussianNoise(scale)`, `Masking(rate, value)`, `SaltAndPepper(rate, low, high)` of
            `zoo.corruption`, or a table such as {"kind": "masking", "rate": 0.3}.
        latent, hidden, encoder, decoder: as `zoo.coding.PointCoded` says.

    References:
        Extracting and Composing Robust Features with Denoising Autoencoders (Vincent et al., 2008),
        https://doi.org/10.1145/1390156.1390294
        Generalized Denoising Auto-Encoders as Generative Models (Bengio et al., 2013), https://arxiv.org/abs/1305.6663
    """

    capabilities = BoxCoded.capabilities | {"denoise"}

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        corruption: Corruption | Mapping[str, str | float] | str = Masking(0.3),  # noqa: B008
        latent: int = 64,
        hidden: Sequence[int] = (128, 128),
        encoder: Network | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(
            event_shape, context_shape=context_shape, latent=latent, hidden=hidden, encoder=encoder, decoder=decoder
        )
        self.corruption = as_corruption(corruption)

    def corrupted(self, x: Tensor) -> dist.TorchDistribution:
        """C(x' | x) of each row."""
        return self.corruption.distribution(x if x.is_floating_point() else x.to(self.dtype))

    def denoise(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """The mean of p(x | f(x')) for corrupted rows x', or a draw of it where its mean has no closed form."""
        return self.reconstruct(x, context=context)

    @torch.no_grad()
    def walk(self, x: Tensor, steps: int = 1, *, context: Tensor | None = None) -> Tensor:
        """Rows that many steps further: corrupted, then drawn from what the decoder makes of it."""
        self.check(x, context)
        for _ in range(steps):
            x = self.decoder(self.code(self.corrupted(x).sample(), context), context).sample()
        return x

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        with pyro.plate("data", next((len(rows) for rows in (x, context) if rows is not None), n)):
            z = pyro.sample("z", self.prior(context))
            x = pyro.sample("x", self.decoder(z, context), obs=x)
            pyro.sample("corrupted", self.corrupted(x))
        return x

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        self.check(x, context)
        with pyro.plate("data", len(x)):
            x_corrupted = pyro.sample("corrupted", self.corrupted(x))
            pyro.sample("z", self.encoder(x_corrupted, context))
