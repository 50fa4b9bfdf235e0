"""Adversarial autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyro.distributions as dist
from torch import Tensor

from zoo.base import Shape
from zoo.coding import Network, PointCoded, built
from zoo.conditionals import StandardGaussian
from zoo.critics import CriticNetwork
from zoo.slots import Slot, fill
from zoo.verbs import POINT_CODED


class AdversarialAutoencoder(PointCoded):
    """Adversarial autoencoder: p(z) p(x | z), codes z = f(x), a critic that tells codes from draws of p(z).

    The encoder is to reconstruct x and to be taken for p(z), which brings the aggregate of the codes, q(z) =
    E_data delta(z - f(x)), to p(z) as a whole: then `sample`, z from p(z) and x from p(x | z), makes rows like the
    data's. All that is asked of p(z) is draws, and so any explicit model is a prior; one that has parameters is
    fitted to the codes by its likelihood. A code is a point, so there is no bound of log p(x).
    `code_critic(z[, context])` gives logits [N] of "z is a draw of p(z)".

    Shapes: x is [N, *event_shape], z [N, latent], context [N, *context_shape].

    Parameters:
        prior: any explicit density of [latent] (given the context); the standard normal unless told.
        gain: the steepest that the default critic's logit may be, per unit of z.
        critic: a module (z[, context]) -> logits [N], or what builds one from (event_shape, context_shape=...);
            a perceptron with spectral normalisation unless told.
        latent, hidden, encoder, decoder: as `zoo.coding.PointCoded` says.

    References:
        Adversarial Autoencoders (Makhzani et al., 2015), https://arxiv.org/abs/1511.05644
    """

    refusals = {**POINT_CODED, "critic": "its critic judges codes, not rows; ask code_critic"}  # noqa: RUF012

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 8,
        hidden: Sequence[int] = (128, 128),
        gain: float = 10.0,
        prior: Slot | None = None,
        encoder: Network | None = None,
        decoder: Slot | None = None,
        critic: Network | None = None,
    ) -> None:
        super().__init__(
            event_shape, context_shape=context_shape, latent=latent, hidden=hidden, encoder=encoder, decoder=decoder
        )
        if not gain > 0:
            raise ValueError(f"gain must be above 0, not {gain}")
        self.prior_model = fill(prior or StandardGaussian, "prior", self.latent, self.context_shape)
        if self.prior_model.measure != "density":
            raise ValueError(f"prior: {type(self.prior_model).__name__} is discrete, but z is a vector of reals")
        judge = partial(CriticNetwork, hidden=hidden, gain=gain)
        self.code_critic = built(critic or judge, "critic", self.latent, context_shape=self.context_shape)

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.prior_model.distribution(context)

    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.read(x, context)
