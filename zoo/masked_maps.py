"""Masked maps: each number of a row is moved by a map that the numbers before it decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from zoo.elementwise import Elementwise
from zoo.masked import MaskedNetwork
from zoo.networks import flat, unflat
from zoo.transforms import Transform


class MaskedMaps(Transform):
    """Layers of y_i = map(x_i; network_i(x_1..x_(i-1), context)); every other layer takes a row from its end.

    Forward costs one pass through each masked network. Backward goes number by number, as x_i is needed for what
    comes after it, and computes every hidden unit once: the same arithmetic in as many steps as a row has numbers.
    Every network's outputs start at zero, and so the map at the identity.
    """

    def __init__(
        self,
        event_shape: torch.Size,
        context_shape: torch.Size | None,
        layers: int,
        hidden: Sequence[int],
        map: Elementwise,
    ) -> None:
        super().__init__()
        self.event_shape, self.context_shape, self.map = event_shape, context_shape, map
        size, contexts = event_shape.numel(), 0 if context_shape is None else context_shape.numel()
        # Without straight connections: they cost a sixth of a step (more, the more outputs) for 0.04 bits on digits.
        self.networks = nn.ModuleList(
            MaskedNetwork(size, inputs=1, outputs=map.outputs, hidden=hidden, context=contexts, straight=False)
            for _ in range(layers)
        )
        for network in self._masked:
            for parameter in network.last.parameters():
                nn.init.zeros_(parameter)

    @property
    def _masked(self) -> list[MaskedNetwork]:
        return cast(list[MaskedNetwork], list(self.networks))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, given, slopes = flat(x, self.event_shape), self._given(context), []
        for i, network in enumerate(self._masked):
            y = y.flip(-1) if i else y
            y, log_slope = self.map.forward_and_log_slope(y, network(y, given))
            slopes.append(log_slope)
        return unflat(self._upright(y, -1), self.event_shape), torch.cat(slopes, -1).sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, given = flat(y, self.event_shape), self._given(context)
        batch = x.shape[:-1]
        if given is not None:
            batch = torch.broadcast_shapes(batch, given.shape[:-1])
            given = given.expand(*batch, given.shape[-1]).reshape(batch.numel(), given.shape[-1])
        size = x.shape[-1]
        # Columns are rows of the data: what a step reads is then one contiguous block.
        columns = self._upright(x.expand(*batch, size).reshape(batch.numel(), size).t(), 0)
        slopes: list[Tensor] = []
        for network in reversed(self._masked):
            numbers = self._undo(network, columns.unbind(0), given, slopes)
            columns = torch.stack(numbers[::-1])
        x = columns.flip(0).t().reshape(*batch, size)
        return unflat(x, self.event_shape), torch.stack(slopes).sum(0).reshape(batch)

    def _undo(
        self, network: MaskedNetwork, y: Sequence[Tensor], given: Tensor | None, slopes: list[Tensor]
    ) -> list[Tensor]:
        """The numbers that one layer moved to y, each [rows], from the first on; their log-slopes go to `slopes`."""
        numbers: list[Tensor] = []

        def choose(i: int, values: Tensor) -> Tensor:
            number, log_slope = self.map.inverse_and_log_slope(y[i], values.t())
            numbers.append(number)
            slopes.append(log_slope)
            return number.unsqueeze(0)

        network.unroll(choose, len(y[0]), given)
        return numbers

    def _given(self, context: Tensor | None) -> Tensor | None:
        return None if context is None or self.context_shape is None else flat(context, self.context_shape)

    def _upright(self, x: Tensor, axis: int) -> Tensor:
        """A row as the first layer reads it, from what the last put out; and the opposite."""
        return x if len(self.networks) % 2 else x.flip(axis)
