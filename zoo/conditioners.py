"""How a context enters a score network: as a vector, as an image beside the input, as tokens that are read.

A conditioner turns contexts [N, *context_shape] into what the network is `Told`. Of rows whose context is not given it
tells something learned instead, so that one network knows both p(x | context) and p(x). A table
{"kind": "tokens", "levels": 64} declares one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.class_context import ClassContext, LinearContext
from zoo.declared import declared
from zoo.told import Conditioner, Told, as_image, known


class VectorContext(Conditioner):
    """Any context of numbers as one vector, by a small network: a class (one-hot), measurements.

    Shapes: context is [N, *context_shape]; told is a vector [N, width].
    """

    def __init__(self, context_shape: torch.Size, *, event_shape: torch.Size, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(context_shape.numel(), width), nn.SiLU(), nn.Linear(width, width))
        self.not_told = nn.Parameter(torch.zeros(width))

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        told = None if context is None else self.network(context.flatten(1).to(self.not_told.dtype))
        return Told(vector=known(told, self.not_told, given, rows))


class ImageContext(Conditioner):
    """An image beside the image: of a lower resolution (grown to its size), an edge map, a part of it.

    Shapes: context is [N, channels, h, w] or [N, h, w]; told are its channels, and a plane that says if it is given.

    References:
        Image Super-Resolution via Iterative Refinement (Saharia et al., 2021), https://arxiv.org/abs/2104.07636
    """

    def __init__(self, context_shape: torch.Size, *, event_shape: torch.Size, width: int) -> None:
        super().__init__()
        channels = as_image(context_shape, "the context of an image conditioner")[0]
        self.planes, self.size = channels + 1, tuple(as_image(event_shape, "x beside an image")[1:])
        self.not_told = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        like, image = self.not_told, None
        if context is not None:
            image = context.to(like.dtype).reshape(rows, -1, *context.shape[-2:])
            if image.shape[-2:] != self.size:
                image = F.interpolate(image, self.size, mode="bilinear")
        flag = like.new_full((rows,), float(context is not None)) if given is None else given.to(like.dtype)
        shown = known(image, like.expand(-1, *self.size), given, rows)
        return Told(beside=torch.cat([shown, flag.view(-1, 1, 1, 1).expand(-1, -1, *self.size)], 1))


class TokenContext(Conditioner):
    """Text, read by a Transformer encoder whose output, its mean over the places, is one vector.

    Shapes: context is [N, length], codes 0..levels-1; told is a vector [N, width].

    Parameters:
        levels: how many tokens there are.
        layers, heads: of the encoder.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        context_shape: torch.Size,
        *,
        event_shape: torch.Size,
        width: int,
        levels: int,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if len(context_shape) != 1:
            raise ValueError(f"a context of tokens is a row of codes, [length], not {list(context_shape)}")
        if min(levels, layers, heads) < 1 or width % heads:
            raise ValueError(
                f"levels, layers and heads must be at least 1, and heads divide the width {width} of what is told, "
                f"not levels {levels}, layers {layers}, heads {heads}"
            )
        self.levels = levels
        self.token = nn.Embedding(levels, width)
        self.place = nn.Parameter(torch.empty(context_shape[0], width).normal_(0.0, 0.1))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.not_told = nn.Parameter(torch.zeros(width))

    def read(self, context: Tensor) -> Tensor:
        """What the encoder makes of each token, [N, length, width]."""
        codes = context.long()
        if context.is_floating_point() and not torch.equal(codes.to(context.dtype), context):
            raise ValueError("the context holds numbers between codes, but tokens are whole numbers")
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.levels):
            raise ValueError(
                f"the context holds codes {int(codes.min())} to {int(codes.max())}, but they are 0 to {self.levels - 1}"
            )
        h = self.token(codes) + self.place
        for layer in self.layers:
            h = layer(h)
        return self.norm(h)

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        told = None if context is None else self.read(context).mean(1)
        return Told(vector=known(told, self.not_told, given, rows))


class AttendedTokens(TokenContext):
    """The same, and the network also attends to each token by itself.

    References:
        High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022),
        https://arxiv.org/abs/2112.10752
    """

    attended = True

    def forward(self, context: Tensor | None, given: Tensor | None, rows: int) -> Told:
        read = None if context is None else self.read(context)
        told = None if read is None else read.mean(1)
        tokens = known(read, self.not_told.expand(self.place.shape), given, rows)
        return Told(vector=known(told, self.not_told, given, rows), tokens=tokens)


Declared = Conditioner | Callable[..., Conditioner] | Mapping[str, Any] | str
"""What the place of a conditioner takes: a built one, what builds one, or its name or table."""
CONDITIONERS: Mapping[str, type[Conditioner]] = {
    "linear": LinearContext,
    "classes": ClassContext,
    "vector": VectorContext,
    "image": ImageContext,
    "tokens": TokenContext,
    "attended": AttendedTokens,
}
GIVEN = ("context_shape", "event_shape", "width")


def conditioner_of(
    written: Declared | None,
    context_shape: torch.Size | None,
    *,
    event_shape: torch.Size,
    width: int,
    default: str = "vector",
) -> Conditioner | None:
    """The conditioner of a network, built if need be; None where there is no context."""
    if context_shape is None:
        if written is not None:
            raise ValueError("a conditioner needs a context: give context_shape")
        return None
    if isinstance(written, Conditioner):
        return written
    shapes: dict[str, Any] = {"event_shape": event_shape, "width": width}
    maker = written if callable(written) else declared("conditioner", written or default, CONDITIONERS, given=GIVEN)
    conditioner = maker(context_shape, **shapes)
    if not isinstance(conditioner, Conditioner):
        raise TypeError(f"conditioner must be a Conditioner, or build one, not {type(conditioner).__name__}")
    return conditioner
