"""Visible units that are bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.visible_units import Couplings, VisibleUnits, bits


@dataclass(frozen=True)
class Bits(Couplings):
    """-E(x, h) = x W h + b x + c h, for x of zeros and ones."""

    def shown(self, x: Tensor) -> Tensor:
        return x.to(self.weights.dtype)

    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        return bits(field.sigmoid())

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        return field.sigmoid()

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        return F.softplus(field).sum(1)

    def smaller(self) -> Bits:
        return self if len(self.hidden_bias) < len(self.visible_bias) else self.turned()

    def turned(self) -> Bits:
        """The same machine with its layers exchanged."""
        return Bits(self.weights.t(), self.hidden_bias, self.visible_bias)


class BernoulliUnits(VisibleUnits):
    """Bits: p(x_i = 1 | h) = sigmoid(b_i + W_i h)."""

    support = constraints.boolean

    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Bits:
        return Bits(weights, visible_bias, hidden_bias)

    def resting(self) -> Tensor:
        return torch.full((self.features,), 0.5)

    def means(self, x: Tensor) -> Tensor:
        """As if one more zero and one more one had been seen."""
        return (x.sum(0) + 1) / (len(x) + 2)

    def bias(self, mean: Tensor) -> Tensor:
        return mean.logit()

    def contrast(
        self, parameters: tuple[Tensor, Tensor, Tensor], x: Tensor, chains: Tensor, steps: int
    ) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
        """The same in fewer operations: a step of a small machine costs what its operations cost to call."""
        weights, visible_bias, hidden_bias = parameters
        n = x.shape[0]
        with torch.set_grad_enabled(False):  # half of no_grad's time
            rows = torch.cat((x, chains))
            signs = self.signs(n, chains.shape[0], weights)
            logits = torch.addmm(hidden_bias, rows, weights)
            hidden = logits.sigmoid()
            p = hidden[n:]
            for sweep in range(steps):  # the first sweep's hidden units are those of the gradient
                if sweep:
                    p = torch.addmm(hidden_bias, chains, weights).sigmoid_()
                h = bits(p)
                chains = bits(torch.addmm(visible_bias, h, weights.t()).sigmoid_())
            hidden.mul_(signs[:, None])
            columns = rows.t()
            gradients = [torch.mm(columns, hidden), torch.mv(columns, signs), hidden.sum(0)]

        def gap() -> Tensor:
            return torch.dot(hidden.view(-1), logits.view(-1)) + torch.dot(gradients[1], visible_bias.detach())

        return gap, gradients, chains
