"""RealNVP: a flow of affine couplings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Explicit, Shape, Slot, fill
from zoo.conditionals import StandardGaussian
from zoo.networks import flat, unflat
from zoo.transforms import FlowDistribution, Transform


class AffineCouplings(Transform):
    """Affine couplings on the even and the odd numbers of a row, which take turns to condition each other.

    Layer l reads one half, a, and moves the other, b: backward (towards the base) to b exp(s) + t, where
    (t, r) = network_l(a, context) and s = clamp tanh(r / clamp) is softly clamped, hence no scale outside
    exp(+-clamp). Both directions cost one pass through each network. Every network's last layer starts at
    zero, and so the map at the identity.
    """

    order: Tensor

    def __init__(
        self,
        event_shape: torch.Size,
        context_shape: torch.Size | None,
        layers: int,
        hidden: Sequence[int],
        clamp: float,
    ) -> None:
        super().__init__()
        self.event_shape, self.context_shape, self.clamp = event_shape, context_shape, clamp
        self.size = event_shape.numel()
        halves = ((self.size + 1) // 2, self.size // 2)
        self.networks = nn.ModuleList(_network(halves[i % 2], hidden, halves[1 - i % 2]) for i in range(layers))
        if context_shape is not None:
            # The first layer of every network is linear in its context: one product serves them all.
            self.context_layer = nn.Linear(context_shape.numel(), layers * hidden[0], bias=False)
        order = torch.arange(self.size)
        self.register_buffer("order", torch.cat([order[::2], order[1::2]]).argsort(), persistent=False)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves, shifts = self._split(x), self._context_shifts(context)
        bends = []
        for i in reversed(range(len(self.networks))):
            shift, bend = self._shift_and_bend(i, halves[i % 2], shifts)
            halves[1 - i % 2] = (halves[1 - i % 2] - shift) * (bend * -self.clamp).exp()
            bends.append(bend)
        return self._merge(halves), torch.cat(bends, -1).sum(-1) * -self.clamp

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves, shifts = self._split(y), self._context_shifts(context)
        bends = []
        for i in range(len(self.networks)):
            shift, bend = self._shift_and_bend(i, halves[i % 2], shifts)
            halves[1 - i % 2] = torch.addcmul(shift, halves[1 - i % 2], (bend * self.clamp).exp())
            bends.append(bend)
        return self._merge(halves), torch.cat(bends, -1).sum(-1) * self.clamp

    def _shift_and_bend(self, i: int, a: Tensor, shifts: Sequence[Tensor] | None) -> tuple[Tensor, Tensor]:
        """t and tanh(r / clamp) of layer i, given the half that it reads."""
        first, *others = cast(Any, self.networks[i])
        h = F.linear(a, first.weight, first.bias)
        if shifts is not None:
            h = h + shifts[i]
        for layer in others:
            h = F.linear(h.relu_(), layer.weight, layer.bias)
        shift, bend = h.chunk(2, -1)
        return shift, (bend * (1 / self.clamp)).tanh()

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


def _network(inputs: int, hidden: Sequence[int], size: int) -> nn.ModuleList:
    """Linear layers with ReLU between, to the 2 * size numbers of a shift and a log-scale, zero at first."""
    widths = [inputs, *hidden, 2 * size]
    network = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)
    return network


class RealNVP(Explicit):
    """A flow of affine couplings: x = f(z), p(x) = p(z) |det dz/dx|, z from a base.

    Shapes: x is [N, *event_shape], its event axes flattened in the couplings; context is [N, *context_shape]
    and enters every coupling's network. `log_prob` is in nats a row; scoring and sampling cost the same.

    Parameters:
        layers: how many couplings; with fewer than two, half of a row stays as the base has it.
        hidden: widths of each coupling's network; one number stands for two layers of that width.
        clamp: the largest log-scale of one coupling, approached smoothly.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told.

    References:
        Density estimation using Real NVP (Dinh et al., 2016), https://arxiv.org/abs/1605.08803
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        layers: int = 6,
        hidden: int | Sequence[int] = 128,
        clamp: float = 3.0,
        base: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        widths = [hidden, hidden] if isinstance(hidden, int) else list(hidden)
        if self.features < 2:
            raise ValueError(
                "RealNVP couples the halves of a row and needs two numbers a row or more; for one number take Gaussian"
            )
        if layers < 1:
            raise ValueError(f"layers must be at least 1, not {layers}")
        if not widths or min(widths) < 1:
            raise ValueError(f"hidden must be a width or a sequence of widths of at least 1, not {hidden!r}")
        if not clamp > 0:
            raise ValueError(f"clamp must be above 0, not {clamp}")
        self.base = fill(base or StandardGaussian, "base", self.event_shape, self.context_shape)
        if self.base.measure != "density":
            raise ValueError(f"base: {type(self.base).__name__} is discrete, but a flow moves real numbers")
        self.transform = AffineCouplings(self.event_shape, self.context_shape, layers, widths, clamp)

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)
