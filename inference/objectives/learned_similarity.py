"""A variational autoencoder whose reconstructions are compared in a critic's features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.objectives.adversarial import logits_of, taken_for_real
from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.objectives.elbo import Divergence, closed_form, draw
from inference.protocols import Similar, by_row, name_of


class LearnedSimilarity(Objective):
    """The ELBO of a critic's features, and the game that teaches the critic: VAE-GAN.

    With features f, logits c, z from q(z | x), z' from p(z) and g(z) the mean of p(x | z), the reconstruction is
    S = E_data precision / 2 |f(x) - f(g(z))|^2, minus log N(f(x); f(g(z)), I / precision) up to its constant, and

        encoder:    S + KL(q(z | x) || p(z))                                      encoder, and prior if it has any
        generator:  weight S + E[-log sigmoid(c(g(z)))] + E[-log sigmoid(c(g(z')))]
        critic:     E[-log sigmoid(c(x))] + E[-log sigmoid(-c(g(z)))] + E[-log sigmoid(-c(g(z')))]

    in nats a row. The generator's game is the non-saturating one; each player's gradient reaches its own parameters
    alone, so that the features are taught by the game and not by S. Terms: "loss" of each, the encoder's
    "similarity" S and "kl", the critic's mean logits "real", "rebuilt" and "fake".

    Parameters:
        precision: of the features given z. With 1, features as smooth as those of a critic of spectral norm 1 are
            worth few nats and let the code collapse (training rows of digits, 900 steps, seed 0: a KL of 2.9 nats,
            with these defaults of 21).
        weight: of the reconstruction in the generator's loss, gamma in the paper.
        kl: `closed_form` or `sampled`, as for `Elbo`.

    References:
        Autoencoding beyond pixels using a learned similarity metric (Larsen et al., 2016)
    """

    asks = Similar

    def __init__(self, precision: float = 20.0, weight: float = 0.1, kl: Divergence = closed_form) -> None:
        super().__init__()
        for name, value in (("precision", precision), ("weight", weight)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        self.precision, self.weight, self.kl = precision, weight, kl

    def players(self, model: Similar) -> list[Player]:
        encoder = [*trainable(model.encoder_model), *trainable(model.prior_model)]
        return [
            Player("encoder", encoder, lambda x, context: self.encoder_loss(model, x, context)),
            Player("generator", trainable(model.generator), lambda x, context: self.generator_loss(model, x, context)),
            Player("critic", trainable(model.critic), lambda x, context: self.critic_loss(model, x, context)),
        ]

    def encoder_loss(self, model: Similar, x: Tensor, context: Tensor | None = None) -> Loss:
        q, p = model.encoder(x, context), model.prior(context)
        z, log_q = draw(q, 1)
        kl = by_row(self.kl(q, p, z, log_q), (len(x),), model, "the divergence of encoder and prior").mean()
        similarity = self.similarity(model, x, model.decoder(z, context).mean, context)
        return Loss(similarity + kl, mean_terms(loss=similarity + kl, similarity=similarity, kl=kl))

    def generator_loss(self, model: Similar, x: Tensor, context: Tensor | None = None) -> Loss:
        rebuilt, made = _made(model, x, context)
        value = self.weight * self.similarity(model, x, rebuilt, context)
        value = value + taken_for_real(model.critic, rebuilt, context) + taken_for_real(model.critic, made, context)
        return Loss(value, mean_terms(loss=value))

    def critic_loss(self, model: Similar, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            rebuilt, made = _made(model, x, context)
        return judged(model.critic, x, rebuilt, made, context)

    def similarity(self, model: Similar, x: Tensor, rebuilt: Tensor, context: Tensor | None = None) -> Tensor:
        """S, in nats a row."""
        gap = model.critic_features(x, context) - model.critic_features(rebuilt, context)
        return 0.5 * self.precision * gap.flatten(1).square().sum(1).mean()

    def held_out(self, model: Similar, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise TypeError(
            f"what {name_of(model)} minimises is relative to its critic and has no held-out value: fit without "
            "validation, and ask inference.evaluate for the quality of its samples"
        )


def judged(critic: Any, x: Tensor, rebuilt: Tensor, made: Tensor, context: Tensor | None = None) -> Loss:
    """A critic's loss on real rows, rows rebuilt and rows made, all in one call; they bring no graph."""
    thrice = None if context is None else torch.cat([context] * 3)
    real, again, fake = logits_of(critic, torch.cat([x, rebuilt, made]), thrice).chunk(3)
    value = F.softplus(-real).mean() + F.softplus(again).mean() + F.softplus(fake).mean()
    return Loss(value, mean_terms(loss=value, real=real.mean(), rebuilt=again.mean(), fake=fake.mean()))


def _made(model: Similar, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows made of their codes, and as many made of draws of the prior."""
    with torch.no_grad():
        prior = model.prior(context)
        drawn = prior.sample() if prior.batch_shape else prior.sample((len(x),))
        z = draw(model.encoder(x, context), 1)[0]
    return model.decoder(z, context).mean, model.decoder(drawn, context).mean
