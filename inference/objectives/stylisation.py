"""Content of one domain in the style of another."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.objectives.base import Loss, Player, mean_terms, trainable
from inference.objectives.games import Game
from inference.objectives.generator_terms import checked_weight
from inference.objectives.translation import Translating, apart
from inference.protocols import Styled


class Stylisation(Translating):
    """Style transfer between domains: a game over what is made, whose features are to be those that it was made of.

    With features f, adaptive instance normalisation t = AdaIN(f(y), style) of a content y, the context, made images
    w(t), and V, W of a game whose critic sees x alone,

        critic:     V(c; x, w(t))
        generator:  W(c; w(t)) + content E |f(w(t)) - t|^2 + rebuilt (E |w(f(y)) - y| + E |w(f(x)) - x|)

    where |.|, and |.|^2, are means over the numbers of a row. Of half of the rows the style is drawn, s(z), of the
    others it is that of some row of x. t holds content and style: the paper's loss of content is one of style too
    where both are asked of the same features. Its f is a network taught elsewhere and kept; here f is learned, and the
    last term, which is left to no critic, has it tell images apart. No x and y are taken for a pair. Terms: "loss" of
    each; the generator's "game", "content" and "rebuilt".

    Parameters:
        content, rebuilt: the weights.
        game: whose losses the players have: `LeastSquares()` unless told.

    References:
        Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (Huang and Belongie, 2017),
        https://arxiv.org/abs/1703.06868
    """

    asks = Styled

    def __init__(self, content: float = 1.0, rebuilt: float = 2.0, *, game: Game | None = None) -> None:
        super().__init__(game)
        self.content, self.rebuilt = checked_weight(content), checked_weight(rebuilt)

    def players(self, model: Styled) -> list[Player]:
        return [
            Player("critic", trainable(model.critic), lambda x, context: self.critic_loss(model, x, context)),
            Player(
                "generator",
                trainable(model.generator),
                lambda x, context: self.generator_loss(model, x, context),
                every=self.game.generator_every,
            ),
        ]

    def critic_loss(self, model: Styled, x: Tensor, context: Tensor | None) -> Loss:
        assert context is not None
        with torch.no_grad():
            made = model.write(restyled(model, model.read(context), model.read(x)))
        value = self.judged(model.critic, x, made)
        return Loss(value, mean_terms(loss=value))

    def generator_loss(self, model: Styled, x: Tensor, context: Tensor | None) -> Loss:
        assert context is not None
        read, read_x = model.read(context), model.read(x)
        asked = restyled(model, read, read_x)
        made = model.write(asked)
        terms = {
            "game": self.taken(model.critic, x, made),
            "content": self.content * (model.read(made) - asked).square().mean(),
            "rebuilt": self.rebuilt * (apart(model.write(read), context) + apart(model.write(read_x), x)),
        }
        value = torch.stack(list(terms.values())).sum()
        return Loss(value, mean_terms(loss=value, **terms))


def restyled(model: Styled, content: Tensor, style: Tensor) -> Tensor:
    """Features of content, the first half of the rows in styles that are drawn, the others in those of any features."""
    half = len(content) // 2
    drawn, others = model.style(model.noise(half)), torch.randperm(len(style), device=style.device)[half:]
    return model.adapted(content, torch.cat([drawn, model.style_of(style[others])]))
