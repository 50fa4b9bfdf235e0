"""What samples are compared by. A distance means nothing without the name of its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """A named function of rows, [N, *event_shape] -> [N, D], asked block by block and without gradients."""

    name: str
    function: Callable[[Tensor], Tensor]
    block: int = 1024

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        parts = [self.function(rows) for rows in x.split(self.block)]
        if any(
            part.dim() != 2 or len(part) != len(rows) for part, rows in zip(parts, x.split(self.block), strict=True)
        ):
            raise ValueError(
                f"features {self.name!r} must be [N, D], one row for each of x, not {list(parts[0].shape)}"
            )
        return torch.cat(parts).double()

    def __repr__(self) -> str:
        return f"Features({self.name!r})"


VALUES = Features("values", lambda x: x.flatten(1))
"""The numbers of a row as they are: pixels, columns, codes."""
