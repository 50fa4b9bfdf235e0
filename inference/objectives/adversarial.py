"""The adversarial game of a generator and a critic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.protocols import Generator, name_of


class NonSaturating(Objective):
    """The non-saturating game: the critic tells real rows from made ones, the generator is to be taken for real.

    With logits c(x) of "x is real",

        critic:     E_real[-log sigmoid(c(x))] + E_noise[-log sigmoid(-c(g(z)))]
        generator:  E_noise[-log sigmoid(c(g(z)))]

    in nats a row. The critic's rows are made without a graph through the generator, and go through the critic in
    one call together with the real ones; each player's gradient reaches its own parameters alone.
    Terms: "loss" of each; the critic's "real" and "fake", the mean logits of either kind of row.

    Parameters:
        generator_every: the generator moves on each such step only; 5 makes the usual five critic steps to one.

    References:
        Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
    """

    asks = Generator

    def __init__(self, *, generator_every: int = 1) -> None:
        super().__init__()
        if generator_every < 1:
            raise ValueError(f"generator_every must be at least 1, not {generator_every}")
        self.generator_every = generator_every

    def players(self, model: Generator) -> list[Player]:
        return [
            Player("critic", trainable(model.critic), lambda x, context: self.critic_loss(model, x, context)),
            Player(
                "generator",
                trainable(model.generator),
                lambda x, context: self.generator_loss(model, len(x), context),
                every=self.generator_every,
            ),
        ]

    def critic_loss(self, model: Generator, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            made = model.generate(model.noise(len(x)), context)
        return critic_loss(model.critic, x, made, context)

    def generator_loss(self, model: Generator, n: int, context: Tensor | None = None) -> Loss:
        value = taken_for_real(model.critic, model.generate(model.noise(n), context), context)
        return Loss(value, mean_terms(loss=value))

    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise TypeError(
            f"the adversarial loss of {name_of(model)} is relative to its critic and has no held-out value: fit "
            "without validation, and ask inference.evaluate for the quality of its samples"
        )


def critic_loss(critic: Any, real: Tensor, made: Tensor, context: Tensor | None = None) -> Loss:
    """E_real[-log sigmoid(c)] + E_made[-log sigmoid(-c)], both kinds of rows in one call; they bring no graph."""
    both = None if context is None else torch.cat([context, context])
    on_real, on_made = logits_of(critic, torch.cat([real, made]), both).chunk(2)
    value = F.softplus(-on_real).mean() + F.softplus(on_made).mean()
    return Loss(value, mean_terms(loss=value, real=on_real.mean(), fake=on_made.mean()))


def taken_for_real(critic: Any, made: Tensor, context: Tensor | None = None) -> Tensor:
    """E_made[-log sigmoid(c)]: what is low where the critic takes what was made for real."""
    return F.softplus(-logits_of(critic, made, context)).mean()


def logits_of(critic: Any, x: Tensor, context: Tensor | None) -> Tensor:
    """A critic's logits, given the context where there is one."""
    return critic(x) if context is None else critic(x, context)
