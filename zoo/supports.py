"""Densities of numbers that are bounded, positive or angles: a density of the reals, and a map onto the support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Explicit, Shape, Slot, fill
from zoo.circles import Torus
from zoo.conditionals import Gaussian
from zoo.distributions import RowDistribution
from zoo.networks import flat, unflat
from zoo.realnvp import RealNVP
from zoo.spans import Declared, HalfLine, OntoSpans, WithinSpans, spans


class Supported(Explicit):
    """A density on a declared support: p(x) = p_flow(u) |det du/dx| p(a | u), each number mapped onto its span.

    `flow` models u, the numbers that are no angles, as reals: through the logistic function onto an interval,
    through softplus (or exp) onto a half line. The angles a follow it, each given u and the angles before it, by
    splines of the circle onto itself, whose density has no seam. Outside its span a number has density zero; an angle
    is read modulo 2 pi, though as data it is to be given in [-pi, pi].

    Shapes: x is [N, *event_shape], its numbers counted from 0 with the event axes flattened; context is
    [N, *context_shape]. `log_prob` is in nats a row, with respect to length (of the arc, for an angle).

    Parameters:
        support: a span for all numbers, a list of one for each, or a table of some by their index, the rest real.
            A span is "real", "positive", "circle" or [low, high], an end of which may be infinite.
        flow: any explicit density; without angles it has this model's event_shape, with angles [how many are left].
            RealNVP unless told, for a single number Gaussian.
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
        self._line(flow, half_line)
        if len(self.circles):
            given = len(self.lines) + (self.context_shape.numel() if self.context_shape else 0)
            self.torus = Torus(len(self.circles), given, bins, layers, hidden)

    def _line(self, flow: Slot | None, half_line: HalfLine) -> None:
        """The density of the numbers that are no angles, where there are such, and its map."""
        kept = [span for span in self.spans if not span.circle]
        if not kept:
            if flow is not None:
                raise ValueError("every number of a row is an angle, and nothing is left for flow: leave it out")
            return
        self.onto = OntoSpans(kept, self.line_shape, half_line)
        built = flow or (RealNVP if len(kept) > 1 else Gaussian)
        self.flow = fill(built, "flow", self.line_shape, self.context_shape)
        reals = self.flow.support
        if self.flow.measure != "density" or getattr(reals, "base_constraint", reals) is not constraints.real:
            raise ValueError(f"flow: {type(self.flow).__name__} is no density of the reals, its support is {reals}")

    def distribution(self, context: Tensor | None = None) -> SupportedDistribution:
        return SupportedDistribution(self, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """The flow's start from a first batch, of a flow that takes one."""
        if len(self.lines) and hasattr(self.flow, "initialise"):
            u, _ = self.onto.inverse_and_log_det(self.split(x)[0])
            self.flow.initialise(u, context)

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


class SupportedDistribution(RowDistribution):
    """The distribution of `Supported` given a context: batch shape [] without one, [N] with one of N rows."""

    def __init__(self, model: Supported, context: Tensor | None) -> None:
        self._model, self._context = model, context
        self._line: dist.TorchDistribution | None = None
        batch = torch.Size([] if context is None else [len(context)])
        if len(model.lines):
            self._line = model.flow.distribution(context)
            batch = self._line.batch_shape
        super().__init__(batch, model.event_shape)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self._line is None or self._line.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        new = super().expand(batch_shape)
        new._line = None if self._line is None else self._line.expand(new.batch_shape)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        model = self._model
        lines, angles = model.split(value)
        total, u = value.new_zeros(()), lines
        if self._line is not None:
            inside = model.onto.within.check(lines)
            u, log_det = model.onto.inverse_and_log_det(torch.where(inside, lines, model.onto.middle(lines)))
            total = self._line.log_prob(u) + log_det
            total = total.masked_fill(~inside.flatten(-len(model.line_shape)).all(-1), -torch.inf)
        if len(model.circles):
            total = total + model.torus.log_prob(angles, self._given(u, angles.shape[:-1]))
        return total

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return self._draw(sample_shape, "sample")

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self._draw(sample_shape, "rsample")

    def _draw(self, sample_shape: Any, way: str) -> Tensor:
        model, batch = self._model, torch.Size(sample_shape) + self.batch_shape
        like = model._anchor
        u = lines = angles = like.new_empty(*batch, 0)
        if self._line is not None:
            u = getattr(self._line, way)(sample_shape)
            lines, _ = model.onto.forward_and_log_det(u)
        if len(model.circles):
            uniform = torch.rand(*batch, len(model.circles), dtype=like.dtype, device=like.device)
            angles = model.torus.draw(uniform, self._given(u, batch))
        return model.merge(lines, angles)

    def _given(self, u: Tensor, batch: torch.Size) -> Tensor | None:
        """What the angles are conditioned on besides each other: u and the context."""
        parts = [u] if self._line is not None else []
        if self._context is not None and self._model.context_shape is not None:
            parts.append(flat(self._context, self._model.context_shape).expand(*batch, -1))
        return torch.cat(parts, -1) if parts else None
