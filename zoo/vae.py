"""Variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.base import LatentVariable, Shape, latent_site
from zoo.conditionals import Bernoulli, Gaussian, StandardGaussian
from zoo.networks import joined
from zoo.slots import PriorSlot, Slot, fill, fill_prior


class VAE(LatentVariable):
    """Variational autoencoder: p(x, z) = p(z) p(x | z), with q(z | x) amortised by a network.

    Shapes: x is [N, *event_shape], z is [N, latent], context [N, *context_shape].

    Parameters:
        latent: how many numbers z has.
        prior: any explicit model of [latent], such as a flow, or one with latents of its own, such as a `Diffusion`
            (latent diffusion); the standard normal unless told. A `VampPrior` takes the encoder's q(z | x).
        encoder: any explicit model of [latent] given a context of x's shape; a diagonal normal unless told.
        decoder: any explicit model of x given a context [latent]; Bernoulli (x of zeros and ones) unless told.
            A conditional VAE's encoder and decoder read the context joined to x and z, as one flat vector,
            and its prior reads the context.
        hidden: widths of the default networks.

    A prior with latents w makes p(w) p(z | w) p(x | z) of it, proposed by q(z | x) q(w | z): sites "z_prior", "z" and
    "x". Its `log_prob` is an estimate (`PseudoMarginal`), and bounds made with it are bounds. `fit` trains all at once,
    a diffusion by one step a row; a KL that is phased in helps, and of the diffusion's variances "noise", right where z
    is normal. Or fit a VAE with a plain prior, then a diffusion on its codes, and pass the parts to a third.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2013), https://arxiv.org/abs/1312.6114
        Score-based Generative Modeling in Latent Space (Vahdat, Kreis and Kautz, 2021), 2106.05931
        High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), 2112.10752
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (128, 128),
        prior: PriorSlot | None = None,
        encoder: Slot | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        self.latent = torch.Size([latent])
        extra = 0 if self.context_shape is None else self.context_shape.numel()
        x_shape = self.event_shape if not extra else torch.Size([self.features + extra])
        self.prior_model = fill_prior(prior or StandardGaussian, self.latent, self.context_shape)
        self.encoder_model = fill(encoder or partial(Gaussian, hidden=hidden), "encoder", self.latent, x_shape)
        self.decoder_model = fill(
            decoder or partial(Bernoulli, hidden=hidden), "decoder", self.event_shape, [latent + extra]
        )
        for slot, part in (("prior", self.prior_model), ("encoder", self.encoder_model)):
            if part.measure != "density":
                raise ValueError(f"{slot}: {type(part).__name__} is discrete, but z is a vector of reals")
        if hasattr(self.prior_model, "share"):  # a prior that is made of q(z | x)
            self.prior_model.share(self.encoder_model)
        self.support = self.decoder_model.support

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Give a prior that is made of q(z | x) the rows to begin with, before the first step of a fit."""
        if hasattr(self.prior_model, "share"):
            self.prior_model.initialise(x, context)

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.prior_model.as_prior(context)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.decoder_model.distribution(joined(z, self.latent, context, self.context_shape))

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        inputs = x.to(self.dtype) if not x.is_floating_point() else x
        if context is not None:
            inputs = joined(inputs, self.event_shape, context, self.context_shape)
        return self.encoder_model.distribution(inputs)

    def site(self, name: str, context: Tensor | None = None, obs: Tensor | None = None) -> Tensor:
        z = self.prior_model.site(latent_site(name), context)
        return pyro.sample(name, self.decoder(z, context), obs=obs)

    def propose(self, name: str, x: Tensor, context: Tensor | None = None) -> None:
        z = pyro.sample(latent_site(name), self.encoder(x, context))
        self.prior_model.propose(latent_site(name), z, context)
