"""AutoregressiveSplineFlow: a masked autoregressive flow of rational-quadratic splines."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo.base import Explicit, Shape, Slot
from zoo.flows import base_of, widths_of
from zoo.masked_maps import MaskedMaps
from zoo.splines import Spline
from zoo.transforms import FlowDistribution, Inverse


class AutoregressiveSplineFlow(Explicit):
    """A neural spline flow, autoregressive: each number moved by a spline that the numbers before it decide.

    p(x | c) = p(z | c) |det dz/dx|, z_i = spline(x_i; x_1..x_(i-1), c) in a layer, the next layer in the opposite
    order; what the last leaves is the base's. A number beyond [-bound, bound] passes unmoved, so bring the data
    there (standardised rows are). It bends single numbers too, where `SplineFlow` needs two.

    Shapes: x is [N, *event_shape], its numbers in the order of memory; context is [N, *context_shape] and is read by
    every layer. `log_prob` is in nats a row and costs one pass through each network. `sample` goes number by number
    and computes every hidden unit once, which is as much arithmetic in as many steps as a row has numbers.

    Parameters:
        layers: how many masked networks.
        hidden: widths of each; one number stands for two hidden layers of that width.
        bins: how many pieces each spline has.
        bound: half the side of the box in which numbers move.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told.

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        layers: int = 6,
        hidden: int | Sequence[int] = 128,
        bins: int = 8,
        bound: float = 5.0,
        base: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        widths = widths_of(layers, hidden)
        self.base = base_of(base, self)
        maps = MaskedMaps(self.event_shape, self.context_shape, layers, widths, Spline(bins, bound))
        self.transform = Inverse(maps)

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)
