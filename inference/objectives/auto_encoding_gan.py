"""A GAN whose rows are also rebuilt from their codes, and whose codes are to be taken for its noise."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.objectives.adversarial import critic_loss, logits_of
from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.objectives.learned_similarity import judged
from inference.protocols import AutoEncoding, name_of


class AutoEncodingGAN(Objective):
    """Two games, over rows and over codes, and the reconstruction that ties them: alpha-GAN.

    With logits c(x) of "x is real" and k(z) of "z is noise", codes z = f(x), noise z' and the reconstruction
    R = E_data weight |x - g(z)|_1, minus the log density of a Laplace of scale 1 / weight up to its constant,

        encoder:      R - E_data[k(z)]
        generator:    R - E_data[c(g(z))] - E[c(g(z'))]
        critic:       E[-log sigmoid(c(x))] + E[-log sigmoid(-c(g(z)))] + E[-log sigmoid(-c(g(z')))]
        code_critic:  E[-log sigmoid(k(z'))] + E_data[-log sigmoid(-k(z))]

    in nats a row. Of the best code critic, -E_data[k(z)] is KL(q(z) || p(z)), of the codes of all the data from the
    noise; of the best critic, -c is log (p_rebuilt + p_made) - log p_data. Each player's gradient reaches its own
    parameters alone. Terms: "loss" of each, the encoder's "reconstruction" R and "ratio" -E[k(z)], the critics' mean
    logits, "real" and "fake", and "rebuilt" of the rows' critic.

    Parameters:
        weight: of a unit of distance from x, lambda in the paper.

    References:
        Variational Approaches for Auto-Encoding Generative Adversarial Networks (Rosca et al., 2017),
        https://arxiv.org/abs/1706.04987, whose first version had the code critic's two terms the other way about
    """

    asks = AutoEncoding

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f"weight must be above 0, not {weight}")
        self.weight = weight

    def players(self, model: AutoEncoding) -> list[Player]:
        losses = {
            "encoder": (model.encoder_model, self.encoder_loss),
            "generator": (model.generator, self.generator_loss),
            "critic": (model.critic, self.critic_loss),
            "code_critic": (model.code_critic, self.code_critic_loss),
        }
        return [
            Player(name, trainable(part), lambda x, context, loss=loss: loss(model, x, context))  # type: ignore[misc]
            for name, (part, loss) in losses.items()
        ]

    def encoder_loss(self, model: AutoEncoding, x: Tensor, context: Tensor | None = None) -> Loss:
        z = model.code(x, context)
        error = self.reconstruction(x, model.generate(z, context))
        ratio = -logits_of(model.code_critic, z, context).mean()
        return Loss(error + ratio, mean_terms(loss=error + ratio, reconstruction=error, ratio=ratio))

    def generator_loss(self, model: AutoEncoding, x: Tensor, context: Tensor | None = None) -> Loss:
        rebuilt, made = _made(model, x, context)
        twice = None if context is None else torch.cat([context, context])
        taken = logits_of(model.critic, torch.cat([rebuilt, made]), twice)
        value = self.reconstruction(x, rebuilt) - 2 * taken.mean()
        return Loss(value, mean_terms(loss=value))

    def critic_loss(self, model: AutoEncoding, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            rebuilt, made = _made(model, x, context)
        return judged(model.critic, x, rebuilt, made, context)

    def code_critic_loss(self, model: AutoEncoding, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            noise, z = model.noise(len(x)), model.code(x, context)
        return critic_loss(model.code_critic, noise, z, context)

    def reconstruction(self, x: Tensor, rebuilt: Tensor) -> Tensor:
        """R, in nats a row."""
        return self.weight * (x - rebuilt).flatten(1).abs().sum(1).mean()

    def held_out(self, model: AutoEncoding, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise TypeError(
            f"what {name_of(model)} minimises is relative to its critics and has no held-out value: fit without "
            "validation, and ask inference.evaluate for the quality of its samples"
        )


def _made(model: AutoEncoding, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows made of their codes, and as many made of noise."""
    with torch.no_grad():
        z = model.code(x, context)
    both = None if context is None else torch.cat([context, context])
    rebuilt, made = model.generate(torch.cat([z, model.noise(len(x))]), both).chunk(2)
    return rebuilt, made
