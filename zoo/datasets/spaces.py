"""The spaces that rows of data lie in: what a likelihood there is, and what a figure of it means."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """A space: its measure ("mass" or "density"), and a note on likelihoods taken back to the raw space."""

    measure: str
    note: str

    def words(self, levels: int | None) -> str:
        """The note, for raw data of so many levels (None: real features)."""
        note = self.note if levels else FEATURES
        return note.format(levels=levels, uniform=math.log2(levels or 1))


FEATURES = "a density of the raw features in their own units: comparable on the same features only"
BOUND = (
    "a density of dequantised rows, which bounds the mass of the {levels} levels from below: the bits are "
    "an upper bound in the {levels}-level scale, where a uniform guess costs {uniform:.2f} bits a dimension"
)
SPACES = {
    # whole numbers 0..levels-1
    "levels": Space(
        "mass", "the mass of the {levels} levels, where a uniform guess costs {uniform:.2f} bits a dimension"
    ),
    # whole numbers without an order
    "codes": Space("mass", "the mass of the {levels} symbols, where a uniform guess costs {uniform:.2f} bits a symbol"),
    # 0. and 1.
    "bits": Space(
        "mass",
        "the mass of the bits, a coarser variable than the {levels} levels: not to be compared with theirs",
    ),
    # levels scaled to floats from 0 to 1
    "grid": Space(
        "density",
        "a density at points on {levels} levels, which bounds no mass and has no limit: use dequantised()",
    ),
    # the open unit cube
    "unit": Space("density", BOUND),
    "real": Space("density", BOUND),
}
