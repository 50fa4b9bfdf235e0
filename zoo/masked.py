"""A network whose masks keep the order of a row: what it puts out for number i depends on the numbers before i."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Choose = Callable[[int, Tensor], Tensor]
"""(i, what the network puts out for number i [rows, outputs]) -> number i as the network reads it [rows, inputs]."""


class MaskedLinear(nn.Linear):
    """A linear layer whose weight is zero where its mask is, whatever an optimiser or a state dict put there."""

    mask: Tensor

    def __init__(self, mask: Tensor, *, bias: bool = True) -> None:
        super().__init__(mask.shape[1], mask.shape[0], bias=bias)
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    @property
    def masked(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked, self.bias)


class MaskedNetwork(nn.Module):
    """A masked perceptron, [..., size * inputs] to [..., size, outputs].

    A hidden unit of degree m reads numbers 1..m and units of degree m or less; number i is put out from units
    below i, and from numbers below i straight (if so wanted). Degrees rise along each layer, so that `unroll` can
    choose the numbers one by one and compute every unit once, when its degree comes: as much arithmetic as one pass.

    Parameters:
        size: how many numbers a row holds.
        inputs, outputs: how many values the network reads and puts out for each.
        hidden: widths of the hidden layers.
        context: how many values of context every unit may read; 0 for none.
        straight: have connections past the hidden layers too, from each number to those after it.
        dropout: which part of the hidden units is dropped at random in training; `unroll` drops none.

    References:
        MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509
    """

    def __init__(
        self,
        size: int,
        *,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        context: int = 0,
        straight: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.size, self.inputs, self.outputs = size, inputs, outputs
        read = torch.arange(1, size + 1).repeat_interleave(inputs)
        put_out = torch.arange(1, size + 1).repeat_interleave(outputs)
        # Units of degree 0 carry the context to the first number; without one they would be constants.
        lowest = 0 if context or size == 1 else 1
        degrees = [torch.linspace(lowest, size - 1, width).round().long() for width in hidden]
        self.layers = nn.ModuleList(MaskedLinear(b[:, None] >= a) for a, b in pairwise([read, *degrees]))
        self.last = MaskedLinear(put_out[:, None] > degrees[-1])
        self.straight = MaskedLinear(put_out[:, None] > read, bias=False) if straight and size > 1 else None
        if self.straight is not None:
            nn.init.zeros_(self.straight.weight)
        self.context_layer = nn.Linear(context, hidden[0], bias=False) if context else None
        self.dropout = nn.Dropout(dropout)
        ticks = torch.arange(size + 1)
        self.starts = [torch.searchsorted(degree, ticks).tolist() for degree in degrees]

    @property
    def _hidden(self) -> list[MaskedLinear]:
        return cast(list[MaskedLinear], list(self.layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        first, *others = self._hidden
        h = first(x)
        if self.context_layer is not None:
            h = h + self.context_layer(context)
        for layer in others:
            h = layer(self.dropout(h.relu()))
        out = self.last(self.dropout(h.relu()))
        if self.straight is not None:
            out = out + self.straight(x)
        return out.unflatten(-1, (self.size, self.outputs))

    def unroll(self, choose: Choose, rows: int, context: Tensor | None = None) -> None:
        """Ask `choose` for each number in turn, given what the network puts out for it; gradients flow."""
        # Columns are rows of the data: what a step reads is then one contiguous block.
        layers = [(layer.masked, layer.bias[:, None]) for layer in self._hidden]
        last, bias = self.last.masked, self.last.bias[:, None]
        straight = None if self.straight is None else self.straight.masked
        shift = None if self.context_layer is None else self.context_layer(context).t()
        x = last.new_empty(self.size * self.inputs if _in_place() else 0, rows)
        units = [last.new_empty(weight.shape[0] if _in_place() else 0, rows) for weight, _ in layers]
        for i in range(self.size):
            self._reach(i, x, units, layers, shift)
            block = slice(i * self.outputs, (i + 1) * self.outputs)
            known, below = i * self.inputs, self._stop(-1, i)
            out = torch.addmm(bias[block], last[block, :below], units[-1][:below])
            if straight is not None and known:
                out = torch.addmm(out, straight[block, :known], x[:known])
            chosen = choose(i, out.t()).t()
            if i + 1 < self.size:
                x = _extended(x, known, chosen)

    def _stop(self, layer: int, degree: int) -> int:
        """Where, in a layer, the units above this degree begin."""
        return self.starts[layer][degree + 1]

    def _reach(
        self,
        degree: int,
        x: Tensor,
        units: list[Tensor],
        layers: list[tuple[Tensor, Tensor]],
        shift: Tensor | None,
    ) -> None:
        """Compute the units of one degree in every layer, from the numbers and units that are known."""
        below, known = x, degree * self.inputs
        for i, (weight, bias) in enumerate(layers):
            start, stop = self.starts[i][degree], self._stop(i, degree)
            if stop > start:
                offset = bias[start:stop] if i or shift is None else bias[start:stop] + shift[start:stop]
                if _in_place():
                    torch.addmm(offset, weight[start:stop, :known], below[:known], out=units[i][start:stop]).relu_()
                else:
                    fresh = torch.addmm(offset, weight[start:stop, :known], below[:known]).relu()
                    units[i] = torch.cat([units[i], fresh])
            below, known = units[i], stop


def _in_place() -> bool:
    return not torch.is_grad_enabled()


def _extended(values: Tensor, start: int, fresh: Tensor) -> Tensor:
    """The values with fresh ones from `start` on; written in place where no gradient is kept."""
    if not _in_place():
        return torch.cat([values, fresh])
    values[start : start + len(fresh)] = fresh
    return values
