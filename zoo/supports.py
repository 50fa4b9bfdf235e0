"""Densities of numbers that are bounded, positive or angles: a density of the reals, and a map onto the support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.circles import Torus
from zoo.conditionals import Gaussian
from zoo.distributions import RowDistribution
from zoo.networks import flat, unflat
from zoo.realnvp import RealNVP
from zoo.slots import Slot, fill
from zoo.spans import Declared, HalfLine, OntoSpans, WithinSpans, spans


class Supported(Explicit):
    """A density on a declared support: p(x) = p(a) p_flow(u | a) |det du/dx|, each number mapped onto its span.

    The angles a come first, each given those before it, by splines of the circle onto itself, whose density has no
    seam. `flow` models u, all other numbers, as reals: through the logistic function onto an interval, through
    softplus (or exp) onto a half line; where there are angles, their cosines and sines are its context. Outside its
    span a number has density zero; an angle is read modulo 2 pi, though as data it is to be given in [-pi, pi].

    Shapes: x is [N, *event_shape], its numbers counted from 0 with the event axes flattened; context is
    [N, *context_shape]. `log_prob` is in nats a row, with respect to length (of the arc, for an angle).

    Parameters:
        support: a span for all numbers, a list of one for each, or a table of some by their index, the rest real.
            A span is "real", "positive", "circle" or [low, high], an end of which may be infinite.
        flow: any explicit density; RealNVP unless told, for a single number Gaussian. Without angles its shapes are
            this model's; with K angles its event_shape is [how many numbers are left], its context_shape [D + 2 K],
            D the numbers of this model's context.
        half_line: the map onto a half line: "softplus", or "exp" for numbers of many sizes.
        bins, layers, hidden: of the splines of angles, and the widths of the network that puts out their numbers.

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428
    """

    lines: Tensor
    circles: Tensor

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        support: Declared | Sequence[Declared] | Mapping[int | str, Declared],
        flow: Slot | None = None,
        half_line: HalfLine = "softplus",
        bins: int = 8,
        layers: int = 2,
        hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.spans = spans(support, self.features)
        self.support = WithinSpans(self.spans, self.event_shape)
        circle = torch.tensor([span.circle for span in self.spans])
        self.register_buffer("lines", torch.nonzero(~circle)[:, 0], persistent=False)
        self.register_buffer("circles", torch.nonzero(circle)[:, 0], persistent=False)
        self.line_shape = torch.Size([len(self.lines)]) if len(self.circles) else self.event_shape
        if len(self.circles):
            given = self.context_shape.numel() if self.context_shape else 0
            self.torus = Torus(len(self.circles), given, bins, layers, hidden)
        self._line(flow, half_line)

    def _line(self, flow: Slot | None, half_line: HalfLine) -> None:
        """The density of the numbers that are no angles, where there are such, and its map."""
        kept = [span for span in self.spans if not span.circle]
        if not kept:
            if flow is not None:
                raise ValueError("every number of a row is an angle, and nothing is left for flow: leave it out")
            return
        self.onto = OntoSpans(kept, self.line_shape, half_line)
        built = flow or (RealNVP if len(kept) > 1 else Gaussian)
        given = (self.context_shape.numel() if self.context_shape else 0) + 2 * len(self.circles)
        shape = torch.Size([given]) if len(self.circles) else self.context_shape
        self.flow = fill(built, "flow", self.line_shape, shape)
        reals = self.flow.support
        if self.flow.measure != "density" or getattr(reals, "base_constraint", reals) is not constraints.real:
            raise ValueError(f"flow: {type(self.flow).__name__} is no density of the reals, its support is {reals}")

    def distribution(self, context: Tensor | None = None) -> SupportedDistribution:
        return SupportedDistribution(self, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """The flow's start from a first batch, of a flow that takes one."""
        if len(self.lines) and hasattr(self.flow, "initialise"):
            lines, angles = self.split(x)
            known = context is not None or self.context_shape is None
            u, _ = self.onto.inverse_and_log_det(lines)
            self.flow.initialise(u, self.given(angles, context) if known else None)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers on lines, [..., *line_shape], and the angles, [..., K]."""
        if not len(self.circles):
            return x, x.new_empty(*x.shape[: x.dim() - len(self.event_shape)], 0)
        numbers = flat(x, self.event_shape)
        return numbers.index_select(-1, self.lines), numbers.index_select(-1, self.circles)

    def merge(self, lines: Tensor, angles: Tensor) -> Tensor:
        """The opposite of `split`."""
        if not len(self.circles):
            return lines
        order = torch.cat([self.lines, self.circles]).argsort()
        return unflat(torch.cat([lines, angles], -1).index_select(-1, order), self.event_shape)

    def given(self, angles: Tensor, context: Tensor | None) -> Tensor | None:
        """The flow's context, a row for each of [N]: the model's own, and the angles as points of the circle."""
        if not len(self.circles):
            return context
        parts = [angles.cos(), angles.sin()]
        if context is not None and self.context_shape is not None:
            parts.append(flat(context, self.context_shape))
        return torch.cat(parts, -1)


class SupportedDistribution(RowDistribution):
    """The distribution of `Supported` given a context: batch shape [] without one, [N] with one of N rows."""

    def __init__(self, model: Supported, context: Tensor | None) -> None:
        self._model, self._context = model, context
        super().__init__(torch.Size() if context is None else context.shape[:1], model.event_shape)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        model = self._model
        if not len(model.lines):
            return True
        context = None if model.flow.context_shape is None else model._anchor.new_zeros(1, *model.flow.context_shape)
        return model.flow.distribution(context).has_rsample

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        model = self._model
        batch = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        rows = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        lines, angles = model.split(rows)
        context = self._context_rows(batch)
        total = value.new_zeros(len(rows))
        if len(model.circles):
            total = model.torus.log_prob(angles, self._flat(context))
        if len(model.lines):
            total = total + self._lines(lines, model.given(angles, context))
        return total.reshape(batch)

    def _lines(self, lines: Tensor, given: Tensor | None) -> Tensor:
        """The log-density of the numbers that are no angles, [N]; minus infinity outside their spans."""
        onto = self._model.onto
        inside = onto.within.check(lines)
        # A number from within stands in for those outside, whose gradients would be NaN.
        u, log_det = onto.inverse_and_log_det(torch.where(inside, lines, onto.middle(lines)))
        total = self._model.flow.distribution(given).log_prob(u) + log_det
        return total.masked_fill(~inside.flatten(1).all(-1), -torch.inf)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self._draw(sample_shape, "sample")

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self._draw(sample_shape, "rsample")

    def _draw(self, sample_shape: Any, way: str) -> Tensor:
        model, batch = self._model, torch.Size(sample_shape) + self.batch_shape
        context, like, n = self._context_rows(batch), model._anchor, batch.numel()
        lines = angles = like.new_empty(n, 0)
        if len(model.circles):
            uniform = torch.rand(n, len(model.circles), dtype=like.dtype, device=like.device)
            angles = model.torus.draw(uniform, self._flat(context))
        if len(model.lines):
            given = model.given(angles, context)
            shape = (n,) if given is None else ()
            lines, _ = model.onto.forward_and_log_det(getattr(model.flow.distribution(given), way)(shape))
        return model.merge(lines, angles).reshape(*batch, *self.event_shape)

    def _context_rows(self, batch: torch.Size) -> Tensor | None:
        """The context, a row for each row of a batch."""
        if self._context is None or self._model.context_shape is None:
            return None
        shape = self._model.context_shape
        return self._context.expand(*batch, *shape).reshape(-1, *shape)

    def _flat(self, context: Tensor | None) -> Tensor | None:
        shape = self._model.context_shape
        return None if context is None or shape is None else flat(context, shape)
