"""How the next number of a row is chosen, given the logits of its levels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Choose = Callable[[int, Tensor], Tensor]
"""(i, logits of number i [rows, levels], unnormalised) -> its codes [rows], 0..levels-1; bits may be floats."""


def drawing(temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Choose:
    """Draws from softmax(logits / temperature), cut to the likeliest levels and normalised again.

    Parameters:
        temperature: below 1 the likely become likelier; at 0 the likeliest level is taken.
        top_k: keep so many of the likeliest levels (and those as likely as the last of them).
        top_p: keep the fewest of the likeliest levels whose probabilities come to this together.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie above 0 and at most at 1, not {top_p}")
    if temperature == 0:
        return lambda _, logits: logits.argmax(-1)

    def choose(_: int, logits: Tensor) -> Tensor:
        if temperature != 1:
            logits = (logits - logits.amax(-1, keepdim=True)) / temperature
        if top_k is not None and top_k < logits.shape[-1]:
            least = logits.topk(top_k, -1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if top_p is not None and top_p < 1:
            logits = _nucleus(logits, top_p)
        return draw(logits)

    return choose


def draw(logits: Tensor) -> Tensor:
    """A level for each row, [rows], drawn from softmax(logits); of two levels as floats."""
    if logits.shape[-1] == 2:
        zero, one = logits.unbind(-1)
        probability = (one - zero).sigmoid_()
        return torch.rand_like(probability).lt_(probability)  # a third of the time of torch.bernoulli
    # the first of exponential clocks to ring, each at its level's rate: what multinomial does, in less time
    clocks = torch.empty_like(logits).exponential_()
    return (logits.softmax(-1) / clocks).argmax(-1)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    ordered, order = logits.sort(-1, descending=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability
    kept = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, kept)
