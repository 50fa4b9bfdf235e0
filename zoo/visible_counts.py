"""Visible units that are counts of words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.visible_units import Couplings, VisibleUnits


@dataclass(frozen=True)
class Words(Couplings):
    """-E(x, h) = x W h + b x + |x| c h + log(|x|! / prod x_v!), for counts x_v of |x| words in all."""

    def shown(self, x: Tensor) -> Tensor:
        return x.to(self.weights.dtype)

    def load(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True).to(self.weights.dtype)

    def logits(self, x: Tensor) -> Tensor:
        return torch.addmm(self.load(x) * self.hidden_bias, self.shown(x), self.weights)

    def log_measure(self, x: Tensor) -> Tensor:
        counts = self.shown(x)
        return (counts.sum(1) + 1).lgamma() - (counts + 1).lgamma().sum(1)

    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        lengths = like.sum(1, keepdim=True).long()
        longest = int(lengths.max()) if len(like) else 0
        counts = field.new_zeros(field.shape)
        if longest:
            words = torch.multinomial(field.softmax(1), longest, replacement=True)
            within = torch.arange(longest, device=field.device) < lengths
            counts.scatter_add_(1, words, within.to(counts.dtype))
        return counts.to(like.dtype)

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        return field.softmax(1) * self.load(like)

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        return field.logsumexp(1) * self.load(like)[:, 0]


class ReplicatedSoftmaxUnits(VisibleUnits):
    """Counts of words: given h, each of a document's words is drawn from softmax(b + W h).

    The hidden biases count once a word. A document's number of words is given: likelihoods are those of the counts
    given it, and documents of one length share log Z. A row of x is a document, its numbers those of each word.

    Parameters:
        length: words in each of the model's own draws.

    References:
        Replicated Softmax: an Undirected Topic Model (Salakhutdinov and Hinton, 2009)
    """

    support = constraints.nonnegative_integer

    def __init__(self, features: int, length: int = 50) -> None:
        super().__init__(features)
        if not isinstance(length, int) or length < 1:
            raise ValueError(f"length must be a positive number of words, not {length!r}")
        self.length = length

    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Words:
        return Words(weights, visible_bias, hidden_bias)

    def resting(self) -> Tensor:
        return torch.full((self.features,), 1 / self.features)

    def means(self, x: Tensor) -> Tensor:
        """The words' shares, as if each had been seen once more."""
        counts = x.sum(0) + 1.0
        return counts / counts.sum()

    def bias(self, mean: Tensor) -> Tensor:
        return mean.log()

    def form(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True)

    def blank(self) -> Tensor:
        row = torch.zeros(1, self.features)
        row[0, 0] = self.length
        return row
