"""Adversarial games of a generator and a critic: what they share, and the non-saturating one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.objectives.base import Loss, Player, mean_terms, trainable
from inference.objectives.game_watch import WatchedGame
from inference.objectives.generator_terms import GeneratorTerm
from inference.objectives.penalties import Penalty
from inference.protocols import Generator, name_of


class Game(WatchedGame):
    """A critic c(x) tells real rows from made ones; a generator g(z) learns from what the critic says of its own.

    What each wants of the critic's answers is a subclass's: `critic_value` and `generator_value`, both to go down. The
    critic's rows are made without a graph through the generator and go through it in one call together with the real
    ones; each player's gradient reaches its own parameters alone. With a context, row i is made, judged and mixed
    with the context of real row i.
    Terms: "loss" of each; the critic's "real" and "fake", its mean answers to either kind of row, and "penalty"; the
    generator's terms beside the game, by name.

    Parameters:
        generator_every: the generator moves on each such step only; 5 makes the usual five critic steps to one.
        penalty: of the critic's slope, added to its loss: `GradientPenalty`, `R1`.
        also: what is added to the generator's loss: objects with a `name`, called with (model, made, x, context),
            such as `FeatureMatching`, `HistoricalAveraging`.
    """

    asks = Generator

    def __init__(
        self, *, generator_every: int = 1, penalty: Penalty | None = None, also: Sequence[GeneratorTerm] = ()
    ) -> None:
        super().__init__()
        if generator_every < 1:
            raise ValueError(f"generator_every must be at least 1, not {generator_every}")
        self.generator_every, self.penalty, self.also = generator_every, penalty, tuple(also)
        names = [term.name for term in self.also]
        if len({"loss", *names}) < len(names) + 1:
            raise ValueError(f"the generator's terms need names of their own, not {names} (beside 'loss')")
        self.stateful = nn.ModuleList(term for term in self.also if isinstance(term, nn.Module))

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        """The critic's loss, from its answers to real rows and to made ones."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its critic wants")

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """The generator's loss, from the critic's answers to made rows; `real()` asks for those to real rows."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its generator wants")

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        super().prepare(model, x, context)
        for term in self.also:
            if hasattr(term, "prepare"):
                term.prepare(model)

    def players(self, model: Generator) -> list[Player]:
        return [
            Player("critic", trainable(model.critic), lambda x, context: self.critic_loss(model, x, context)),
            Player(
                "generator",
                trainable(model.generator),
                lambda x, context: self.generator_loss(model, x, context),
                every=self.generator_every,
            ),
        ]

    def critic_loss(self, model: Generator, x: Tensor, context: Tensor | None = None) -> Loss:
        with torch.no_grad():
            made, x = made_rows(model, len(x), context), shown(model, x)
        ask = partial(answers_of, model.critic, context)
        beside: dict[str, Tensor] = {}
        if self.penalty is None:
            real, fake = ask(x, made)
        else:
            real, fake, beside["penalty"] = self.penalty(ask, x, made)
        beside |= {term.name: term.of_critic(model) for term in self.also if hasattr(term, "of_critic")}
        value = sum(beside.values(), self.critic_value(real, fake))
        return Loss(value, mean_terms(loss=value, real=real.mean(), fake=fake.mean(), **beside))

    def generator_loss(self, model: Generator, x: Tensor, context: Tensor | None = None) -> Loss:
        made, x = made_rows(model, len(x), context), shown(model, x)

        @torch.no_grad()
        def real() -> Tensor:
            return logits_of(model.critic, x, context)

        beside = {term.name: term(model, made, x, context) for term in self.also}
        value = sum(beside.values(), self.generator_value(logits_of(model.critic, made, context), real))
        return Loss(value, mean_terms(loss=value, **beside))

    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise TypeError(
            f"the adversarial loss of {name_of(model)} is relative to its critic and has no held-out value: fit "
            "without validation, and ask inference.evaluate for the quality of its samples"
        )


class Smoothed(Game):
    """A game of labels, of which that of real rows may be below 1, so that the critic does not grow sure of itself."""

    def __init__(
        self,
        *,
        smoothing: float = 0.0,
        generator_every: int = 1,
        penalty: Penalty | None = None,
        also: Sequence[GeneratorTerm] = (),
    ) -> None:
        super().__init__(generator_every=generator_every, penalty=penalty, also=also)
        if not 0 <= smoothing < 0.5:
            raise ValueError(
                f"smoothing must be from 0 to below 0.5, not {smoothing}: real rows are to be labelled real"
            )
        self.smoothing = smoothing


class NonSaturating(Smoothed):
    """The non-saturating game: the critic tells real rows from made ones, the generator is to be taken for real.

    With logits c(x) of "x is real" and s = smoothing,

        critic:     E_real[-(1 - s) log sigmoid(c(x)) - s log sigmoid(-c(x))] + E_noise[-log sigmoid(-c(g(z)))]
        generator:  E_noise[-log sigmoid(c(g(z)))]

    in nats a row.

    Parameters:
        smoothing: one-sided, by how much the label of a real row is below 1, such as 0.1, so that the critic does not
            grow sure of itself.
        generator_every, penalty, also: as for every `Game`.

    References:
        Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
    """

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        value = F.softplus(-real).mean() + F.softplus(made).mean()
        return value + self.smoothing * real.mean() if self.smoothing else value  # softplus(c) - softplus(-c) = c

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return F.softplus(-made).mean()


def made_rows(model: Any, n: int, context: Tensor | None) -> Tensor:
    """n made rows as a critic sees them: those that an `Imitating` model imitates."""
    make = getattr(model, "imitate", None) or model.generate  # asked anew at each step: `offers` costs more
    return make(model.noise(n), context)


def shown(model: Any, x: Tensor) -> Tensor:
    """Rows of data as a critic sees them."""
    show = getattr(model, "shown", None)
    return x if show is None else show(x)


def critic_loss(critic: Any, real: Tensor, made: Tensor, context: Tensor | None = None) -> Loss:
    """E_real[-log sigmoid(c)] + E_made[-log sigmoid(-c)], both kinds of rows in one call; they bring no graph."""
    on_real, on_made = answers_of(critic, context, real, made)
    value = F.softplus(-on_real).mean() + F.softplus(on_made).mean()
    return Loss(value, mean_terms(loss=value, real=on_real.mean(), fake=on_made.mean()))


def taken_for_real(critic: Any, made: Tensor, context: Tensor | None = None) -> Tensor:
    """E_made[-log sigmoid(c)]: what is low where the critic takes what was made for real."""
    return F.softplus(-logits_of(critic, made, context)).mean()


def logits_of(critic: Any, x: Tensor, context: Tensor | None) -> Tensor:
    """A critic's logits, given the context where there is one."""
    return critic(x) if context is None else critic(x, context)


def answers_of(critic: Any, context: Tensor | None, *kinds: Tensor) -> tuple[Tensor, ...]:
    """A critic's logits of rows of several kinds, N of each with the same context; in one call.

    A critic that looks at its rows together (minibatch discrimination, batch normalisation) says so by an attribute
    `compares_rows = True`, and is called for each kind by itself.
    """
    if len(kinds) == 1 or getattr(critic, "compares_rows", False):
        return tuple(logits_of(critic, rows, context) for rows in kinds)
    repeated = None if context is None else torch.cat([context] * len(kinds))
    return logits_of(critic, torch.cat(kinds), repeated).chunk(len(kinds))
