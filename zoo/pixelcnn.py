"""PixelCNN: images pixel by pixel, from two stacks of convolutions that see only what comes before."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape
from zoo.pixels import Pixels


class PixelCNN(Pixels):
    """The gated PixelCNN, p(x | c) = prod_i p(x_i | x_1..x_(i-1), c), over pixels row by row and their colours.

    A vertical stack sees the rows above, a horizontal one the pixels to the left and what the vertical has found:
    together every earlier pixel, without the blind spot of one masked stack. Convolutions are cut to what they may
    see, so that no arithmetic goes into masked weights.

    Shapes: x is [N, colours, height, width]; context is [N, *context_shape], a bias in every layer. `log_prob` is in
    nats an image and costs one pass. `sample` keeps what it computed: the vertical stack runs once a row of pixels,
    the horizontal one for the new column only, which together is one pass more.

    Parameters:
        levels: how many values a number takes; 2 are bits (zeros and ones, as floats), more are codes 0..levels-1.
        mixture: so many logistic distributions for each number, as in PixelCNN++; None puts out a logit a level.
        hidden: features of each stack.
        layers: gated layers.
        kernel: side of the convolutions, odd.
        dropout: which part of the features is dropped at random in training.

    Reproducible: binarised digits (1,200 to train on, 147 to stop by, 450 held out), layers=3, dropout=0.25, seed 0,
    `fit` in batches of 64 for 700 steps with lr=5e-3 and a cosine schedule: 16.69 nats an image held out.

    References:
        Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016),
        https://arxiv.org/abs/1606.05328
        PixelCNN++ (Salimans et al., 2017), https://arxiv.org/abs/1701.05517
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        levels: int = 2,
        mixture: int | None = None,
        hidden: int = 32,
        layers: int = 5,
        kernel: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, levels=levels, mixture=mixture, hidden=hidden)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, not {layers}")
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number from 3, not {kernel}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        colours, height, width = self.event_shape
        self.layers = nn.ModuleList(GatedLayer(hidden if i else colours, hidden, kernel) for i in range(layers))
        self.places = nn.Parameter(torch.zeros(hidden, height, width))
        self.dropout = nn.Dropout(dropout)
        self.context_layer = nn.Linear(self.contexts, layers * 4 * hidden, bias=False) if self.contexts else None

    @property
    def gated(self) -> list[GatedLayer]:
        return cast("list[GatedLayer]", list(self.layers))

    def trunk(self, x: Tensor, context: Tensor | None) -> Tensor:
        # Of the image itself a pixel may see what ends one row above, or one column to the left; of the features
        # of the stacks, what ends with its own.
        above, left = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))
        found = self.places
        for layer, (vertical, horizontal) in zip(self.gated, self.shifts(context), strict=True):
            seen = _plus(layer.vertical(layer.framed(above)), vertical)
            fresh = _plus(layer.horizontal(F.pad(left, (layer.reach, 0))) + layer.link(seen), horizontal)
            above = self.dropout(gate(seen))
            left = found = found + layer.out(self.dropout(gate(fresh)))
        return found

    def shifts(self, context: Tensor | None) -> list[tuple[Tensor | None, Tensor | None]]:
        """What the context adds to both stacks in each layer, [N, 2 hidden, 1, 1]."""
        if self.context_layer is None or context is None:
            return [(None, None)] * len(self.layers)
        both = self.context_layer(context).unflatten(-1, (len(self.layers), 2, -1, 1, 1))
        return [(both[:, i, 0], both[:, i, 1]) for i in range(len(self.layers))]

    def walk(self, rows: int, context: Tensor | None) -> PixelCNNWalk:
        return PixelCNNWalk(self, rows, context)


class GatedLayer(nn.Module):
    """One layer of both stacks: the convolution of each, the link from one to the other, the way out."""

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.vertical = nn.Conv2d(inputs, 2 * hidden, (self.reach + 1, kernel))
        self.link = nn.Conv2d(2 * hidden, 2 * hidden, 1, bias=False)
        self.horizontal = nn.Conv2d(inputs, 2 * hidden, (1, self.reach + 1))
        self.out = nn.Conv2d(hidden, hidden, 1, bias=False)

    def framed(self, above: Tensor) -> Tensor:
        """With the zeros around it that the vertical convolution reads."""
        return F.pad(above, (self.reach, self.reach, self.reach, 0))


def gate(x: Tensor) -> Tensor:
    values, gates = x.chunk(2, 1)
    return values.tanh() * gates.sigmoid()


def _plus(x: Tensor, shift: Tensor | None) -> Tensor:
    return x if shift is None else x + shift


class PixelCNNWalk:
    """A PixelCNN over so many images at once, pixel by pixel.

    The inputs of the vertical stack are kept as images in their frames; those of the horizontal stack, for the row
    at hand, as [columns * inputs, N], where what a column reads is one block.
    """

    def __init__(self, model: PixelCNN, rows: int, context: Tensor | None) -> None:
        self.model, (colours, height, width) = model, model.event_shape
        self.shifts = model.shifts(context)
        reach, new = model.gated[0].reach, model.places.new_zeros
        inputs = [layer.horizontal.in_channels for layer in model.gated]
        self.above = [new(rows, size, height + reach, width + 2 * reach) for size in inputs]
        self.left = [new((width + 1 + reach) * size, rows) for size in inputs]
        self.weights = [layer.horizontal.weight.squeeze(2).transpose(1, 2).flatten(1) for layer in model.gated]
        self.outs = [layer.out.weight.flatten(1) for layer in model.gated]
        self.places = model.places.permute(1, 2, 0).unsqueeze(-1)
        self.told = new(rows, colours, height, width)
        self.offsets: list[Tensor] = []

    def features(self, row: int, column: int) -> Tensor:
        if column == 0:
            self.offsets = self._row(row)
        found = self.places[row, column]
        for i, (weight, out) in enumerate(zip(self.weights, self.outs, strict=True)):
            size = weight.shape[1] // (self.model.gated[0].reach + 1)
            read = self.left[i][column * size : column * size + weight.shape[1]]
            fresh = torch.addmm(self.offsets[i][column], weight, read)
            half = len(fresh) // 2
            found = torch.addmm(found, out, fresh[:half].tanh_().mul_(fresh[half:].sigmoid_()))
            if i + 1 < len(self.left):
                self._keep(i + 1, column, found)
        return found

    def tell(self, row: int, column: int, x: Tensor) -> None:
        self.told[:, :, row, column] = x.t()
        if column + 1 < self.told.shape[-1]:
            self._keep(0, column + 1, x)

    def _keep(self, layer: int, column: int, values: Tensor) -> None:
        """Write the inputs of one column into the row at hand."""
        start = (column + self.model.gated[0].reach) * len(values)
        self.left[layer][start : start + len(values)] = values

    def _row(self, row: int) -> list[Tensor]:
        """The vertical stack for one row of pixels: what each layer of the other adds to it, [W, 2 hidden, N]."""
        found = []
        reach = self.model.gated[0].reach
        width = self.told.shape[-1]
        fresh = self.told[:, :, row - 1] if row else torch.zeros_like(self.told[:, :, 0])
        for layer, kept, (vertical, horizontal) in zip(self.model.gated, self.above, self.shifts, strict=True):
            bias = cast(Tensor, layer.horizontal.bias)
            kept[:, :, row + reach, reach : reach + width] = fresh
            seen = _plus(layer.vertical(kept[:, :, row : row + reach + 1]), vertical)
            offset = _plus(layer.link(seen) + bias[:, None, None], horizontal)
            found.append(offset.squeeze(2).permute(2, 1, 0).contiguous())
            fresh = gate(seen).squeeze(2)
        return found
