"""What a network puts out for one number of a few levels, read as the logits of the levels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Output(Protocol):
    """One way to make probabilities of levels 0..levels-1 from `size` values of a network."""

    size: int

    def logits(self, values: Tensor) -> Tensor:
        """[..., size] to [..., levels], unnormalised."""
        ...

    def log_prob(self, values: Tensor, codes: Tensor) -> Tensor:
        """log p of codes [...] under values [..., size], in nats."""
        ...


class BitOutput:
    """One value, the log-odds of a one."""

    size = 1

    def logits(self, values: Tensor) -> Tensor:
        return F.pad(values, (1, 0))

    def log_prob(self, values: Tensor, codes: Tensor) -> Tensor:
        bits = codes.to(values.dtype)
        return -F.binary_cross_entropy_with_logits(values.squeeze(-1), bits, reduction="none")


class LevelOutput:
    """A logit for each level."""

    def __init__(self, levels: int) -> None:
        self.size = levels

    def logits(self, values: Tensor) -> Tensor:
        return values

    def log_prob(self, values: Tensor, codes: Tensor) -> Tensor:
        return values.log_softmax(-1).gather(-1, codes.long().unsqueeze(-1)).squeeze(-1)


class LogisticOutput:
    """A mixture of logistic distributions over [-1, 1], each level the mass of its interval, the ends all beyond them.

    For each component there is a logit, a mean and a log scale. Near levels are near in probability, and 256 of
    them cost a few values.

    References:
        PixelCNN++ (Salimans et al., 2017), https://arxiv.org/abs/1701.05517
    """

    log_scales = (-7.0, 7.0)
    """Beyond these a scale makes no difference that floats could hold."""

    def __init__(self, levels: int, mixture: int) -> None:
        if mixture < 1:
            raise ValueError(f"mixture must be at least 1, not {mixture}")
        self.levels, self.mixture, self.size = levels, mixture, 3 * mixture

    def logits(self, values: Tensor) -> Tensor:
        codes = torch.arange(self.levels, device=values.device)
        return self.log_prob(values.unsqueeze(-2), codes)

    def log_prob(self, values: Tensor, codes: Tensor) -> Tensor:
        weights, means, log_scales = values.chunk(3, -1)
        inverse = (-log_scales.clamp(*self.log_scales)).exp()
        code = codes.unsqueeze(-1).to(values.dtype)
        gap = 2 / (self.levels - 1)
        above = ((code + 0.5) * gap - 1 - means) * inverse
        below = above - gap * inverse
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which keeps its digits in both tails.
        top, bottom = code == self.levels - 1, code == 0
        upper = F.logsigmoid(above).masked_fill(top, 0.0)
        lower = F.logsigmoid(-below).masked_fill(bottom, 0.0)
        between = (-torch.expm1(-gap * inverse)).log().masked_fill(top | bottom, 0.0)
        return (weights.log_softmax(-1) + upper + lower + between).logsumexp(-1)


def output_for(levels: int, mixture: int | None) -> Output:
    """The mixture of logistics that was asked for; else log-odds for bits, and a logit a level."""
    if mixture is not None:
        return LogisticOutput(levels, mixture)
    return BitOutput() if levels == 2 else LevelOutput(levels)
