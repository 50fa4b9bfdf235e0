"""Glow: a flow over images, of invertible convolutions and couplings at several scales."""

from __future__ import annotations

import torch

from zoo.base import Shape
from zoo.image_flows import ImageFlow
from zoo.image_parts import ActNorm, ChannelCoupling, InvertibleConvolution, Nets, Part
from zoo.slots import Slot


class Glow(ImageFlow):
    """A flow over images: x = f(z; context), p(x) = p(z) |det dz/dx|, z from a base.

    Each scale squeezes 2x2 pixels into channels and then takes `steps` times an actnorm, an invertible 1x1
    convolution and an affine coupling; half of the channels is then left with a Gaussian given the other half,
    with which the next scale goes on. The first batch of a fit starts the actnorms (`initialise`); before that
    they are the identity.

    Shapes: x is [N, channels, height, width], height and width multiples of 2^scales; context is
    [N, *context_shape] and shifts the hidden channels of every coupling's network. `log_prob` is in nats a row;
    scoring and sampling cost the same but for two triangular solves a step.

    Parameters:
        scales: how often the images are squeezed.
        steps: actnorm, convolution and coupling, so many times at each scale.
        hidden: channels inside each coupling's network.
        blocks: residual blocks of each network.
        clamp: the largest log-scale of one coupling, approached smoothly.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        scales: int = 2,
        steps: int = 4,
        hidden: int = 64,
        blocks: int = 1,
        clamp: float = 2.0,
        base: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, base=base)
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")

        def coarse(shape: torch.Size) -> list[Part]:
            return [part for _ in range(steps) for part in _step(shape[0], nets)]

        nets = Nets(hidden, blocks, clamp, self.context_shape)
        self._assemble(scales, nets, _nothing, coarse)


def _step(channels: int, nets: Nets) -> list[Part]:
    """A step of the flow, from the base to the images; scoring meets the actnorm first."""
    return [ChannelCoupling(channels, 1, nets), InvertibleConvolution(channels), ActNorm(channels)]


def _nothing(shape: torch.Size) -> list[Part]:
    return []
