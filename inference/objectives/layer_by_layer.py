"""A stack of energies fitted at once, each to draws of the one below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inference.objectives.base import LateLoss, Loss, Objective, Player
from inference.objectives.contrastive_divergence import ContrastiveDivergence
from inference.protocols import Stacked


class LayerByLayer(Objective):
    """Contrastive divergence of each layer of a stack, a player each: "layer_0" models x, the others draws from below.

    Layers don't wait for those below to settle, as they do in `inference.stacking.fit_layers`. Held-out rows are judged
    by the pseudo-likelihood of the first layer, in nats a row.

    Parameters:
        steps, chains: as for `ContrastiveDivergence`.

    References:
        A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006),
        https://doi.org/10.1162/neco.2006.18.7.1527
    """

    asks = Stacked

    def __init__(self, steps: int = 1, chains: int = 100) -> None:
        super().__init__()
        self.make: Callable[[], ContrastiveDivergence] = lambda: ContrastiveDivergence(steps, chains)
        self.objectives: Any = nn.ModuleList()
        self.make()  # says now what is wrong with its parameters

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        self.objectives = nn.ModuleList(self.make() for _ in model.layers)
        for k, (objective, layer) in enumerate(zip(self.objectives, model.layers, strict=True)):
            objective.prepare(layer, model.upward(x, k))

    def players(self, model: Any) -> list[Player]:
        return [self._player(model, k) for k in range(len(model.layers))]

    def _player(self, model: Any, k: int) -> Player:
        of_layer = self.objectives[k].players(model.layers[k])[0]

        def loss(x: Tensor, context: Tensor | None) -> Loss | LateLoss:
            return of_layer.loss(model.upward(x, k), None)

        return replace(of_layer, name=f"layer_{k}", loss=loss)

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        """What ails the chains of some layer; that of the lowest is told."""
        found: dict[str, str] = {}
        for k in reversed(range(len(self.objectives))):
            ill = self.objectives[k].watch(model.layers[k], terms)
            found |= {illness: f"layer {k}: {sentence}" for illness, sentence in ill.items()}
        return found

    @torch.no_grad()
    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.objectives[0].held_out(model.layers[0], x.reshape(len(x), -1))
