"""Objectives of models that make an image of an image: what belongs together, what is given back, what is kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from inference.objectives.adversarial import Game, NonSaturating, answers_of, logits_of
from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.objectives.games import LeastSquares
from inference.objectives.generator_terms import checked_weight
from inference.protocols import Cyclic, Paired, name_of


class FromPartner:
    """weight * E `model.from_partner(made, x)`, x being the row whose context was given: a term of any game.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), equation 3
    """

    name = "from_partner"

    def __init__(self, weight: float = 100.0) -> None:
        self.weight = checked_weight(weight)

    def __call__(self, model: Any, made: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return self.weight * model.from_partner(made, x).mean()


class PairedTranslation(NonSaturating):
    """pix2pix: the non-saturating game of a critic that sees the context, and how far what is made is from its partner.

        critic:     E[-log sigmoid(c(x, y))] + E[-log sigmoid(-c(g(z, y), y))]
        generator:  E[-log sigmoid(c(g(z, y), y))] + weight E |x - g(z, y)|

    for rows x with context y. Terms: as of every `Game`, and the generator's "from_partner". For another game, give it
    the term: `LeastSquares(also=[FromPartner(100)])`.

    Parameters:
        weight: of the distance from the partner, lambda in the paper.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017),
        https://arxiv.org/abs/1611.07004
    """

    asks = Paired

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__(also=[FromPartner(weight)])


class Translating(Objective):
    """Generators and critics whose losses are those of a game, its penalty and its rhythm, and terms of their own."""

    def __init__(self, game: Game | None) -> None:
        super().__init__()
        self.game = LeastSquares() if game is None else game
        if self.game.also:
            raise ValueError(f"{name_of(self)} has generator terms of its own: give it a game without `also`")

    def judged(self, critic: Any, real: Tensor, made: Tensor) -> Tensor:
        """A critic's loss on rows that bring no graph."""
        ask = partial(answers_of, critic, None)
        if self.game.penalty is None:
            return self.game.critic_value(*ask(real, made))
        on_real, on_made, penalty = self.game.penalty(ask, real, made)
        return self.game.critic_value(on_real, on_made) + penalty

    def taken(self, critic: Any, real: Tensor, made: Tensor) -> Tensor:
        """The generator's loss by a critic."""

        @torch.no_grad()
        def answers() -> Tensor:
            return logits_of(critic, real, None)

        return self.game.generator_value(logits_of(critic, made, None), answers)

    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise TypeError(
            f"what {name_of(model)} minimises is relative to its critics and has no held-out value: fit without "
            "validation, and ask inference.evaluate for the quality of its samples"
        )


class CycleConsistency(Translating):
    """CycleGAN: two games, one a domain, and that what is translated and translated back is what it was.

    With x of one domain and y, the context, of another, g(z, y) of the first, h(z, x) of the second, critics c and k,

        critics:     V(c; x, g(z, y)) + V(k; y, h(z, x))                  V, W of the game
        generators:  W(c; g(z, y)) + W(k; h(z, x)) + cycle (E |g(z, h(z, x)) - x| + E |h(z, g(z, y)) - y|)
                     + identity (E |g(z, x) - x| + E |h(z, y) - y|)

    where |.| is a mean over the numbers of a row; the last line is left out where identity is 0 or the domains have
    two shapes. No term looks at x and y of one row together: whichever rows stand beside each other, the loss is the
    same.
    Terms: "loss" of each; the generators' "game", "cycle" and "identity".

    Parameters:
        cycle: the weight of what comes back.
        identity: of what is of the right domain already and is to stay as it is, which keeps colours where two domains
            share them, and forbids to invert them where it is above 0.
        game: whose losses the critics and generators have: `LeastSquares()` unless told.

    References:
        Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu et al., 2017),
        https://arxiv.org/abs/1703.10593
    """

    asks = Cyclic

    def __init__(self, cycle: float = 10.0, identity: float = 0.0, *, game: Game | None = None) -> None:
        super().__init__(game)
        if identity < 0:
            raise ValueError(f"identity must be at least 0, not {identity}")
        self.cycle, self.identity = checked_weight(cycle), identity

    def players(self, model: Cyclic) -> list[Player]:
        critics = [*trainable(model.critic), *trainable(model.context_critic)]
        generators = [*trainable(model.generator), *trainable(model.context_generator)]
        return [
            Player("critics", critics, lambda x, context: self.critics_loss(model, x, context)),
            Player(
                "generators",
                generators,
                lambda x, context: self.generators_loss(model, x, context),
                every=self.game.generator_every,
            ),
        ]

    def critics_loss(self, model: Cyclic, x: Tensor, context: Tensor | None) -> Loss:
        assert context is not None
        with torch.no_grad():
            made, back = model.generate(model.noise(len(x)), context), model.generate_context(model.noise(len(x)), x)
        value = self.judged(model.critic, x, made) + self.judged(model.context_critic, context, back)
        return Loss(value, mean_terms(loss=value))

    def generators_loss(self, model: Cyclic, x: Tensor, context: Tensor | None) -> Loss:
        assert context is not None
        both = bool(self.identity) and x.shape == context.shape
        to_x, to_context = ([context, x], [x, context]) if both else ([context], [x])
        made, *same = each(model.generate, model, to_x)
        back, *context_same = each(model.generate_context, model, to_context)
        (again,), (back_again,) = each(model.generate, model, [back]), each(model.generate_context, model, [made])
        terms = {
            "game": self.taken(model.critic, x, made) + self.taken(model.context_critic, context, back),
            "cycle": self.cycle * (apart(again, x) + apart(back_again, context)),
        }
        if both:
            terms["identity"] = self.identity * (apart(same[0], x) + apart(context_same[0], context))
        value = torch.stack(list(terms.values())).sum()
        return Loss(value, mean_terms(loss=value, **terms))


def each(generate: Any, model: Any, images: list[Tensor]) -> tuple[Tensor, ...]:
    """What a generator makes of several batches of images, in one call."""
    together = torch.cat(images)
    return generate(model.noise(len(together)), together).chunk(len(images))


def apart(made: Tensor, x: Tensor) -> Tensor:
    """The mean of |made - x|."""
    return (made - x).abs().mean()
