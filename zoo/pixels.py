"""What models of images share that go pixel by pixel: the order, the colours of a pixel, the loop over pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from zoo.autoregressive import Autoregressive, Choose
from zoo.base import Shape
from zoo.logistics import output_for
from zoo.masked import MaskedLinear
from zoo.networks import flat


class Walk(Protocol):
    """A network on its way over the pixels of an image, row by row, with all that it computed before."""

    def features(self, row: int, column: int) -> Tensor:
        """What the pixels before this one say about it, [hidden, rows of the data]."""
        ...

    def tell(self, row: int, column: int, x: Tensor) -> None:
        """The colours of this pixel, [colours, rows of the data], now that they are known."""
        ...


class PixelHead(nn.Module):
    """From the features of a pixel, and those of its colours that come before, to the values of each colour.

    Parameters:
        inputs: how many features a pixel has.
        hidden: width of the hidden layer, for each colour.
        colours: how many numbers a pixel holds.
        outputs: how many values to put out for each.
    """

    def __init__(self, inputs: int, hidden: int, colours: int, outputs: int) -> None:
        super().__init__()
        self.colours, self.hidden = colours, hidden
        self.first = nn.Linear(inputs, colours * hidden)
        self.last = nn.Linear(hidden, outputs)
        colour = torch.arange(colours)
        earlier = colour.repeat_interleave(hidden)[:, None] > colour
        self.earlier = MaskedLinear(earlier, bias=False) if colours > 1 else None

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """[N, inputs, H, W] and the image as read [N, colours, H, W] to [N, H, W, colours, outputs]."""
        h = self.first(features.permute(0, 2, 3, 1).relu())
        if self.earlier is not None:
            h = h + self.earlier(x.permute(0, 2, 3, 1))
        return self.last(h.relu().unflatten(-1, (self.colours, self.hidden)))

    def unroll(self, choose: Callable[[int, Tensor], Tensor], features: Tensor) -> None:
        """Ask `choose` for each colour of one pixel as the network reads it, [N], given its values [N, outputs]."""
        h = torch.addmm(self.first.bias[:, None], self.first.weight, features.relu())
        for i in range(self.colours):
            own = h[i * self.hidden : (i + 1) * self.hidden]
            value = choose(i, torch.addmm(self.last.bias[:, None], self.last.weight, own.relu()).t())
            if self.earlier is not None:
                h = torch.addmm(h, self.earlier.masked[:, i : i + 1], value[None])


class Pixels(Autoregressive):
    """Images as rows of pixels from the top, each given all before it: x is [N, colours, height, width].

    A family gives `trunk` and `walk`: the features of all pixels at once, and of one after the other. The numbers
    of an image are in the order of its pixels, the colours of a pixel together; `order` says where each lies in x.
    """

    order: Tensor

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None, levels: int, mixture: int | None, hidden: int
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, levels=levels)
        name = type(self).__name__
        if len(self.event_shape) != 3:
            raise ValueError(
                f"{name} models images, event_shape [colours, height, width], not {list(self.event_shape)}"
            )
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        self.output = output_for(levels, mixture)
        self.head = PixelHead(hidden, hidden, self.event_shape[0], self.output.size)
        order = torch.arange(self.features).view(self.event_shape).permute(1, 2, 0).flatten()
        self.register_buffer("order", order, persistent=False)

    @abstractmethod
    def trunk(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The features of every pixel, [N, hidden, H, W], from the image as read and the flat context."""

    @abstractmethod
    def walk(self, rows: int, context: Tensor | None) -> Walk:
        """The same function, pixel by pixel."""

    @property
    def contexts(self) -> int:
        """How many numbers a row of the context holds."""
        return 0 if self.context_shape is None else self.context_shape.numel()

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        read = self._read(x)
        values = self.head(self.trunk(read, self._given(context)), read)
        return self.output.log_prob(values, x.permute(0, 2, 3, 1)).flatten(1)

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        colours, height, width = self.event_shape
        told = 0 if known is None else known.shape[1]
        codes = torch.empty(self.features, rows, dtype=torch.long, device=self.device)
        if known is not None:
            codes[:told] = known.t()
        walk = self.walk(rows, self._given(context))
        for start in range(0, self.features, colours):

            def next_colour(i: int, values: Tensor, start: int = start) -> Tensor:
                if start + i >= told:
                    codes[start + i] = choose(start + i, self.output.logits(values))
                return self._read(codes[start + i])

            row, column = divmod(start // colours, width)
            features = walk.features(row, column)
            if start + colours > told:
                self.head.unroll(next_colour, features)
            walk.tell(row, column, self._read(codes[start : start + colours]))
        return codes.view(height, width, colours, rows).permute(3, 2, 0, 1).contiguous()

    def _read(self, codes: Tensor) -> Tensor:
        """Levels on [-1, 1]: a pixel beyond the border, which is read as zero, is then none of two levels."""
        return codes.to(self.dtype) * (2 / (self.levels - 1)) - 1

    def _given(self, context: Tensor | None) -> Tensor | None:
        return None if context is None or self.context_shape is None else flat(context, self.context_shape)
