"""RealNVP: a flow of affine couplings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo.base import Explicit, Shape, Slot, fill
from zoo.conditionals import StandardGaussian
from zoo.couplings import Couplings
from zoo.elementwise import SoftAffine
from zoo.transforms import FlowDistribution


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
        self.base = fill(base or StandardGaussian, "base", self.event_shape, self.context_shape)
        if self.base.measure != "density":
            raise ValueError(f"base: {type(self.base).__name__} is discrete, but a flow moves real numbers")
        self.transform = Couplings(self.event_shape, self.context_shape, layers, widths, SoftAffine(clamp))

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)
