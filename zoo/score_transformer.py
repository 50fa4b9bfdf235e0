"""A small Transformer over the patches of images that hold noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.base import Shape, as_shape
from zoo.conditioners import Declared, conditioner_of
from zoo.score_networks import Attention, TimeEmbedding, zeroed
from zoo.told import NOTHING, as_image


class PatchBlock(nn.Module):
    """Attention among patches, to tokens where there are any, and a small network; the embedding steers each.

    Norms have no parameters of their own; what they are scaled and moved by, and how much of the outcome is added,
    is the embedding's, and is nothing at first.
    """

    def __init__(self, width: int, heads: int, memory: int | None) -> None:
        super().__init__()
        self.patches = Attention(width, heads)
        self.tokens = None if memory is None else Attention(width, heads, memory)
        self.up, self.down = nn.Linear(width, 4 * width), zeroed(nn.Linear(4 * width, width))
        self.moved = zeroed(nn.Linear(width, 4 * width))

    def forward(self, h: Tensor, e: Tensor, tokens: Tensor | None) -> Tensor:
        scale1, shift1, scale2, shift2 = self.moved(e)[:, None].chunk(4, -1)
        h = h + self.patches(torch.addcmul(h + shift1, h, scale1))
        if self.tokens is not None:
            h = h + self.tokens(h, tokens)
        inner = F.layer_norm(h, h.shape[-1:])
        return h + self.down(F.gelu(self.up(torch.addcmul(inner + shift2, inner, scale2))))


class ScoreTransformer(nn.Module):
    """A diffusion Transformer: square patches as tokens, whose attention the time and the context steer.

    Shapes: z is [N, channels, height, width] or [N, height, width], both sides divisible by the patch.

    Parameters:
        patch: side of a patch.
        width, layers, heads: of the network; the heads share the width among them.
        outputs: how many images to put out for each.
        conditioner: a table {"kind": "vector", "image", "tokens" or "attended", ...}, or a
            `zoo.told.Conditioner`; unless told, a context with the axes of an image beside z, any other as a vector.

    References:
        Scalable Diffusion Models with Transformers (Peebles and Xie, 2023), https://arxiv.org/abs/2212.09748
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        outputs: int = 1,
        patch: int = 2,
        width: int = 96,
        layers: int = 4,
        heads: int = 4,
        conditioner: Declared | None = None,
    ) -> None:
        super().__init__()
        shape, context = as_shape(event_shape), as_shape(context_shape)
        self.event_shape, self.outputs, self.patch = shape or torch.Size(), outputs, patch
        self.image = as_image(self.event_shape, "what a ScoreTransformer reads")
        if min(patch, width, layers, outputs) < 1:
            raise ValueError(
                f"patch, width, layers and outputs must be at least 1, "
                f"not patch {patch}, width {width}, layers {layers}, outputs {outputs}"
            )
        if any(side % patch for side in self.image[1:]):
            raise ValueError(f"patches of {patch} x {patch} do not tile {list(self.event_shape)}: take another patch")
        default = "image" if context is not None and len(context) in (2, 3) else "vector"
        self.conditioner = conditioner_of(
            conditioner, context, event_shape=self.event_shape, width=width, default=default
        )
        beside = 0 if self.conditioner is None else self.conditioner.planes
        memory = width if self.conditioner is not None and self.conditioner.attended else None
        area = patch * patch
        self.time = TimeEmbedding(width)
        self.first = nn.Linear(area * (self.image[0] + beside), width)
        self.place = nn.Parameter(torch.empty(self.image[1:].numel() // area, width).normal_(0.0, 0.1))
        self.blocks = nn.ModuleList(PatchBlock(width, heads, memory) for _ in range(layers))
        self.moved = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, area * outputs * self.image[0]))

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        told = NOTHING if self.conditioner is None else self.conditioner(context, given, len(z))
        e, x = self.time(time, told.vector), z.reshape(-1, *self.image)
        h = self._patches(x if told.beside is None else torch.cat([x, told.beside], 1))
        h = self.first(h) + self.place
        for block in self.blocks:
            h = block(h, e, told.tokens)
        scale, shift = self.moved(e)[:, None].chunk(2, -1)
        inner = F.layer_norm(h, h.shape[-1:])
        return self._image(self.last(torch.addcmul(inner + shift, inner, scale)))

    def _patches(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, patches, C * patch * patch]."""
        return F.pixel_unshuffle(x, self.patch).flatten(2).mT

    def _image(self, h: Tensor) -> Tensor:
        """The way back, [N, outputs, *event_shape]."""
        rows, columns = (side // self.patch for side in self.image[1:])
        x = F.pixel_shuffle(h.mT.unflatten(2, (rows, columns)), self.patch)
        return x.reshape(len(h), self.outputs, *self.event_shape)
