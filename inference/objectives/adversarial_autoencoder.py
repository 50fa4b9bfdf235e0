"""An autoencoder whose codes are to be taken for draws of the prior."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.objectives.adversarial import critic_loss, taken_for_real
from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.objectives.elbo import draw
from inference.protocols import CodeMatched, by_row


class AdversarialAutoencoding(Objective):
    """Reconstruction, and a game over codes: the critic tells draws of p(z) from codes, the encoder fools it.

    With logits c(z) of "z is a draw of p(z)" and codes z from q(z | x),

        autoencoder:  E_data[-log p(x | z)]                                        encoder and decoder
        critic:       E_p(z)[-log sigmoid(c(z))] + E_data[-log sigmoid(-c(z))]     the critic
        encoder:      E_data[-log sigmoid(c(z))]                                   the encoder
        prior:        E_data[-log p(z)]                                            a prior that has parameters

    in nats a row, each player with an optimiser of its own, one after another on each batch; each player's
    gradient reaches its own parameters alone. Terms: "loss" of each; the critic's "real" and "fake", mean logits.
    `held_out` is the reconstruction.

    References:
        Adversarial Autoencoders (Makhzani et al., 2015), https://arxiv.org/abs/1511.05644
    """

    asks = CodeMatched

    def players(self, model: CodeMatched) -> list[Player]:
        encoder = trainable(model.encoder_model)
        players = [
            Player(
                "autoencoder",
                [*encoder, *trainable(model.decoder_model)],
                lambda x, context: self.reconstruction(model, x, context),
            ),
            Player("critic", trainable(model.code_critic), lambda x, context: self.critic_loss(model, x, context)),
            Player("encoder", encoder, lambda x, context: self.encoder_loss(model, x, context)),
        ]
        prior = trainable(model.prior_model)
        if prior:
            players.append(Player("prior", prior, lambda x, context: self.prior_loss(model, x, context)))
        return players

    def reconstruction(self, model: CodeMatched, x: Tensor, context: Tensor | None = None) -> Loss:
        log_prob = model.decoder(_codes(model, x, context), context).log_prob(x)
        value = -by_row(log_prob, (len(x),), model, "the decoder's log_prob").mean()
        return Loss(value, mean_terms(loss=value))

    def critic_loss(self, model: CodeMatched, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            prior = model.prior(context)
            drawn = prior.sample() if prior.batch_shape else prior.sample((len(x),))
            codes = _codes(model, x, context)
        return critic_loss(model.code_critic, drawn, codes, context)

    def encoder_loss(self, model: CodeMatched, x: Tensor, context: Tensor | None = None) -> Loss:
        value = taken_for_real(model.code_critic, _codes(model, x, context), context)
        return Loss(value, mean_terms(loss=value))

    def prior_loss(self, model: CodeMatched, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            codes = _codes(model, x, context)
        value = -by_row(model.prior(context).log_prob(codes), (len(x),), model, "the prior's log_prob").mean()
        return Loss(value, mean_terms(loss=value))

    def held_out(self, model: CodeMatched, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.reconstruction(model, x, context).value


def _codes(model: CodeMatched, x: Tensor, context: Tensor | None) -> Tensor:
    return draw(model.encoder(x, context), 1)[0]
