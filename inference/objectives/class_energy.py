"""Fitting an energy of rows and classes to tell the class: discriminatively, or by both the class and the rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.objectives.base import Loss, Objective, Player, mean_terms
from inference.objectives.contrastive_divergence import ContrastiveDivergence, DataChains, PersistentChains
from inference.protocols import ClassEnergy


def classification(model: ClassEnergy, x: Tensor) -> Tensor:
    """-log p(y | x), the mean over rows, nats."""
    rows, y = model.split(x)
    return F.cross_entropy(model.class_logits(rows), y)


class Discriminative(Objective):
    """-log p(y | x), by the free energies of the classes; nats a row. Rows are x followed by the class as one-hot.

    Classification using Discriminative Restricted Boltzmann Machines (Larochelle and Bengio, 2008),
    https://doi.org/10.1145/1390156.1390224
    """

    asks = ClassEnergy

    def forward(self, model: ClassEnergy, x: Tensor, context: Tensor | None = None) -> Loss:
        value = classification(model, x)
        return Loss(value, mean_terms(classification=value))


class HybridDivergence(ContrastiveDivergence):
    """-log p(y | x) + alpha (free energies of the rows - those of the chains); nats a row.

    With alpha = 0 it is `Discriminative`, and towards large alpha `ContrastiveDivergence`, which fits p(x, y). Terms:
    "loss" is the sum of "classification" and alpha times "free_energy_gap". Held-out rows are judged by -log p(y | x).

    Parameters:
        alpha: what the rows count beside their classes.
        steps, chains: as for `ContrastiveDivergence`.

    References:
        Classification using Discriminative Restricted Boltzmann Machines (Larochelle and Bengio, 2008),
        https://doi.org/10.1145/1390156.1390224
    """

    asks = ClassEnergy

    def __init__(self, alpha: float = 0.01, steps: int = 1, chains: int | PersistentChains | DataChains = 100) -> None:
        super().__init__(steps, chains)
        if not alpha >= 0:
            raise ValueError(f"alpha must not be negative, but is {alpha}")
        self.alpha = alpha

    def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Loss:
        gap = super().forward(model, x, context).value
        told = classification(model, x)
        value = told + self.alpha * gap
        return Loss(value, mean_terms(loss=value, classification=told, free_energy_gap=gap))

    def players(self, model: Any) -> list[Player]:
        return Objective.players(self, model)

    @torch.no_grad()
    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        return classification(model, x)
