"""PixelRNN: images pixel by pixel, from LSTMs that run down the rows or along the diagonals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape
from zoo.pixel_lstms import DiagonalLayer, Layer, RowLayer
from zoo.pixels import Pixels
from zoo.registry import near

KINDS: Mapping[str, type[Layer]] = {"row": RowLayer, "diagonal": DiagonalLayer}


class PixelRNN(Pixels):
    """PixelRNN, p(x | c) = prod_i p(x_i | x_1..x_(i-1), c), over pixels row by row and their colours.

    The Row LSTM runs down the image, all pixels of a row at once; it sees a triangle above each pixel, which widens
    by a column a row to the right. The Diagonal BiLSTM runs along the diagonals from both upper corners and sees
    every earlier pixel.

    Shapes: x is [N, colours, height, width]; context is [N, *context_shape], a bias in every layer. `log_prob` is in
    nats an image and costs one pass. `sample` keeps the states of the row above and of the pixels to the left, and
    computes each once, which together is one pass more.

    Parameters:
        kind: "row" or "diagonal".
        levels: how many values a number takes; 2 are bits (zeros and ones, as floats), more are codes 0..levels-1.
        mixture: so many logistic distributions for each number, as in PixelCNN++; None puts out a logit a level.
        hidden: features of a pixel, and units of each LSTM.
        layers: LSTM layers, each added to what is below it.
        kernel: side of the convolution before them, odd.

    References:
        Pixel Recurrent Neural Networks (van den Oord et al., 2016), https://arxiv.org/abs/1601.06759
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        kind: Literal["row", "diagonal"] = "diagonal",
        levels: int = 2,
        mixture: int | None = None,
        hidden: int = 32,
        layers: int = 2,
        kernel: int = 7,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, levels=levels, mixture=mixture, hidden=hidden)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}{near(kind, KINDS)}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, not {layers}")
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number from 3, not {kernel}")
        colours, self.reach = self.event_shape[0], kernel // 2
        self.above = nn.Conv2d(colours, hidden, (self.reach, kernel))
        self.left = nn.Conv2d(colours, hidden, (1, self.reach), bias=False)
        self.layers = nn.ModuleList(KINDS[kind](colours, hidden) for _ in range(layers))
        gates = self.lstms[0].gates
        self.context_layer = nn.Linear(self.contexts, layers * gates, bias=False) if self.contexts else None

    @property
    def lstms(self) -> list[Layer]:
        return cast("list[Layer]", list(self.layers))

    def trunk(self, x: Tensor, context: Tensor | None) -> Tensor:
        reach = self.reach
        found = self.above(F.pad(x, (reach, reach, reach, -1))) + self.left(F.pad(x, (reach, -1)))
        for layer, shift in zip(self.lstms, self.shifts(context), strict=True):
            found = found + layer(found, x, shift)
        return found

    def shifts(self, context: Tensor | None) -> list[Tensor | None]:
        """What the context adds to the gates of each layer, [N, gates, 1, 1]."""
        if self.context_layer is None or context is None:
            return [None] * len(self.layers)
        return list(self.context_layer(context).unflatten(-1, (len(self.layers), -1, 1, 1)).unbind(1))

    def walk(self, rows: int, context: Tensor | None) -> PixelRNNWalk:
        return PixelRNNWalk(self, rows, context)


class PixelRNNWalk:
    """A PixelRNN over so many images at once, pixel by pixel; activations are [features, N]."""

    def __init__(self, model: PixelRNN, rows: int, context: Tensor | None) -> None:
        colours, height, width = model.event_shape
        reach, new = model.reach, model.above.weight.new_zeros
        self.model = model
        self.steps = [
            layer.walk(rows, width, shift) for layer, shift in zip(model.lstms, model.shifts(context), strict=True)
        ]
        self.told = new(rows, colours, height + reach, width + 2 * reach)
        self.weight = model.left.weight.flatten(1)
        self.offset: Tensor = new(())

    def features(self, row: int, column: int) -> Tensor:
        reach = self.model.reach
        if column == 0:
            seen = self.model.above(self.told[:, :, row : row + reach])
            self.offset = seen.squeeze(2).permute(2, 1, 0).contiguous()
            # The row above in the frame of `told`; of the first row it is the frame itself, and is read by no layer.
            above = self.told[:, :, row + reach - 1, reach : self.told.shape[-1] - reach].permute(2, 1, 0)
            for step in self.steps:
                step.begin(row, above)
        read = self.told[:, :, row + reach, column : column + reach].flatten(1).t()
        found = torch.addmm(self.offset[column], self.weight, read)
        for step in self.steps:
            found = found + step.at(column, found)
        return found

    def tell(self, row: int, column: int, x: Tensor) -> None:
        self.told[:, :, row + self.model.reach, column + self.model.reach] = x.t()
