"""A network whose masks keep the order of a row: what it puts out for number i depends on the numbers before i."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Choose = Callable[[int, Tensor], Tensor]
"""(i, what the network puts out for number i [outputs, rows]) -> number i as the network reads it [inputs, rows]."""

Pieces = tuple[Sequence[Tensor], Sequence[Tensor]]
"""A layer's weights and biases, cut by the degree of the unit or by the number that they are for."""


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

    in_turn: Tensor

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
        self.sizes = [degree.bincount(minlength=size).tolist() for degree in degrees]
        self.stops = [list(accumulate(sizes)) for sizes in self.sizes]
        # columns of a straight and a last layer side by side: number i - 1, then the units of degree i
        turns = torch.cat([torch.arange(1, size + 1).repeat_interleave(inputs) - 0.5, degrees[-1]])
        in_turn = turns.sort(stable=True).indices[: (size - 1) * inputs + len(degrees[-1])]
        self.register_buffer("in_turn", in_turn, persistent=False)

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
        hidden = []
        for i, layer in enumerate(self._hidden):
            bias = layer.bias[:, None]
            if i == 0 and self.context_layer is not None:
                bias = bias + self.context_layer(context).t()
            hidden.append((layer.masked.split(self.sizes[i]), bias.split(self.sizes[i])))
        (self._grow if torch.is_grad_enabled() else self._fill)(choose, rows, hidden)

    def _grow(self, choose: Choose, rows: int, hidden: list[Pieces]) -> None:
        """Number by number, every tensor a new one, through which gradients flow."""
        x = self.last.bias.new_empty(0, rows)
        units = [x for _ in hidden]
        last, bias = self.last.masked.split(self.outputs), self.last.bias[:, None].split(self.outputs)
        straight = None if self.straight is None else self.straight.masked.split(self.outputs)
        for i in range(self.size):
            below = x
            for k, (weights, biases) in enumerate(hidden):
                fresh = torch.addmm(biases[i], weights[i][:, : len(below)], below).relu()
                units[k] = below = torch.cat([units[k], fresh])
            out = torch.addmm(bias[i], last[i][:, : len(below)], below)
            if straight is not None:
                out = torch.addmm(out, straight[i][:, : len(x)], x)
            x = torch.cat([x, choose(i, out)])

    def _fill(self, choose: Choose, rows: int, hidden: list[Pieces]) -> None:
        """The same in place: each unit and number, once known, is added to all that is put out from there on.

        Views of tensors cost as much as the arithmetic, so most are made at once, before the first number.
        """
        x = self.last.bias.new_empty(self.size * self.inputs, rows)
        units = [x.new_empty(sum(sizes), rows) for sizes in self.sizes[:-1]]
        fresh: list[Sequence[Tensor]] = [u.split(sizes) for u, sizes in zip(units, self.sizes, strict=False)]
        # what the last layer reads: at each number i the number before it, if read straight, and the units of degree i
        weight, befores, tops = self._last_in_turn()
        widths = [before + top for before, top in zip(befores, tops, strict=True)]
        read = x.new_empty(sum(widths), rows)
        pieces = read.split([n for pair in zip(befores, tops, strict=True) for n in pair])
        blocks, weights, befores_read = read.split(widths), weight.split(widths, 1), pieces[::2]
        fresh.append(pieces[1::2])
        numbers, sums = x.split(self.inputs), self.last.bias[:, None].expand(-1, rows).clone()
        out = sums.split(self.outputs)
        for i in range(self.size):
            known, below = i * self.inputs, x.narrow(0, 0, i * self.inputs)
            for k, (layer, biases) in enumerate(hidden):
                if self.sizes[k][i]:
                    torch.addmm(biases[i], layer[i].narrow(1, 0, known), below, out=fresh[k][i]).relu_()
                if k < len(units):
                    known = self.stops[k][i]
                    below = units[k].narrow(0, 0, known)
            if widths[i]:
                start = i * self.outputs
                length = len(sums) - start
                sums.narrow(0, start, length).addmm_(weights[i].narrow(0, start, length), blocks[i])
            chosen = choose(i, out[i])
            if i + 1 < self.size:
                numbers[i].copy_(chosen)
                if befores[i + 1]:
                    befores_read[i + 1].copy_(chosen)

    def _last_in_turn(self) -> tuple[Tensor, list[int], list[int]]:
        """The weights of all that is put out, by what comes to be known, and how much that is for each number."""
        tops = self.sizes[-1]
        if self.straight is None:
            return self.last.masked, [0] * self.size, tops
        befores = [0, *[self.inputs] * (self.size - 1)]
        return torch.cat([self.straight.masked, self.last.masked], 1)[:, self.in_turn], befores, tops
