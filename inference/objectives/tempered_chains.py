"""Chains for contrastive divergence that wander at higher temperatures and swap rows on their way down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.objectives.contrastive_divergence import check_own, swept
from inference.protocols import name_of


class TemperedChains(nn.Module):
    """Parallel tempering: persistent chains at `temperatures` places of a path from a base to the model.

    The path is that of `inference.ais`, `annealing()`: at the first place rows are independent draws, at the last they
    are the model's, and these are given to the gradient. After each sweep rows of neighbouring places a and b swap with
    probability min(1, exp(F_a(x_a) + F_b(x_b) - F_a(x_b) - F_b(x_a))), which leaves the product of the places'
    distributions as it is; so a chain caught in one mode of the model is freed where there are none.

    Parameters:
        count: chains at each temperature.
        temperatures: places on the path, the base and the model among them.

    References:
        Tempered Markov Chain Monte Carlo for Training of Restricted Boltzmann Machines (Desjardins, Courville, Bengio,
        Vincent and Delalleau, 2010), https://proceedings.mlr.press/v9/desjardins10a.html
    """

    state: Tensor

    def __init__(self, count: int = 100, temperatures: int = 10) -> None:
        super().__init__()
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"count must be a positive number of chains, not {count!r}")
        if not isinstance(temperatures, int) or temperatures < 2:
            raise ValueError(f"temperatures must be a whole number of at least 2, not {temperatures!r}")
        self.count, self.temperatures = count, temperatures
        self.register_buffer("state", torch.empty(0))

    def check(self, model: Any, x: Tensor) -> None:
        """Refuse a model without a path, and rows whose machines are not that of the chains."""
        if not hasattr(model, "annealing"):
            raise TypeError(f"{name_of(model)} offers no annealing(), the path that tempered chains are at")
        check_own(model, x)

    def prepare(self, model: Any, steps: int) -> None:
        with torch.no_grad():
            energies = self._energies(model)
            self.state = torch.stack([swept(energy, model.start(self.count), steps) for energy in energies])

    def rows(self, model: Any, x: Tensor, steps: int) -> Tensor:
        """The rows at the model's own temperature as they are; the chains then go on by so many sweeps and swaps."""
        now = self.state
        with torch.no_grad():
            energies = self._energies(model)
            for _ in range(steps):
                moved = [energy.gibbs_step(rows) for energy, rows in zip(energies, self.state, strict=True)]
                self.state = swapped(energies, torch.stack(moved))
        return now[-1]

    def contrast(self, model: Any, x: Tensor, steps: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
        """Gap and gradients against `rows`."""
        gap, gradients, _ = model.contrast(x, self.rows(model, x, steps), 0)
        return gap, gradients

    def _energies(self, model: Any) -> list[Any]:
        path, last = model.annealing(), self.temperatures - 1
        return [path.at(place / last) for place in range(self.temperatures)]


def swap_chance(a: Any, b: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """The probability that rows of two energies change places, [N]."""
    gain = a.free_energy(x_a) + b.free_energy(x_b) - a.free_energy(x_b) - b.free_energy(x_a)
    return gain.clamp(max=0).exp()


def swapped(energies: list[Any], rows: Tensor) -> Tensor:
    """Rows [temperatures, N, ...] after swaps of neighbours, first of places 0 and 1, 2 and 3, then of the others."""
    places = list(rows)
    for first in (0, 1):
        for low in range(first, len(places) - 1, 2):
            x_a, x_b = places[low], places[low + 1]
            chance = swap_chance(energies[low], energies[low + 1], x_a, x_b)
            taken = (torch.rand_like(chance) < chance).view(-1, *[1] * (x_a.dim() - 1))
            places[low], places[low + 1] = torch.where(taken, x_b, x_a), torch.where(taken, x_a, x_b)
    return torch.stack(places)
