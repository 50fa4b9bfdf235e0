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


ALIGNED = 16
"""Numbers of 64 bytes, at which rows begin."""


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
        hidden, field, p = desk.hidden, desk.field, desk.p
        desk.x.copy_(x)
        desk.chains.copy_(chains)
        torch.addmm(hidden_bias, desk.rows, weights, out=hidden).sigmoid_()
        for sweep in range(steps):  # the first sweep's hidden units are those of the gradient
            if sweep:
                p = torch.addmm(hidden_bias, chains, weights).sigmoid_()
            desk.noise.uniform_()
            torch.addmm(visible_bias, desk.for_hidden.lt_(p), desk.turned, out=field).sigmoid_()
            chains = torch.empty_like(field)
            torch.lt(desk.for_visible, field, out=chains)
        hidden.mul_(desk.column)
        torch.mm(desk.columns, hidden, out=desk.products)
        gradients = [desk.by_weights, torch.mv(desk.visible, desk.signs), desk.by_hidden]

        def gap() -> Tensor:
            return torch.stack([(g * p).sum() for g, p in zip(gradients, desk.parameters, strict=True)]).sum()

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

    With a column of ones beside the rows one product gives two gradients, which the next contrast writes over. Each is
    contiguous, as fused optimisers ask. The parameters are there without their gradients: no operation need be told to
    leave autograd alone.
    """

    def __init__(self, parameters: tuple[Tensor, Tensor, Tensor], rows: int, chains: int) -> None:
        self.parameters = tuple(tensor.detach() for tensor in parameters)
        weights = self.parameters[0]
        features, units = weights.shape
        with_ones = weights.new_ones(rows + chains, -(-(features + 1) // ALIGNED) * ALIGNED)
        self.columns, self.rows = with_ones[:, : features + 1].t(), with_ones[:, :features]
        self.visible, self.x, self.chains = self.rows.t(), self.rows[:rows], self.rows[rows:]
        self.signs = signs(rows, chains, weights)
        self.hidden, self.column = weights.new_empty(rows + chains, units), self.signs[:, None]
        self.p, self.turned = self.hidden[rows:], weights.t()
        self.field = weights.new_empty(chains, features)
        self.noise = weights.new_empty(chains * (units + features))
        self.for_hidden = self.noise[: chains * units].view(chains, units)
        self.for_visible = self.noise[chains * units :].view(chains, features)
        self.products = weights.new_empty(features + 1, units)
        self.by_weights, self.by_hidden = self.products[:features], self.products[features]
