"""Where the numbers of a row may lie, as a spec declares it, and the maps of the reals onto it.

A span is "real", "positive", "circle" (an angle in [-pi, pi]), or a pair [low, high], of which either may be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.networks import flat, unflat
from zoo.registry import near
from zoo.transforms import Transform

HalfLine = Literal["softplus", "exp"]
Declared = str | Sequence[float]


@dataclass(frozen=True)
class Span:
    """The open interval (low, high), or the circle, whose two ends are one point."""

    low: float
    high: float
    circle: bool = False

    def __str__(self) -> str:
        if self.circle:
            return "an angle in [-pi, pi]"
        if self.low == -math.inf and self.high == math.inf:
            return "real"
        if self.high == math.inf:
            return f"above {self.low:g}"
        return f"below {self.high:g}" if self.low == -math.inf else f"in ({self.low:g}, {self.high:g})"


REAL = Span(-math.inf, math.inf)
NAMED = {"real": REAL, "positive": Span(0.0, math.inf), "circle": Span(-math.pi, math.pi, circle=True)}


def spans(support: Declared | Sequence[Declared] | Mapping[int | str, Declared], features: int) -> tuple[Span, ...]:
    """A span for each number of a row: one for all, a list of them, or some by the number's index, the rest real."""
    if isinstance(support, Mapping):
        found = [REAL] * features
        for key, declared in support.items():
            found[_index(key, features)] = _span(declared, f"support[{key}]")
        return tuple(found)
    if not isinstance(support, (str, Sequence)):
        raise TypeError(f"support is {support!r}, but a name, [low, high], a list or a table of those was expected")
    if isinstance(support, str) or all(isinstance(each, (int, float)) for each in support):
        return (_span(cast(Declared, support), "support"),) * features
    if len(support) != features:
        raise ValueError(f"support lists {len(support)} spans, but a row has {features} numbers")
    return tuple(_span(declared, f"support[{i}]") for i, declared in enumerate(support))


def _index(key: int | str, features: int) -> int:
    index = int(key) if str(key).isdecimal() else -1
    if not 0 <= index < features:
        raise ValueError(f"support names the number {key!r}, but the numbers of a row are 0 to {features - 1}")
    return index


def _span(declared: Declared | float, name: str) -> Span:
    if isinstance(declared, str):
        if declared not in NAMED:
            raise ValueError(f"{name} is {declared!r}, which is no support{near(declared, NAMED)}")
        return NAMED[declared]
    pair = declared if isinstance(declared, Sequence) else [declared]
    if len(pair) != 2 or not float(pair[0]) < float(pair[1]):
        raise ValueError(f"{name} is {declared!r}, but [low, high] was expected, low below high, or a name")
    return Span(float(pair[0]), float(pair[1]))


class WithinSpans(constraints.Constraint):
    """Each number of a row within its span: `check` answers number by number, [..., *event_shape]."""

    def __init__(self, declared: Sequence[Span], event_shape: torch.Size) -> None:
        self.spans, self.event_shape = tuple(declared), event_shape

    def check(self, value: Tensor) -> Tensor:
        value = torch.as_tensor(value)
        low, high = (self._ends(end, value) for end in ("low", "high"))
        circle = torch.tensor([span.circle for span in self._distinct()], device=value.device)
        inside, at_the_seam = (value > low) & (value < high), (value == low) | (value == high)
        return inside | (at_the_seam & self._shaped(circle))

    def _distinct(self) -> Sequence[Span]:
        """The spans, or the one that all numbers have."""
        return self.spans[:1] if len(set(self.spans)) == 1 else self.spans

    def _ends(self, end: str, like: Tensor) -> Tensor:
        return self._shaped(like.new_tensor([getattr(span, end) for span in self._distinct()]))

    def _shaped(self, numbers: Tensor) -> Tensor:
        return numbers if len(numbers) == 1 else numbers.reshape(self.event_shape)

    def __repr__(self) -> str:
        if len(set(self.spans)) == 1:
            return f"each number {self.spans[0]}"
        parts = [f"{i} {span}" for i, span in enumerate(self.spans) if span is not REAL]
        return "numbers " + ", ".join(parts[:8]) + (", ..." if len(parts) > 8 else "")


class _Line:
    """The reals as they are."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.zeros_like(x)

    inverse = forward


class _Interval:
    """(low, high) by the logistic function, worked out from whichever end is nearer."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        width, small = self.high - self.low, (-x.abs()).sigmoid()
        y = torch.where(x < 0, self.low + width * small, self.high - width * small)
        y = y.clamp(torch.nextafter(self.low, self.high), torch.nextafter(self.high, self.low))
        return y, width.log() + F.logsigmoid(x) + F.logsigmoid(-x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        above, below = (y - self.low).log(), (self.high - y).log()
        return above - below, (self.high - self.low).log() - above - below


class _Half:
    """edge + softplus(x), or edge - softplus(x) downwards: nearly the line itself, away from the edge."""

    def __init__(self, edge: Tensor, sign: float) -> None:
        self.edge, self.sign = edge, sign

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._away(F.softplus(x)), F.logsigmoid(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        distance = (y - self.edge) * self.sign
        log_slope = torch.log(-torch.expm1(-distance))
        return distance + log_slope, -log_slope

    def _away(self, distance: Tensor) -> Tensor:
        beside = torch.nextafter(self.edge, self.edge + self.sign)
        y = self.edge + self.sign * distance
        return torch.maximum(y, beside) if self.sign > 0 else torch.minimum(y, beside)


class _HalfByLogarithm(_Half):
    """edge + exp(x), or edge - exp(x) downwards: for numbers of many sizes, such as prices."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._away(x.exp()), x

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        log_distance = ((y - self.edge) * self.sign).log()
        return log_distance, -log_distance


HALVES = {"softplus": _Half, "exp": _HalfByLogarithm}


class OntoSpans(Transform):
    """Each real number onto its span: nothing to be learned, and no number moves another."""

    def __init__(self, declared: Sequence[Span], event_shape: torch.Size, half_line: HalfLine) -> None:
        super().__init__()
        if half_line not in HALVES:
            raise ValueError(f"half_line is {half_line!r}, which is no map{near(half_line, HALVES)}")
        self.spans, self.event_shape, self.half_line = tuple(declared), event_shape, HALVES[half_line]
        self.within = WithinSpans(self.spans, event_shape)
        kinds = [(span.low > -math.inf, span.high < math.inf) for span in self.spans]
        self.kinds = sorted(set(kinds))
        groups = [torch.tensor([i for i, each in enumerate(kinds) if each == kind]) for kind in self.kinds]
        for i, group in enumerate(groups):
            self.register_buffer(f"group_{i}", group, persistent=False)
        members = [[self.spans[i] for i in group.tolist()] for group in groups]
        self.members = [each[:1] if len(set(each)) == 1 else each for each in members]
        self.register_buffer("order", torch.cat(groups).argsort(), persistent=False)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._numbers(x, "forward")

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._numbers(y, "inverse")

    def middle(self, like: Tensor) -> Tensor:
        """A row well within the spans, in the dtype and on the device of another: what the map makes of zeros."""
        return self.forward_and_log_det(like.new_zeros(self.event_shape))[0]

    def _numbers(self, rows: Tensor, way: str) -> tuple[Tensor, Tensor]:
        rows = flat(rows, self.event_shape)
        values, log_dets = [], []
        for i, kind in enumerate(self.kinds):
            group = getattr(self, f"group_{i}")
            numbers = rows if len(self.kinds) == 1 else rows.index_select(-1, group)
            value, log_det = getattr(self._map(kind, self.members[i], rows), way)(numbers)
            values.append(value)
            log_dets.append(log_det)
        moved = values[0] if len(values) == 1 else torch.cat(values, -1).index_select(-1, self.get_buffer("order"))
        return unflat(moved, self.event_shape), torch.cat(log_dets, -1).sum(-1)

    def _map(self, kind: tuple[bool, bool], members: Sequence[Span], like: Tensor) -> _Line | _Interval | _Half:
        """The map of a group of numbers; the ends stand in Python, exact whatever the dtype."""
        low, high = (like.new_tensor([getattr(span, end) for span in members]) for end in ("low", "high"))
        if kind == (True, True):
            return _Interval(low, high)
        if kind == (False, False):
            return _Line()
        return self.half_line(low, 1.0) if kind[0] else self.half_line(high, -1.0)
