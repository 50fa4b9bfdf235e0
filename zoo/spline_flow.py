"""SplineFlow: a flow of rational-quadratic spline couplings."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.base import Shape
from zoo.couplings import Couplings
from zoo.flows import widths_of
from zoo.slots import Slot
from zoo.small_tables import Start, TableFlow
from zoo.splines import Spline
from zoo.whitening import Whitened


class SplineFlow(TableFlow):
    """A neural spline flow by coupling: x = f(z), p(x) = p(z) |det dz/dx|, z from a base.

    Each coupling bends half of a row, number by number, by splines whose knots a network puts out from the other
    half. A number beyond [-bound, bound] passes unmoved, so bring the data there (standardised rows are).

    Shapes: x is [N, *event_shape], its event axes flattened in the couplings; context is [N, *context_shape]
    and enters every coupling's network. `log_prob` is in nats a row; scoring and sampling cost the same.

    On a table of few rows (fewer than 16 for each number of a row), `fit` settles what is left open here: whitened
    rows, Student-t's as the base; and, unless told how long to go on, it stops early, with noise and weight decay
    (`zoo.small_tables`).

    Parameters:
        layers: how many couplings; with fewer than two, half of a row stays as the base has it.
        hidden: widths of each coupling's network; one number stands for two layers of that width.
        bins: how many pieces each spline has.
        bound: half the side of the box in which numbers move.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told, or standard
            Student-t's on few rows.
        start: what a fit begins from, "identity" or "whitened", the Gaussian with the rows' own covariance; the
            identity unless told, or whitened on few rows.

    Reproducible: seed 0, batches of 256, the learning rate 1e-3 falling over the last three tenths. Digits as logits,
    dequantised (1,347 to train on, 450 held out), defaults, 500 steps: 2.04 bits a number held out. Two moons (10,000
    and 5,000, noise 0.07), hidden=64, 1,500 steps: 0.664 nats a row held out.

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
        if self.features < 2:
            raise ValueError(
                "SplineFlow couples the halves of a row and needs two numbers a row or more; "
                "for one number take AutoregressiveSplineFlow"
            )
        widths = widths_of(layers, hidden)
        couplings = Couplings(self.event_shape, self.context_shape, layers, widths, Spline(bins, bound))
        self.transform = Whitened(couplings, self.event_shape)
