"""Layers of causal self-attention, all places at once or one after the other with keys and values kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention to what came before, then a small network at each place; each adds to what it reads.

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
        On Layer Normalization in the Transformer Architecture (Xiong et al., 2020), https://arxiv.org/abs/2002.04745
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.asked = nn.Linear(width, 3 * width, bias=False)
        self.gathered = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """All places at once, [N, length, width]."""
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(*self.three(h), is_causal=True, dropout_p=dropout)
        h = h + F.dropout(self.together(found), self.dropout, self.training)
        return h + F.dropout(self.through(h), self.dropout, self.training)

    def three(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [N, heads, length, width / heads]."""
        three = self.asked(self.norm1(h)).unflatten(-1, (3, self.heads, h.shape[-1] // self.heads))
        query, key, value = three.unbind(2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def together(self, found: Tensor) -> Tensor:
        """What the heads found, joined, [N, length, width]."""
        return self.gathered(found.transpose(1, 2).flatten(2))

    def through(self, h: Tensor) -> Tensor:
        """The small network at each place."""
        return self.down(F.gelu(self.up(self.norm2(h))))


class Kept:
    """A block at one place after the other: its keys and values of the places so far. Nothing is dropped out.

    The weights are looked up once, and the kept keys lie as the product with a query reads them: at this size a step
    is made of overhead.
    """

    def __init__(self, block: Block, rows: int, length: int) -> None:
        self.block = block
        self.scales = block.norm1.weight, block.norm2.weight
        self.weights = block.asked.weight, block.gathered.weight, block.up.weight, block.down.weight
        self.width = self.scales[0].shape
        size = self.width[0] // block.heads
        self.keys = self.scales[0].new_empty(rows * block.heads, size, length)
        self.values = self.scales[0].new_empty(rows * block.heads, length, size)

    def begin(self, h: Tensor, last: int | None = None) -> Tensor:
        """The first places, [N, k, width], or only the last one of them (`last` = 1), which is told all it needs."""
        query, key, value = self.block.three(h)
        self.keys[:, :, : h.shape[1]] = key.mT.flatten(0, 1)
        self.values[:, : h.shape[1]] = value.flatten(0, 1)
        if last is not None:
            query, h = query[:, :, -last:], h[:, -last:]
        h = h + self.block.together(F.scaled_dot_product_attention(query, key, value, is_causal=last is None))
        return h + self.block.through(h)

    def extend(self, h: Tensor, at: int) -> Tensor:
        """Place number `at`, [N, width]."""
        asked, gathered, up, down = self.weights
        rows, size = self.keys.shape[:2]
        query, key, value = F.linear(F.layer_norm(h, self.width, self.scales[0]), asked).chunk(3, -1)
        self.keys[:, :, at] = key.reshape(rows, size)
        self.values[:, at] = value.reshape(rows, size)
        query = query.reshape(rows, 1, size)
        scores = torch.baddbmm(query[:, :, :1], query, self.keys[:, :, : at + 1], beta=0, alpha=size**-0.5)
        found = torch.bmm(scores.softmax(-1), self.values[:, : at + 1])
        h = h + F.linear(found.view(h.shape), gathered)
        return h + F.linear(F.gelu(F.linear(F.layer_norm(h, self.width, self.scales[1]), up)), down)
