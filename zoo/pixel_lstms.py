"""The two convolutional LSTMs of PixelRNN, each for a whole image at once and pixel by pixel.

A scan is over states [N, ways, hidden, positions], one after the other; its gates are put together from what is known
of the image, with biases, and the states before, without: where there is no image there is nothing, and states stay 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Steps(ABC):
    """A layer on its way over the pixels of an image; activations are [features, N]."""

    @abstractmethod
    def begin(self, row: int, above: Tensor) -> None:
        """A row of pixels begins; the row above it was, as read, [width, colours, N]."""

    @abstractmethod
    def at(self, column: int, features: Tensor) -> Tensor:
        """What the layer makes of the next pixel, given its features."""


class Layer(nn.Module, ABC):
    """An LSTM over an image, from the features of pixels to as many: of itself and of earlier pixels, no later one."""

    gates: int
    """How many values the gates of a pixel have, in all ways together."""

    def __init__(self, colours: int, hidden: int) -> None:
        """All layers are built of the same numbers, whether they use them or not."""
        super().__init__()
        self.colours, self.hidden = colours, hidden

    @abstractmethod
    def forward(self, features: Tensor, x: Tensor, shift: Tensor | None) -> Tensor:
        """Features and the image as read, [N, ..., H, W], and what the context adds to the gates."""

    @abstractmethod
    def walk(self, rows: int, width: int, shift: Tensor | None) -> Steps:
        """The same function, pixel by pixel."""


def cell(gates: Sequence[Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
    """The new state and memory of an LSTM from its gates (out, forget, in, new) and its memory."""
    out, forget, into, new = gates
    memory = forget.sigmoid() * memory + into.sigmoid() * new.tanh()
    return out.sigmoid() * memory.tanh(), memory


def scan(given: Sequence[Tensor], carried: Callable[[Tensor], Tensor], ways: int) -> Tensor:
    """States over gates, each [N, ways * 4 * hidden, positions]: [N, ways, hidden, steps, positions]."""
    state = memory = given[0].unflatten(1, (ways, 4, -1))[:, :, 0] * 0
    found = []
    for each in given:
        gates = (each + carried(state.flatten(1, 2))).unflatten(1, (ways, 4, -1))
        state, memory = cell(gates.unbind(2), memory)
        found.append(state)
    return torch.stack(found, -2)


class RowLayer(Layer):
    """Down the rows: a pixel's state is made of the states of the three above it, and of the features to its left."""

    def __init__(self, colours: int, hidden: int) -> None:
        super().__init__(colours, hidden)
        self.gates = 4 * hidden
        self.input = nn.Conv2d(hidden, self.gates, (1, 2))
        self.state = nn.Conv1d(hidden, self.gates, 3, padding=1, bias=False)
        self.out = nn.Conv2d(hidden, hidden, 1, bias=False)

    def forward(self, features: Tensor, x: Tensor, shift: Tensor | None) -> Tensor:
        given = self.input(F.pad(features, (1, 0)))
        if shift is not None:
            given = given + shift
        return self.out(scan(given.unbind(2), self.state, 1).squeeze(1))

    def walk(self, rows: int, width: int, shift: Tensor | None) -> Steps:
        return RowSteps(self, rows, width, shift)


class RowSteps(Steps):
    """States are kept for one row of pixels: those of the row above until the row at hand replaces them."""

    def __init__(self, layer: RowLayer, rows: int, width: int, shift: Tensor | None) -> None:
        new = layer.out.weight.new_zeros
        self.layer = layer
        self.weight = layer.input.weight.squeeze(2).transpose(1, 2).flatten(1)
        self.out = layer.out.weight.flatten(1)
        bias = cast(Tensor, layer.input.bias)[:, None]
        self.bias = bias if shift is None else bias + shift[:, :, 0, 0].t()
        self.states, self.memories = new(width, layer.hidden, rows), new(width, layer.hidden, rows)
        self.before = new(layer.hidden, rows)
        self.carried: Tensor = new(())

    def begin(self, row: int, above: Tensor) -> None:
        carried = self.layer.state(self.states.permute(2, 1, 0))
        self.carried = carried.permute(2, 1, 0) + self.bias
        self.before = torch.zeros_like(self.before)

    def at(self, column: int, features: Tensor) -> Tensor:
        gates = torch.addmm(self.carried[column], self.weight, torch.cat([self.before, features]))
        self.states[column], self.memories[column] = cell(gates.chunk(4), self.memories[column])
        self.before = features
        return self.out @ self.states[column]


class DiagonalLayer(Layer):
    """Along the diagonals, from the upper left and from the upper right; states of the pixel before and of that above.

    What comes from the right is passed on one row below, since at its own row it has seen later pixels. For the same
    reason it may read each pixel itself beside its features, which saw only those before: without that the last
    pixels of the row above would be seen by none but those near them.
    """

    def __init__(self, colours: int, hidden: int) -> None:
        super().__init__(colours, hidden)
        self.gates = 8 * hidden
        self.from_left = nn.Conv2d(hidden, 4 * hidden, 1)
        self.from_right = nn.Conv2d(hidden + colours, 4 * hidden, 1)
        self.state = nn.Conv1d(2 * hidden, self.gates, 2, padding=1, groups=2, bias=False)
        self.out = nn.Conv2d(hidden, hidden, 1, bias=False)

    def forward(self, features: Tensor, x: Tensor, shift: Tensor | None) -> Tensor:
        height, width = x.shape[-2:]
        left, right = self.from_left(features), self.from_right(torch.cat([features, x], 1))
        if shift is not None:
            left, right = left + shift[:, : self.gates // 2], right + shift[:, self.gates // 2 :]
        given = skewed(torch.cat([left, right.flip(-1)], 1))
        states = scan(given.unbind(-1), lambda state: self.state(state)[..., :height], 2)
        left, right = straightened(states.transpose(-1, -2), width).unbind(1)
        return self.out(left + F.pad(right.flip(-1), (0, 0, 1, -1)))

    def walk(self, rows: int, width: int, shift: Tensor | None) -> Steps:
        return DiagonalSteps(self, rows, width, shift)


def skewed(x: Tensor) -> Tensor:
    """[..., H, W] to [..., H, H + W - 1]: each row a column further to the right than the one above, zeros around."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, height)).flatten(-2)[..., : height * (height + width - 1)].unflatten(-1, (height, -1))


def straightened(x: Tensor, width: int) -> Tensor:
    """The opposite of `skewed`."""
    height = x.shape[-2]
    return F.pad(x.flatten(-2), (0, height)).unflatten(-1, (height, -1))[..., :width]


class DiagonalSteps(Steps):
    """The states of the row above are kept for both ways; from the right, a row runs once all of it is known."""

    def __init__(self, layer: DiagonalLayer, rows: int, width: int, shift: Tensor | None) -> None:
        new = layer.out.weight.new_zeros
        above, before = layer.state.weight.unflatten(0, (2, -1)).unbind(-1)
        ways = [layer.from_left, layer.from_right]
        shifts = [new(1)] * 2 if shift is None else [part.t() for part in shift[:, :, 0, 0].chunk(2, 1)]
        self.biases = [cast(Tensor, conv.bias)[:, None] + part for conv, part in zip(ways, shifts, strict=True)]
        self.weights = [
            torch.cat([conv.weight.flatten(1), above[i], before[i]], 1).contiguous() for i, conv in enumerate(ways)
        ]
        self.out = layer.out.weight.flatten(1)
        self.none = new(layer.hidden, rows)
        self.above = [[self.none] * width for _ in ways]
        self.features: list[Tensor] = []
        self.state = self.memory = self.none

    def begin(self, row: int, above: Tensor) -> None:
        if row:
            self._from_right(above)
        self.state = self.memory = self.none
        self.features = []

    def at(self, column: int, features: Tensor) -> Tensor:
        self.features.append(features)
        left, right = self.above
        self.state, self.memory = self._next(0, [features, left[column], self.state], self.memory)
        left[column] = self.state
        return self.out @ (self.state + right[column])

    def _from_right(self, x: Tensor) -> None:
        """The states of the row that is now known, from its right end."""
        right = self.above[1]
        state = memory = self.none
        for column in reversed(range(len(right))):
            read = [self.features[column], x[column], right[column], state]
            state, memory = self._next(1, read, memory)
            right[column] = state

    def _next(self, way: int, read: list[Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.addmm(self.biases[way], self.weights[way], torch.cat(read))
        return cell(gates.chunk(4), memory)
