"""What the constructors of flows share: their widths and their base, checked."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.base import Explicit
from zoo.conditionals import StandardGaussian
from zoo.slots import Slot, fill


def widths_of(layers: int, hidden: int | Sequence[int]) -> list[int]:
    """The widths of each layer's network; one number stands for two of it."""
    if layers < 1:
        raise ValueError(f"layers must be at least 1, not {layers}")
    widths = [hidden, hidden] if isinstance(hidden, int) else list(hidden)
    if not widths or min(widths) < 1:
        raise ValueError(f"hidden must be a width or a sequence of widths of at least 1, not {hidden!r}")
    return widths


def base_of(slot: Slot | None, flow: Explicit) -> Explicit:
    """The density that a flow moves: what the slot holds, or the standard normal."""
    base = fill(slot or StandardGaussian, "base", flow.event_shape, flow.context_shape)
    if base.measure != "density":
        raise ValueError(f"base: {type(base).__name__} is discrete, but a flow moves real numbers")
    return base
