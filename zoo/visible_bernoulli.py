"""Visible units that are bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.visible_units import Couplings, VisibleUnits, bits, signs


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
        desk = self._desk(parameters, x.size(0), chains.size(0))
        weights, visible_bias, hidden_bias = desk.parameters
        hidden, columns, field, p = desk.hidden, desk.columns, desk.field, desk.p
        torch.cat((x, chains), out=desk.rows)
        torch.addmm(hidden_bias, desk.rows, weights, out=hidden).sigmoid_()
        for sweep in range(steps):  # the first sweep's hidden units are those of the gradient
            if sweep:
                p = torch.addmm(hidden_bias, chains, weights).sigmoid_()
            torch.addmm(visible_bias, desk.bits.uniform_().lt_(p), desk.turned, out=field).sigmoid_()
            chains = torch.rand_like(field).lt_(field)
        hidden.mul_(desk.column)
        gradients = [torch.mm(columns, hidden), torch.mv(columns, desk.signs), hidden.sum(0)]

        def gap() -> Tensor:
            by_weights, by_visible, by_hidden = gradients
            total = torch.dot(by_weights.view(-1), weights.reshape(-1)) + torch.dot(by_visible, visible_bias)
            return total + torch.dot(by_hidden, hidden_bias)

        return gap, gradients, chains

    def _desk(self, parameters: tuple[Tensor, Tensor, Tensor], rows: int, chains: int) -> _Desk:
        """Kept from step to step, while the parameters stay where they are."""
        weights, visible_bias, hidden_bias = parameters
        key = rows, chains, weights.data_ptr(), visible_bias.data_ptr(), hidden_bias.data_ptr()
        desk = self._kept.get(key)
        if desk is None:
            if len(self._kept) == 2:  # whole batches and an epoch's last
                self._kept.clear()
            desk = self._kept[key] = _Desk(parameters, rows, chains)
        return desk


class _Desk:
    """What a contrast of so many rows and chains writes on, and views that cost as much to make as to use.

    The parameters are there without their gradients: no operation need be told to leave autograd alone.
    """

    def __init__(self, parameters: tuple[Tensor, Tensor, Tensor], rows: int, chains: int) -> None:
        self.parameters = tuple(tensor.detach() for tensor in parameters)
        weights = self.parameters[0]
        features, units = weights.shape
        self.rows, self.signs = weights.new_empty(rows + chains, features), signs(rows, chains, weights)
        self.hidden, self.bits = weights.new_empty(rows + chains, units), weights.new_empty(chains, units)
        self.field = weights.new_empty(chains, features)
        self.p, self.columns, self.turned = self.hidden[rows:], self.rows.t(), weights.t()
        self.column = self.signs[:, None]
