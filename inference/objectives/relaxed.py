"""The evidence lower bound of codes, relaxed to shares of their levels so that draws have gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.objectives.base import Counting, Loss, mean_terms
from inference.objectives.enumerated import Enumerated
from inference.protocols import Coded, Enumerable, by_row, name_of, offers
from inference.schedules import Schedule, constant


def cooling(steps: int, first: float = 1.0, last: float = 0.5) -> Schedule:
    """A temperature from `first` down to `last` by the same factor each step, over `steps`; then constant."""
    if not 0 < last <= first:
        raise ValueError(f"a temperature cools from a first to a last above 0, not from {first} to {last}")
    return lambda step: first * (last / first) ** min(1.0, step / steps)


class Relaxed(Counting):
    """-log p(x | s) + KL(q(z | x) || p(z)), the mean over the rows, s the draw of z relaxed to shares of the levels:

        s = softmax((log q(z | x) + g) / temperature),   g Gumbel noise

    The divergence is that of the codes, in closed form. The reconstruction is of the relaxed model, so that its value
    bounds nothing and its gradient is biased; as the temperature goes to 0 both tend in the mean to the bound's own,
    while the gradient's noise grows. Held out is the bound itself: codes summed where they are few, else drawn.

    Parameters:
        temperature: step -> temperature, or a number that stays.

    References:
        Categorical Reparameterization with Gumbel-Softmax (Jang, Gu and Poole, 2016), https://arxiv.org/abs/1611.01144
        The Concrete Distribution (Maddison, Mnih and Teh, 2016), https://arxiv.org/abs/1611.00712
    """

    asks = Coded

    def __init__(self, temperature: Schedule | float = 0.5) -> None:
        super().__init__()
        if not callable(temperature) and not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        self.temperature = temperature if callable(temperature) else constant(temperature)

    def forward(self, model: Coded, x: Tensor, context: Tensor | None = None) -> Loss:
        self.step += 1
        log_q, kl = _divergence(model, x, context)
        temperature = self.temperature(self.step)
        noise = -torch.empty_like(log_q).exponential_().log()
        shares = ((log_q + noise) / temperature).softmax(-1)
        value = kl - _told(model, model.soft_decoder(shares, context), x)
        terms = mean_terms(loss=value, reconstruction=value - kl, kl=kl, temperature=value.new_tensor(temperature))
        return Loss(value, terms)

    def held_out(self, model: Coded, x: Tensor, context: Tensor | None = None) -> Tensor:
        if offers(model, Enumerable):
            enumerable: Any = model
            return Enumerated()(enumerable, x, context).value
        kl = _divergence(model, x, context)[1]
        return kl - _told(model, model.decoder(model.encoder(x, context).sample(), context), x)


def _divergence(model: Coded, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """log q(z | x) of each level of each code, [N, codes, levels], and KL(q || p), the mean over the rows."""
    found = []
    for name, part in (("encoder", model.encoder(x, context)), ("prior", model.prior(context))):
        if not hasattr(part, "log_probs"):
            raise TypeError(
                f"{name_of(model)}: its {name} is no product of independent codes, which Relaxed reads; take "
                "Enumerated where codes are few, or a Categorical in that slot"
            )
        found.append(part.log_probs)
    log_q, log_p = found
    return log_q, (log_q.exp() * (log_q - log_p)).sum((-2, -1)).mean()


def _told(model: Coded, decoded: Any, x: Tensor) -> Tensor:
    return by_row(decoded.log_prob(x), (len(x),), model, "the decoder's log_prob").mean()
