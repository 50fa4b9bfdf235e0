"""MAF: a masked autoregressive flow, which scores in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo.base import Explicit, Shape, Slot
from zoo.elementwise import SoftAffine
from zoo.flows import base_of, widths_of
from zoo.masked_maps import MaskedMaps
from zoo.transforms import FlowDistribution, Inverse


class MAF(Explicit):
    """A masked autoregressive flow: z_i = x_i exp(s_i) + t_i in a layer, with (t_i, s_i) of x_1..x_(i-1) and c.

    A layer alone is a density of normals, each with its mean and scale from the numbers before it. What it leaves is
    moved on by the next, in the opposite order, and what the last leaves is the base's. The log-scales s are softly
    clamped, and every layer starts at the identity.

    Shapes: x is [N, *event_shape], its numbers in the order of memory; context is [N, *context_shape] and is read by
    every layer. `log_prob` is in nats a row and costs one pass through each network. `sample` goes number by number
    and computes every hidden unit once, which is as much arithmetic in as many steps as a row has numbers.

    Parameters:
        layers: how many masked networks.
        hidden: widths of each; one number stands for two hidden layers of that width.
        clamp: the largest log-scale of one layer, approached smoothly.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057
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
        widths = widths_of(layers, hidden)
        self.base = base_of(base, self)
        maps = MaskedMaps(self.event_shape, self.context_shape, layers, widths, SoftAffine(clamp))
        self.transform = Inverse(maps)

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)
