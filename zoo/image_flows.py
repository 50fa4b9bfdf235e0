"""Flows over images of several scales: what `Glow` and `ImageRealNVP` have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.base import Explicit, Shape
from zoo.flows import base_of
from zoo.image_parts import Chain, ChannelCoupling, Nets, Part
from zoo.networks import flat
from zoo.slots import Slot
from zoo.transforms import FlowDistribution, Transform


def squeeze(x: Tensor) -> Tensor:
    """[N, C, H, W] to [N, 4 C, H / 2, W / 2]: each 2x2 square of pixels becomes channels."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """The opposite of `squeeze`."""
    return F.pixel_shuffle(x, 2)


class Scale(Part):
    """A scale of a flow: parts on pixels, parts on squeezed pixels, half factored out, the other half to `rest`.

    Towards the base: y through `fine`, squeezed, through `coarse`; one half of the channels is then left with a
    Gaussian given the other, N(t, exp(s)) (the coupling `prior`, which makes it standard), and the other half goes
    through the scales of `rest`. All are put together again to the shape of y, and the base knows no scales.
    """

    def __init__(self, fine: Chain, coarse: Chain, prior: ChannelCoupling | None, rest: Scale | None) -> None:
        super().__init__()
        self.fine, self.coarse, self.prior, self.rest = fine, coarse, prior, rest

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, total = squeeze(x), x.new_zeros(len(x))
        if self.rest is not None and self.prior is not None:
            kept, gone = h.chunk(2, 1)
            kept, total = self.rest.forward_and_log_det(kept, context)
            h, log_det = self.prior.forward_and_log_det(torch.cat([kept, gone], 1), context)
            total = total + log_det
        h, coarse = self.coarse.forward_and_log_det(h, context)
        y, fine = self.fine.forward_and_log_det(unsqueeze(h), context)
        return y, total + coarse + fine

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, fine = self.fine.inverse_and_log_det(y, context)
        h, total = self.coarse.inverse_and_log_det(squeeze(h), context)
        total = total + fine
        if self.rest is not None and self.prior is not None:
            h, log_det = self.prior.inverse_and_log_det(h, context)
            kept, gone = h.chunk(2, 1)
            kept, rest = self.rest.inverse_and_log_det(kept, context)
            h, total = torch.cat([kept, gone], 1), total + log_det + rest
        return unsqueeze(h), total

    @torch.no_grad()
    def start(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.coarse.start(squeeze(self.fine.start(y, context)), context)
        if self.rest is not None and self.prior is not None:
            kept, gone = self.prior.start(h, context).chunk(2, 1)
            h = torch.cat([self.rest.start(kept, context), gone], 1)
        return unsqueeze(h)


Parts = Callable[[torch.Size], list[Part]]


def nested(shape: torch.Size, count: int, nets: Nets, fine: Parts, coarse: Parts) -> Scale:
    """`count` scales, one inside the other, for images of this shape; `fine` and `coarse` build the parts of each."""
    channels, height, width = shape
    squeezed = torch.Size([4 * channels, height // 2, width // 2])
    prior, rest = None, None
    if count > 1:
        prior = ChannelCoupling(4 * channels, 1, nets)
        rest = nested(torch.Size([2 * channels, *squeezed[1:]]), count - 1, nets, fine, coarse)
    return Scale(Chain(fine(shape)), Chain(coarse(squeezed)), prior, rest)


class Images(Transform):
    """A part as a transform of rows under any batch axes, [..., C, H, W], each with its row of the context."""

    def __init__(self, part: Part, context_shape: torch.Size | None) -> None:
        super().__init__()
        self.part, self.context_shape = part, context_shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._rows(self.part.forward_and_log_det, x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._rows(self.part.inverse_and_log_det, y, context)

    def _rows(self, go: Callable, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = x.shape[:-3]
        if not x.numel():  # torch neither shuffles nor chunks what is empty
            return x, x.new_zeros(batch)
        if context is not None and self.context_shape is not None:
            context = flat(context, self.context_shape)
            context = context.expand(*batch, context.shape[-1]).reshape(-1, context.shape[-1])
        value, log_det = go(x.reshape(-1, *x.shape[-3:]), context)
        return value.reshape(x.shape), log_det.reshape(batch)


class ImageFlow(Explicit):
    """A flow over images of several scales; a family says what each is made of (`_assemble`).

    Shapes: x is [N, channels, height, width]; context is [N, *context_shape]. `log_prob` is in nats a row.
    """

    started: Tensor
    transform: Images

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None, base: Slot | None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"{type(self).__name__} models images, of shape [channels, height, width], not {list(self.event_shape)}"
            )
        self.base = base_of(base, self)
        self.register_buffer("started", torch.tensor(False))

    def _assemble(self, count: int, nets: Nets, fine: Parts, coarse: Parts) -> None:
        """Make the transform, of `count` scales."""
        check_sizes(type(self).__name__, self.event_shape, count)
        self.transform = Images(nested(self.event_shape, count, nets, fine, coarse), self.context_shape)

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start every `ActNorm` from a first batch, once: later calls, and those on a loaded model, do nothing."""
        if self.started:
            return
        if not torch.isfinite(x).all():
            raise ValueError(f"{type(self).__name__} takes its start from x, which is not finite")
        if context is not None and self.context_shape is not None:
            context = flat(context, self.context_shape)
        self.transform.part.start(x.to(self.started.device, self.dtype), context)
        self.started.fill_(True)


def check_sizes(name: str, shape: torch.Size, count: int) -> None:
    """Refuse what can't be squeezed so many times."""
    if count < 1:
        raise ValueError(f"scales must be at least 1, not {count}")
    _, height, width = shape
    factor = 2**count
    if height % factor or width % factor:
        few = max((n for n in range(count) if height % 2**n == 0 and width % 2**n == 0), default=0)
        instead = f"take scales={few}, or pad the images" if few else "pad the images to even sizes"
        raise ValueError(
            f"{name} halves height and width at each of its {count} scales, and so they must be multiples of "
            f"{factor}, not {height} x {width}: {instead}"
        )
