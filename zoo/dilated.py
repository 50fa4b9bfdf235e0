"""Causal convolutions, each reaching further back than the one before, all at once or sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DilatedNetwork(nn.Module):
    """Gated causal convolutions with residual and skip connections, [T, N, channels] to [T, N, skip].

    Layer l reads its input now and `kernel - 1` times before, `dilations[l]` steps apart; before the first step
    there are zeros. What is put out at t depends on the last `reach` inputs, that at t among them. Time is the
    first axis, so that an earlier input is a contiguous block and a convolution so many plain products.

    Parameters:
        dilations: how far apart the steps are that each layer reads.
        kernel: how many steps a layer reads.
        context: how many values of context are added (through a weight) in every gate; 0 for none.
    """

    def __init__(
        self, *, channels: int, skip: int, dilations: Sequence[int], kernel: int = 2, context: int = 0
    ) -> None:
        super().__init__()
        self.dilations, self.taps = list(dilations), kernel - 1
        layers = len(self.dilations)

        def weight(fan_in: int, *shape: int) -> nn.Parameter:
            bound = math.sqrt(1 / fan_in)
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        # The taps of a layer, the oldest first; tanh's half of the gate comes first.
        self.past = weight(kernel * channels, layers, self.taps, channels, 2 * channels)
        self.now = weight(kernel * channels, layers, channels, 2 * channels)
        self.bias = nn.Parameter(torch.zeros(layers, 2 * channels))
        self.residual = weight(channels, layers - 1, channels, channels)
        self.skip = weight(channels, layers, channels, skip)
        self.context_layer = nn.Linear(context, layers * 2 * channels, bias=False) if context else None

    @property
    def reach(self) -> int:
        """How many inputs an output depends on."""
        return 1 + self.taps * sum(self.dilations)

    def forward(self, h: Tensor, context: Tensor | None = None, *, met: list[Tensor] | None = None) -> Tensor:
        """All steps at once; what each layer reads, [T * N, channels], is appended to `met`."""
        steps, rows, _ = h.shape
        h, shift, total = h.flatten(0, 1), self._shift(context), None
        past, now, bias = self.past.unbind(), self.now.unbind(), self.bias.unbind()
        residual, skip = self.residual.unbind(), self.skip.unbind()
        for layer, dilation in enumerate(self.dilations):
            if met is not None:
                met.append(h)
            gate = torch.addmm(bias[layer], h, now[layer])
            for tap, weight in enumerate(past[layer].unbind()):
                back = (self.taps - tap) * dilation
                if back < steps:
                    gate = torch.addmm(gate, F.pad(h[: -back * rows], (0, 0, back * rows, 0)), weight)
            if shift is not None:
                gate = (gate.view(steps, rows, gate.shape[-1]) + shift[layer]).flatten(0, 1)
            a, b = gate.chunk(2, -1)
            z = a.tanh() * b.sigmoid()
            total = z @ skip[layer] if total is None else torch.addmm(total, z, skip[layer])
            if layer < len(residual):
                h = torch.addmm(h, z, residual[layer])
        assert total is not None
        return total.view(steps, rows, total.shape[-1])

    def _shift(self, context: Tensor | None) -> Tensor | None:
        """What the context adds in the gates, [layers, N, 2 * channels]."""
        if self.context_layer is None or context is None:
            return None
        return self.context_layer(context).unflatten(-1, self.bias.shape).transpose(0, 1)

    @torch.no_grad()
    def stepper(self, before: Tensor, context: Tensor | None = None) -> Stepper:
        """The network as it stands after the inputs `before`, [T, N, channels], T from 0 up."""
        met: list[Tensor] = []
        steps, rows, channels = before.shape
        if steps:
            self(before, context, met=met)
        memory = before.new_zeros(self.taps * sum(self.dilations), rows, channels)
        start = 0
        for h, dilation in zip(met, self.dilations, strict=False):
            length = self.taps * dilation
            kept = h.view(steps, rows, channels)[-length:]
            slots = (torch.arange(steps - len(kept), steps, device=h.device) % length) + start
            memory[slots] = kept
            start += length
        shift = self._shift(context)
        offset = self.bias[:, None] if shift is None else self.bias[:, None] + shift
        return Stepper(self, memory, offset, steps)


class Stepper:
    """A `DilatedNetwork` that goes on step by step: in each layer a queue of the inputs that it will still read.

    The queues lie one after the other in `memory`; step t of a queue of length q is in its slot t mod q. What the
    layers make of the past is known before a step begins, and is computed for all of them in one product.

    References:
        Fast Wavenet Generation Algorithm (Le Paine et al., 2016), https://arxiv.org/abs/1611.09482
    """

    def __init__(self, network: DilatedNetwork, memory: Tensor, offset: Tensor, time: int) -> None:
        layers, taps, channels, width = network.past.shape
        rows = memory.shape[1]
        self._memory, self._time, self._offset = memory, time, offset.expand(layers, rows, width)
        lengths = torch.tensor([taps * dilation for dilation in network.dilations], device=memory.device)
        self._lengths, self._starts = lengths[:, None], (lengths.cumsum(0) - lengths)[:, None]
        # slot (t + d j) mod q of a queue that is d taps long holds the input of t - d (taps - j)
        self._ahead = torch.arange(taps, device=memory.device) * lengths[:, None] // taps
        self._past, self._skip = network.past.flatten(1, 2), network.skip.flatten(0, 1)
        self._gates = memory.new_empty(layers, rows, width)
        self._units = memory.new_empty(rows, layers, channels)
        self._inputs = memory.new_empty(layers, rows, channels)
        halves = [gate.chunk(2, -1) for gate in self._gates]
        views = zip(self._gates, halves, self._units.unbind(1), self._inputs, network.now, strict=True)
        self._layers = [(gate, a, b, unit, h, now) for gate, (a, b), unit, h, now in views]
        self._residual = list(zip(network.residual, self._inputs[1:], strict=True))

    @torch.no_grad()
    def __call__(self, h: Tensor) -> Tensor:
        """The output at the next step, [N, skip], given its input [N, channels]."""
        slots = (self._time + self._ahead) % self._lengths + self._starts
        layers, taps = slots.shape
        past = self._memory.index_select(0, slots.flatten()).unflatten(0, (layers, taps))
        torch.baddbmm(self._offset, past.transpose(1, 2).flatten(2), self._past, out=self._gates)
        self._inputs[0] = h
        for layer, (gate, a, b, unit, read, now) in enumerate(self._layers):
            gate.addmm_(read, now)
            torch.mul(a.tanh_(), b.sigmoid_(), out=unit)
            if layer < len(self._residual):
                weight, following = self._residual[layer]
                torch.addmm(read, unit, weight, out=following)
        self._memory.index_copy_(0, slots[:, 0], self._inputs)
        self._time += 1
        return self._units.flatten(1) @ self._skip
