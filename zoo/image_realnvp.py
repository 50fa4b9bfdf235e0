"""RealNVP for images: couplings on checkerboards and on channels, at several scales."""

from __future__ import annotations

import torch

from zoo.base import Shape
from zoo.image_flows import ImageFlow
from zoo.image_parts import ActNorm, ChannelCoupling, CheckerboardCoupling, Nets, Part
from zoo.slots import Slot


class ImageRealNVP(ImageFlow):
    """A flow over images: x = f(z; context), p(x) = p(z) |det dz/dx|, z from a base.

    Each scale takes `couplings` affine couplings that move the black and the white squares of a checkerboard in
    turn, squeezes 2x2 pixels into channels, and takes as many that move one half of the channels and the other in
    turn; half of the channels is then left with a Gaussian given the other half, with which the next scale goes on.
    An actnorm before each coupling stands where the paper has batch normalisation: a row's density depends on no
    other row. The first batch of a fit starts the actnorms (`initialise`); before that they are the identity.

    Shapes: x is [N, channels, height, width], height and width multiples of 2^scales; context is
    [N, *context_shape] and shifts the hidden channels of every coupling's network. `log_prob` is in nats a row;
    scoring and sampling cost the same.

    Parameters:
        scales: how often the images are squeezed.
        couplings: at each scale so many on checkerboards, and as many on channels.
        hidden: channels inside each coupling's network.
        blocks: residual blocks of each network.
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
        scales: int = 2,
        couplings: int = 4,
        hidden: int = 64,
        blocks: int = 1,
        clamp: float = 2.0,
        base: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, base=base)
        if couplings < 1:
            raise ValueError(f"couplings must be at least 1, not {couplings}")

        def fine(shape: torch.Size) -> list[Part]:
            pairs = [(CheckerboardCoupling(shape, i, nets), ActNorm(shape[0])) for i in range(couplings)]
            return [part for pair in pairs for part in pair]

        def coarse(shape: torch.Size) -> list[Part]:
            pairs = [(ChannelCoupling(shape[0], i, nets), ActNorm(shape[0])) for i in range(couplings)]
            return [part for pair in pairs for part in pair]

        nets = Nets(hidden, blocks, clamp, self.context_shape)
        self._assemble(scales, nets, fine, coarse)
