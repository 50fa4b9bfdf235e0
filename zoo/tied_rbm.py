"""RBMs that read a layer twice: how the layers of a deep Boltzmann machine are fitted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.units import smoothed_mean
from zoo.visible_bernoulli import Bits
from zoo.visible_units import bits


class TiedRBM(nn.Module):
    """An RBM with copies of its visible or hidden layer, which share their weights and biases.

    Shapes: weights are [features, hidden]; a row is the copies of the visible layer, [N, visible_copies * features].
    """

    support = constraints.boolean
    visible_mean: Tensor

    def __init__(self, features: int, hidden: int, visible_copies: int = 1, hidden_copies: int = 1) -> None:
        super().__init__()
        self.event_shape = torch.Size([features * visible_copies])
        self.visible_copies, self.hidden_copies = visible_copies, hidden_copies
        self.weights = nn.Parameter(0.01 * torch.randn(features, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(features))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("visible_mean", torch.full((features,), 0.5))

    @property
    def couplings(self) -> Bits:
        weights = self.weights.repeat(self.visible_copies, self.hidden_copies)
        biases = self.visible_bias.repeat(self.visible_copies), self.hidden_bias.repeat(self.hidden_copies)
        return Bits(weights, *biases)

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(x)

    @torch.no_grad()
    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.couplings.gibbs_step(x)

    def start(self, n: int) -> Tensor:
        return bits(self.visible_mean.repeat(self.visible_copies).expand(n, -1))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the visible biases to the log-odds of the rows' means."""
        self.visible_mean.copy_(smoothed_mean(x[:, : len(self.visible_mean)]))
        self.visible_bias.copy_(self.visible_mean.logit())

    @torch.no_grad()
    def read(self, x: Tensor) -> Tensor:
        """A draw of one copy of the hidden layer given a row, [N, hidden]."""
        return bits(self.couplings.hidden(x)[:, : len(self.hidden_bias)])


class Pretraining(nn.Module):
    """The layers of a deep Boltzmann machine, each an RBM to be fitted to draws of the one below.

    In the machine each hidden layer is driven from both sides, in the stack from one: so the first RBM has its visible
    layer twice, the last its hidden layer, and those between weights of twice the size.

    Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009), https://proceedings.mlr.press/v5/salakhutdinov09a.html
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.event_shape = torch.Size([sizes[0]])
        self.layers: Any = nn.ModuleList(
            TiedRBM(a, b, 2 if k == 0 else 1, 2 if k == last else 1) for k, (a, b) in enumerate(pairwise(sizes))
        )

    @torch.no_grad()
    def upward(self, x: Tensor, layer: int) -> Tensor:
        """Draws of what layer `layer` is to model, from rows x [N, ...] up."""
        rows = x.flatten(1).repeat(1, 2).to(self.layers[0].weights.dtype)
        for below in self.layers[:layer]:
            rows = below.read(rows)
        return rows

    def begin(self, layer: int) -> bool:
        """Layers start as they are."""
        return False

    @torch.no_grad()
    def machine(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases of the deep machine; a layer's bias is the mean of what the RBMs about it have."""
        last = len(self.layers) - 1
        weights = [m.weights if k in (0, last) else m.weights / 2 for k, m in enumerate(self.layers)]
        above, below = [m.visible_bias for m in self.layers], [m.hidden_bias for m in self.layers]
        inner = [(a + b) / 2 for a, b in zip(above[1:], below[:-1], strict=True)]
        return weights, [above[0], *inner, below[-1]]
