"""SplineFlow: a flow of rational-quadratic spline couplings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo.base import Explicit, Shape, Slot
from zoo.couplings import Couplings
from zoo.flows import base_of, widths_of
from zoo.splines import Spline
from zoo.transforms import FlowDistribution


class SplineFlow(Explicit):
    """A neural spline flow by coupling: x = f(z), p(x) = p(z) |det dz/dx|, z from a base.

    Each coupling bends half of a row, number by number, by splines whose knots a network puts out from the other
    half. A number beyond [-bound, bound] passes unmoved, so bring the data there (standardised rows are).

    Shapes: x is [N, *event_shape], its event axes flattened in the couplings; context is [N, *context_shape]
    and enters every coupling's network. `log_prob` is in nats a row; scoring and sampling cost the same.

    Parameters:
        layers: how many couplings; with fewer than two, half of a row stays as the base has it.
        hidden: widths of each coupling's network; one number stands for two layers of that width.
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
        if self.features < 2:
            raise ValueError(
                "SplineFlow couples the halves of a row and needs two numbers a row or more; "
                "for one number take AutoregressiveSplineFlow"
            )
        widths = widths_of(layers, hidden)
        self.base = base_of(base, self)
        self.transform = Couplings(self.event_shape, self.context_shape, layers, widths, Spline(bins, bound))

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)
