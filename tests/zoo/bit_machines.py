"""Machines of bits small enough to list every state, and their energies term by term."""

from __future__ import annotations

import itertools

import torch

from zoo.boltzmann_machine import BoltzmannMachine
from zoo.deep_boltzmann_machine import DeepBoltzmannMachine
from zoo.machines import UnitMachine

GRID = [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)]


def states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def shaken(model: UnitMachine, seed: int = 0, scale: float = 0.8) -> UnitMachine:
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def negative_energy(model: UnitMachine, s: torch.Tensor) -> torch.Tensor:
    """Term by term, from the parameters as they are named."""
    total = torch.zeros(len(s), dtype=torch.float64)
    if isinstance(model, BoltzmannMachine):
        for (i, j), w in zip(model.coupled.t().tolist(), model.weights.tolist(), strict=True):
            total += w * s[:, i] * s[:, j]
        for i, b in enumerate(model.biases.tolist()):
            total += b * s[:, i]
        return total
    starts = [0, *itertools.accumulate((model.features, *model.hidden))]
    for k, weights in enumerate(w.detach() for w in model.weights):
        for i, j in itertools.product(range(weights.shape[0]), range(weights.shape[1])):
            total += float(weights[i, j]) * s[:, starts[k] + i] * s[:, starts[k + 1] + j]
    for k, bias in enumerate(model.biases):
        for i, b in enumerate(bias.tolist()):
            total += b * s[:, starts[k] + i]
    return total


MACHINES = {
    "all coupled": lambda: BoltzmannMachine(5, hidden=3),
    "no hidden": lambda: BoltzmannMachine((2, 3)),
    "a grid": lambda: BoltzmannMachine(4, hidden=2, pairs=GRID),
    "two layers": lambda: DeepBoltzmannMachine(4, hidden=(3, 2)),
    "three layers": lambda: DeepBoltzmannMachine(3, hidden=(2, 3, 2)),
}


def made(name: str) -> UnitMachine:
    return shaken(MACHINES[name]())


def joint(model: UnitMachine) -> torch.Tensor:
    """log p~(x, h) of every pair of states, [2^features, 2^hidden]."""
    return negative_energy(model, states(model.units)).view(2**model.features, -1)


def rows(model: UnitMachine) -> torch.Tensor:
    return states(model.features).view(-1, *model.event_shape)
