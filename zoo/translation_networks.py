"""What models from image to image are made of: a U-Net moved by noise, and a critic of patches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from zoo.told import as_image
from zoo.unet import Hourglass, check_halving, colours_last, normed


class ImageTranslator(Hourglass):
    """(noise [N, latent], context) -> [N, *event_shape], unbounded: a U-Net of the context, its blocks moved by noise.

    A context of lower resolution is grown to the size of x first. The noise begins without effect.
    What is beyond an edge is like the edge, so that a translation can't be learned by where a pixel is.

    Shapes: x is [N, channels, height, width] or [N, height, width], the context [N, any, h, w] or [N, h, w], whose
    sides are x's or divide them.

    Parameters:
        channels: of each level, the finest first; a level has half the sides of the one before.
        blocks, heads: residual blocks of each level, and heads of the attention on the coarsest.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017),
        https://arxiv.org/abs/1611.07004
    """

    def __init__(
        self,
        event_shape: torch.Size,
        *,
        context_shape: torch.Size,
        latent: int,
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.event_shape, (colours, *self.sides) = event_shape, as_image(event_shape, "what is made")
        check_channels(channels, blocks)
        check_halving(event_shape, self.sides, channels)
        self.noise = nn.Sequential(nn.Linear(latent, channels[-1]), nn.SiLU())
        self.first = nn.Conv2d(as_image(context_shape, "a context")[0], channels[0], 3, padding=1)
        self._levels(channels, blocks, heads, channels[-1])
        self.norm, self.last = normed(channels[0]), nn.Conv2d(channels[0], colours, 3, padding=1)
        alike_at_edges(self)

    def forward(self, noise: Tensor, context: Tensor) -> Tensor:
        h = self.first(grown(context, self.sides))
        h = self._body(colours_last(h), self.noise(noise))
        return self.last(F.silu(self.norm(h))).reshape(len(noise), *self.event_shape)


class PatchCritic(nn.Module):
    """(x, context) -> [N], the logit of "x is real": the mean over patches of a logit for each, times gain.

    The layers' kernels, as matrices, have spectral norm 1. Without a context_shape it judges x alone, whatever the
    context.

    Parameters:
        channels: of a convolution at the image's own size, and of each that halves it: (32, 64) judges patches of
            10 x 10, and each further level doubles their sides.
        gain: by how much a unit of the last layer counts.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), section 3.2
    """

    def __init__(
        self,
        event_shape: torch.Size,
        *,
        context_shape: torch.Size | None = None,
        channels: Sequence[int] = (32, 64),
        gain: float = 12.0,
    ) -> None:
        super().__init__()
        colours, *self.sides = as_image(event_shape, "what is judged")
        check_channels(channels)
        check_halving(event_shape, self.sides, channels)
        self.beside = 0 if context_shape is None else as_image(context_shape, "a context")[0]
        self.gain = gain
        layers: list[nn.Module] = [nn.Conv2d(colours + self.beside, channels[0], 3, padding=1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.body, self.last = nn.Sequential(*layers), nn.Conv2d(channels[-1], 1, 3, padding=1)
        for layer in (*layers, self.last):
            if isinstance(layer, nn.Conv2d):
                spectral_norm(layer)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.patches(x, context).flatten(1).mean(1)

    def patches(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The logit of each patch, [N, h, w]."""
        return self.last(self._read(x, context)).squeeze(1) * self.gain

    def features(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What the last layer reads, [N, channels * h * w]."""
        return self._read(x, context).flatten(1)

    def _read(self, x: Tensor, context: Tensor | None) -> Tensor:
        planes = x.reshape(len(x), -1, *self.sides)
        if self.beside and context is not None:
            planes = torch.cat([planes, grown(context, self.sides)], 1)
        return self.body(planes)


def grown(context: Tensor, sides: Sequence[int]) -> Tensor:
    """Images [N, planes, h, w] or [N, h, w] as [N, planes, *sides], smooth between the pixels they have."""
    image = context if context.dim() == 4 else context.unsqueeze(1)
    if list(image.shape[-2:]) == list(sides):
        return image
    return F.interpolate(image, tuple(sides), mode="bicubic", align_corners=False)


def alike_at_edges(network: nn.Module) -> None:
    """Have convolutions read beyond an image's edge what is at the edge, and no zeros, which tell where the edge is."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "replicate"


def check_channels(channels: Sequence[int], blocks: int = 1) -> None:
    if not channels or min(channels) < 1 or blocks < 1:
        raise ValueError(
            f"channels, and blocks where there are any, must be at least 1, not {list(channels)} and {blocks}"
        )


def check_sizes(name: str, event_shape: torch.Size, context_shape: torch.Size | None, multiples: bool = True) -> None:
    """Refuse a context that is no image of x's size, nor of one that x's is a multiple of where that will do."""
    if context_shape is None:
        raise ValueError(f"{name} makes an image of an image: give context_shape, the shape of the one it is made of")
    x, context = (as_image(shape, what)[1:] for shape, what in ((event_shape, "x"), (context_shape, "the context")))
    factors = {one / other for one, other in zip(x, context, strict=True)}
    if len(factors) == 1 and (factors == {1.0} or (multiples and next(iter(factors)).is_integer())):
        return
    least = ", or x's be the context's times a whole number" if multiples else ""
    raise ValueError(
        f"{name} was given images of two sizes: x is {x[0]} x {x[1]}, the context {context[0]} x {context[1]}, "
        f"but they must agree{least}"
    )
