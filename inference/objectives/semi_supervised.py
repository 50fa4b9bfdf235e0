"""The evidence lower bound of rows some of which have a class, and the others every one."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.objectives.base import Loss, Objective, mean_terms
from inference.objectives.elbo import Divergence, closed_form, draw
from inference.protocols import Classed, by_row


class SemiSupervised(Objective):
    """Minus the bound of log p(x, y) where y is known, and of log p(x) where it is summed out; nats a row, the mean.

    With L(x, y) = E_q(z | x, y) [log p(x | y, z)] - KL(q(z | x, y) || p(z)) + log p(y) at a draw of z for each class,

        with a class:     L(x, y) + alpha log q(y | x)
        without:          sum_y q(y | x) [L(x, y) - log q(y | x)]

    The bounds alone teach q(y | x) nothing from rows with a class, which is what alpha is for. Terms: "loss" is the
    sum of "bound" and "classification".

    Parameters:
        alpha: what log q(y | x) counts of each row with a class.
        kl: `closed_form` or `sampled`, as for `Elbo`.

    References:
        Semi-Supervised Learning with Deep Generative Models (Kingma et al., 2014), https://arxiv.org/abs/1406.5298
    """

    asks = Classed

    def __init__(self, alpha: float = 1.0, kl: Divergence = closed_form) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha must not be negative, but is {alpha}")
        self.alpha, self.kl = alpha, kl

    def forward(self, model: Classed, x: Tensor, context: Tensor | None = None) -> Loss:
        y = torch.full((len(x),), -1, device=x.device) if context is None else context.long()
        told, other = y >= 0, y < 0
        every = torch.arange(model.classes, device=x.device).repeat_interleave(int(other.sum()))
        rows = torch.cat([x[told], x[other].repeat(model.classes, *[1] * (x.dim() - 1))])
        found = self._bound(model, rows, torch.cat([y[told], every]))
        log_q = model.classifier(x).logits
        q = log_q[other].exp()
        summed = (q * (found[told.sum() :].view(model.classes, -1).mT - log_q[other])).sum()
        bound = -(found[: told.sum()].sum() + summed) / len(x)
        right = log_q[told].gather(1, y[told, None]).sum()
        classification = -self.alpha * right / len(x)
        value = bound + classification
        return Loss(value, mean_terms(loss=value, bound=bound, classification=classification))

    def _bound(self, model: Classed, x: Tensor, y: Tensor) -> Tensor:
        """L(x, y) of each row at a draw of z."""
        q, p = model.encoder(x, y), model.prior(y)
        z, log_q = draw(q, 1)
        kl = by_row(self.kl(q, p, z, log_q), (len(x),), model, "the divergence of encoder and prior")
        log_prob = by_row(model.decoder(z, y).log_prob(x), (len(x),), model, "the decoder's log_prob")
        return log_prob - kl + model.class_prior().logits[y]
