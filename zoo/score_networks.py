"""Networks that tell a noisy row's noise: (z, time, context, given) -> [N, outputs, *event_shape]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.base import Shape, as_shape
from zoo.networks import mlp


class ScoreMLP(nn.Module):
    """A perceptron of the row, waves of the time, and the context where there is one."""

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        outputs: int = 1,
        hidden: Sequence[int] = (256, 256),
        waves: int = 8,
    ) -> None:
        super().__init__()
        shape, given = as_shape(event_shape), as_shape(context_shape)
        assert shape is not None
        self.event_shape, self.outputs, self.waves = shape, outputs, waves
        extra = 0 if given is None else given.numel()
        if extra:
            self.not_told = nn.Parameter(torch.zeros(extra))
        self.network = mlp(shape.numel() + 2 * waves + extra, outputs * shape.numel(), hidden, nn.SiLU)

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        powers = torch.arange(self.waves, dtype=z.dtype, device=z.device)
        angles = time.unsqueeze(-1) * (0.5 * math.pi * 2**powers)
        parts = [z.flatten(1), angles.sin(), angles.cos()]
        if hasattr(self, "not_told"):
            rows = self.not_told.expand(len(z), -1)
            if context is not None:
                told = context.flatten(1).to(z.dtype)
                rows = told if given is None else torch.where(given.unsqueeze(-1), told, rows)
            parts.append(rows)
        return self.network(torch.cat(parts, -1)).view(len(z), self.outputs, *self.event_shape)
