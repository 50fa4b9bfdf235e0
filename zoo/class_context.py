"""Conditioners that are one linear map: of a class, or of a context's numbers. A critic's projection reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.told import Conditioner, Told, known


class LinearContext(Conditioner):
    """Any context of numbers by one matrix, V y: with a one-hot class, a learned vector a class.

    Shapes: context is [N, *context_shape]; told is a vector [N, width].
    """

    def __init__(self, context_shape: torch.Size, *, event_shape: torch.Size, width: int) -> None:
        super().__init__()
        self.network = nn.Linear(context_shape.numel(), width, bias=False)
        self.not_told = nn.Parameter(torch.zeros(width))

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        told = None if context is None else self.network(context.reshape(rows, -1).to(self.not_told.dtype))
        return Told(vector=known(told, self.not_told, given, rows))


class ClassContext(Conditioner):
    """A class, a code 0..levels-1, as a vector learned for each.

    Shapes: context is [N] or [N, 1]; told is a vector [N, width].

    Parameters:
        levels: how many classes there are.
    """

    def __init__(self, context_shape: torch.Size, *, event_shape: torch.Size, width: int, levels: int) -> None:
        super().__init__()
        if context_shape.numel() != 1:
            raise ValueError(f"a context of kind 'classes' is one code a row, of shape [], not {list(context_shape)}")
        if levels < 1:
            raise ValueError(f"levels, how many classes there are, must be at least 1, not {levels}")
        self.levels, self.network = levels, nn.Embedding(levels, width)
        self.not_told = nn.Parameter(torch.zeros(width))

    def read(self, context: Tensor) -> Tensor:
        codes = context.reshape(-1).long()
        wrong = (codes != context.reshape(-1)) | (codes < 0) | (codes >= self.levels)
        if wrong.any():
            row = int(wrong.int().argmax())
            found = context.reshape(-1)[row].item()
            raise ValueError(f"row {row} of the context is {found}, but a class is a code 0 to {self.levels - 1}")
        return self.network(codes)

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        return Told(vector=known(None if context is None else self.read(context), self.not_told, given, rows))
