"""Self-attention among the places of an image, as GANs have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """h + gate W_o sum_j a_ij W_v h_j, a_i = softmax_j(W_q h_i . W_k h_j) over places i, j; the gate begins at 0.

    Written out, as the fused attention of torch cannot be differentiated twice, which gradient penalties do.

    Shapes: [N, channels, height, width] to the same.

    References:
        Self-Attention Generative Adversarial Networks (Zhang et al., 2019), https://arxiv.org/abs/1805.08318
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = (nn.Conv2d(channels, inner[0], 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, inner[1], 1, bias=False)
        self.gathered = nn.Conv2d(inner[1], channels, 1, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        query, key, value = (part(h).flatten(2) for part in (self.query, self.key, self.value))
        share = (query.mT @ key).softmax(2)
        found = (value @ share.mT).unflatten(2, h.shape[2:])
        return h + self.gate * self.gathered(found)


class AttentionAfter(nn.Module):
    """A block of self-attention on the map after one halving, of those with these channels; None: on no map."""

    def __init__(self, halving: int | None, channels: Sequence[int]) -> None:
        super().__init__()
        if halving is not None and not 1 <= halving <= len(channels):
            raise ValueError(f"attention stands after a halving, 1 to {len(channels)} here, not {halving}")
        self.halving = halving
        self.block = nn.Identity() if halving is None else SelfAttention(channels[halving - 1])

    def forward(self, h: Tensor, halving: int) -> Tensor:
        return self.block(h) if halving == self.halving else h
