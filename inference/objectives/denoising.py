"""The expected reconstruction under a corruption."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.objectives.base import Loss, Objective
from inference.objectives.elbo import Divergence, closed_form, draw
from inference.protocols import Corrupting, by_row


class Denoising(Objective):
    """-E_C(x' | x) E_q(z | x')[log p(x | z)] + KL(q(z | x') || p(z)), the mean over the rows, in nats, x' drawn once.

    C is part of model and guide alike and cancels: this is the negative ELBO of the pair with x' among its latents.
    For an encoder that is a point the divergence is -log p(z) at it, a constant under a flat prior. Given an
    encoder with a density it is the denoising variational criterion. `held_out` draws x' anew each time.

    Parameters:
        kl: `closed_form` or `sampled`, as for `Elbo`.

    References:
        Extracting and Composing Robust Features with Denoising Autoencoders (Vincent et al., 2008)
        Denoising Criterion for Variational Auto-Encoding Framework (Im et al., 2015), https://arxiv.org/abs/1511.06406
    """

    asks = Corrupting

    def __init__(self, kl: Divergence = closed_form) -> None:
        super().__init__()
        self.kl = kl

    def forward(self, model: Corrupting, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            x_corrupted = model.corrupted(x).sample()
        q, p = model.encoder(x_corrupted, context), model.prior(context)
        z, log_q = draw(q, 1)
        divergence = by_row(self.kl(q, p, z, log_q), (len(x),), model, "the divergence of encoder and prior")
        log_prob = by_row(model.decoder(z, context).log_prob(x), (len(x),), model, "the decoder's log_prob")
        value = (divergence - log_prob).mean()
        loss, kl = value.detach(), divergence.detach().mean()
        return Loss(value, {"loss": loss, "reconstruction": loss - kl, "kl": kl})
