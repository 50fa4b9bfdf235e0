"""What moves heads from one compartment to another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transition:
    """What moves heads from one compartment to another.

    Parameters:
        source: where from; None for births, at `rate` times all heads of the group.
        target: where to; None for deaths.
        rate: the name of the rate, a head and a unit of time.
        by: compartments by whose share of all heads the rate is multiplied: who infects, persuades, is met.
        pairs: that two heads of `source` meet and both move, so that `by` is `source` itself.
    """

    source: str | None
    target: str | None
    rate: str
    by: str | tuple[str, ...] = ()
    pairs: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", (self.by,) if isinstance(self.by, str) else tuple(self.by))
        if self.source is None and (self.target is None or self.by):
            raise ValueError(f"the transition {self.label} has no source: births need a target, and are `by` no one")
        if self.pairs and self.by != (self.source,):
            raise ValueError(f"in the transition {self.label} pairs of {self.source} move, so that by={self.source!r}")

    def __str__(self) -> str:
        met = f" by {' and '.join(self.by)}" if self.by else ""
        return f"{self.label}: {self.rate}{met}"

    @property
    def label(self) -> str:
        """Where from and where to."""
        return f"{self.source or 'birth'} -> {self.target or 'death'}"
