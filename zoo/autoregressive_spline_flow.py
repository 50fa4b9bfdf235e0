"""AutoregressiveSplineFlow: a masked autoregressive flow of rational-quadratic splines."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.base import Shape
from zoo.flows import widths_of
from zoo.masked_maps import MaskedMaps
from zoo.slots import Slot
from zoo.small_tables import Start, TableFlow
from zoo.splines import Spline
from zoo.transforms import Inverse
from zoo.whitening import Whitened


class AutoregressiveSplineFlow(TableFlow):
    """A neural spline flow, autoregressive: each number moved by a spline that the numbers before it decide.

    p(x | c) = p(z | c) |det dz/dx|, z_i = spline(x_i; x_1..x_(i-1), c) in a layer, the next layer in the opposite
    order; what the last leaves is the base's. A number beyond [-bound, bound] passes unmoved, so bring the data
    there (standardised rows are). It bends single numbers too, where `SplineFlow` needs two.

    Shapes: x is [N, *event_shape], its numbers in the order of memory; context is [N, *context_shape] and is read by
    every layer. `log_prob` is in nats a row and costs one pass through each network. `sample` goes number by number
    and computes every hidden unit once, which is as much arithmetic in as many steps as a row has numbers.

    On a table of few rows (fewer than 16 for each number of a row), `fit` settles what is left open here: whitened
    rows, Student-t's as the base; and, unless told how long to go on, it stops early, with noise and weight decay
    (`zoo.small_tables`).

    Parameters:
        layers: how many masked networks.
        hidden: widths of each; one number stands for two hidden layers of that width.
        bins: how many pieces each spline has.
        bound: half the side of the box in which numbers move.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told, or standard
            Student-t's on few rows.
        start: what a fit begins from, "identity" or "whitened", the Gaussian with the rows' own covariance; the
            identity unless told, or whitened on few rows.

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
        start: Start | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, start=start, base=base)
        widths = widths_of(layers, hidden)
        maps = MaskedMaps(self.event_shape, self.context_shape, layers, widths, Spline(bins, bound))
        self.transform = Whitened(Inverse(maps), self.event_shape)
