"""Exact maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from inference.data import check_data, check_known
from inference.objectives.base import Loss, Objective
from inference.protocols import Density, by_row, sums_out


class NegativeLogLikelihood(Objective):
    """-log p(x | context), the mean over the rows, in nats: for every model with an exact likelihood.

    Rows may lack cells where the model sums them out itself; then it is that of what is known.
    """

    looks_at = 2**18

    def check(self, model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        (check_known if sums_out(model) else check_data)(model, x, context, columns)

    def forward(self, model: Density, x: Tensor, context: Tensor | None = None) -> Loss:
        log_prob = model.log_prob(x) if context is None else model.log_prob(x, context=context)
        value = -by_row(log_prob, (x.shape[0],), model, "log_prob").mean()
        return Loss(value, {"loss": value.detach()})
