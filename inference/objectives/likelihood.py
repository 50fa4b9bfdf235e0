"""Exact maximum likelihood."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from inference.objectives.base import Loss, Objective
from inference.protocols import Density, by_row


class NegativeLogLikelihood(Objective):
    """-log p(x | context), the mean over the rows, in nats: for every model with an exact likelihood."""

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        """Starting parameters that the data gives, of a model that has such."""
        if hasattr(model, "initialise"):
            model.initialise(x, context)

    def forward(self, model: Density, x: Tensor, context: Tensor | None = None) -> Loss:
        log_prob = model.log_prob(x) if context is None else model.log_prob(x, context=context)
        value = -by_row(log_prob, (x.shape[0],), model, "log_prob").mean()
        return Loss(value, {"loss": value.detach()})
