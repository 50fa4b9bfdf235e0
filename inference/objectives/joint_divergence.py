"""Contrastive divergence for machines whose hidden units can't all be drawn at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inference.objectives.base import Loss, Objective, Player, mean_terms
from inference.objectives.contrastive_divergence import ContrastiveDivergence, PersistentChains
from inference.protocols import Joined


class JointDivergence(ContrastiveDivergence):
    """mean free_energy(x) - mean energy of persistent chains over x and hidden units together, nats a row.

    The chains need no draw of the hidden units given x, and so are right for any machine (`Joined`). Where the free
    energy is exact the gradient is that of -log p(x), up to how far the chains are from the model; where it is a
    bound by mean field, that of the variational bound.

    Parameters:
        steps: Gibbs sweeps over all units between two steps of the fit.
        chains: how many.

    References:
        Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009), https://proceedings.mlr.press/v5/salakhutdinov09a.html
    """

    asks = Joined

    def __init__(self, steps: int = 1, chains: int = 100) -> None:
        super().__init__(steps, PersistentChains(chains))

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        Objective.prepare(self, model, x, context)
        self.watching.prepare(x)
        self.chains.prepare(model.joint, self.steps)

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        """Whether the chains, as far as they are of x, have diverged."""
        rows: Any = self.chains.state
        shape = model.event_shape
        return self.watching.look(model, rows[:, : shape.numel()].reshape(-1, *shape))

    def forward(self, model: Joined, x: Tensor, context: Tensor | None = None) -> Loss:
        joint = model.joint
        with torch.no_grad():
            chains = self.chains.rows(joint, x, self.steps)
        gap = model.free_energy(x).mean() - joint.free_energy(chains).mean()
        return Loss(gap, mean_terms(free_energy_gap=gap))

    def players(self, model: Any) -> list[Player]:
        return Objective.players(self, model)
