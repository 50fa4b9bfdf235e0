"""Couplings: the two halves of a row take turns to move each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.elementwise import Elementwise
from zoo.networks import flat, unflat
from zoo.transforms import Transform


class Couplings(Transform):
    """Couplings on the even and the odd numbers of a row, which take turns to condition each other.

    Layer l reads one half, a, and moves the other, b, number by number: backward (towards the base) through
    map(b; network_l(a, context)), forward through its inverse. Both directions cost one pass through each
    network. Every network's last layer starts at zero, and so the map at the identity.
    """

    order: Tensor

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
        self.size = event_shape.numel()
        self.halves = ((self.size + 1) // 2, self.size // 2)
        self.networks = nn.ModuleList(
            _network(self.halves[i % 2], hidden, self.halves[1 - i % 2] * map.outputs) for i in range(layers)
        )
        self._layers = [list(cast(Any, network)) for network in self.networks]  # found without Module's detours
        if context_shape is not None:
            # The first layer of every network is linear in its context: one product serves them all.
            self.context_layer = nn.Linear(context_shape.numel(), layers * hidden[0], bias=False)
        order = torch.arange(self.size)
        self.register_buffer("order", torch.cat([order[::2], order[1::2]]).argsort(), persistent=False)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves, shifts, move = self._split(x), self._context_shifts(context), self.map.inverse_and_log_slope
        slopes = []
        for i in reversed(range(len(self.networks))):
            values = self._values(i, halves[i % 2], shifts)
            halves[1 - i % 2], log_slope = move(halves[1 - i % 2], values)
            slopes.append(log_slope)
        return self._merge(halves), torch.cat(slopes, -1).sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves, shifts, move = self._split(y), self._context_shifts(context), self.map.forward_and_log_slope
        slopes = []
        for i in range(len(self.networks)):
            values = self._values(i, halves[i % 2], shifts)
            halves[1 - i % 2], log_slope = move(halves[1 - i % 2], values)
            slopes.append(log_slope)
        return self._merge(halves), torch.cat(slopes, -1).sum(-1)

    def _values(self, i: int, a: Tensor, shifts: Sequence[Tensor] | None) -> Tensor:
        """The parameters of layer i's map for each number that it moves, given the half that it reads."""
        first, *others = self._layers[i]
        h = linear(a, first.weight, first.bias)
        if shifts is not None:
            h = h + shifts[i]
        for layer in others:
            h = linear(h.relu_(), layer.weight, layer.bias)
        return h.unflatten(-1, (self.halves[1 - i % 2], self.map.outputs))

    def _context_shifts(self, context: Tensor | None) -> Sequence[Tensor] | None:
        if context is None or self.context_shape is None:
            return None
        return self.context_layer(flat(context, self.context_shape)).chunk(len(self.networks), -1)

    def _split(self, x: Tensor) -> list[Tensor]:
        x = flat(x, self.event_shape)
        if self.size % 2:
            return [x[..., ::2], x[..., 1::2]]
        return list(x.unflatten(-1, (-1, 2)).unbind(-1))

    def _merge(self, halves: list[Tensor]) -> Tensor:
        if self.size % 2:
            merged = torch.cat(halves, -1).index_select(-1, self.order)
        else:
            merged = torch.stack(halves, -1).flatten(-2)
        return unflat(merged, self.event_shape)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear`, arranged for very few columns, where a matrix product is slow, if no gradient is kept."""
    if min(weight.shape) > 4 or x.dim() != 2 or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    if weight.shape[1] == 1:
        return torch.addcmul(bias, x, weight.t())
    return torch.addmm(bias[:, None], weight, x.t()).t()


def _network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.ModuleList:
    """Linear layers with ReLU between, the last of them zero at first."""
    network = nn.ModuleList(nn.Linear(*pair) for pair in pairwise([inputs, *hidden, outputs]))
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)
    return network
