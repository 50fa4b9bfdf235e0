"""Deep Boltzmann machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.base import Shape
from zoo.machines import UnitMachine
from zoo.tied_rbm import Pretraining
from zoo.units import Layers


class DeepBoltzmannMachine(UnitMachine):
    """Deep Boltzmann machine: p(x, h1, ..., hL) = exp(x W1 h1 + h1 W2 h2 + ... + biases) / Z, h summed out.

    Shapes: x is [N, *event_shape], flattened to meet W1, [features, hidden[0]]; W2 is [hidden[0], hidden[1]].
    Free energies are in nats: `free_energy_kind` says whether they are exact (every other layer summed in closed form,
    up to 16 units of the others listed) or bounds by mean field. A Gibbs sweep draws the even layers, x among them,
    and then the odd ones. `pretraining` is a stack of RBMs whose fit gives it a start (`take`).

    Parameters:
        hidden: the units of each hidden layer, from x upwards; two or more.

    Reproducible: 8x8 digits, black or white, hidden = (40, 20), seed 0, batches of 20 by `descent`: `pretraining` of 15
    epochs a layer at rates from 0.1, then 60 epochs of `JointDivergence` from 0.05, both falling to 0.001: -19.3 nats a
    row after the first and -18.04 after both, of 450 held out; a bound by mean field, log Z by AIS (error 0.02).

    References:
        Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009), https://proceedings.mlr.press/v5/salakhutdinov09a.html
    """

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None = None, hidden: Sequence[int] = (64, 32)
    ) -> None:
        sizes = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
        if len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden must be two or more positive numbers of units, not {hidden!r}; an RBM has one layer"
            )
        super().__init__(event_shape, context_shape=context_shape, hidden=sum(sizes))
        self.hidden = sizes
        every = (self.features, *sizes)
        self.weights = nn.ParameterList(0.01 * torch.randn(a, b) for a, b in pairwise(every))
        self.biases = nn.ParameterList(torch.zeros(size) for size in every)
        self._ready()

    @property
    def machine(self) -> Layers:
        return Layers(tuple(self.weights), tuple(self.biases))

    def pretraining(self) -> Pretraining:
        """RBMs to be fitted one by one (`inference.stacking.fit_layers`), for `take`."""
        return Pretraining((self.features, *self.hidden)).to(self.device, self.dtype)

    @torch.no_grad()
    def take(self, stack: Pretraining) -> None:
        """Start where the layers of a stack ended."""
        weights, biases = stack.machine()
        for mine, theirs in zip((*self.weights, *self.biases), (*weights, *biases), strict=True):
            mine.copy_(theirs)
        self.visible_mean.copy_(stack.layers[0].visible_mean)
        self.initialised.fill_(True)

    def set_visible_bias(self, bias: Tensor) -> None:
        self.biases[0].copy_(bias)
