"""Exact maximum likelihood from rows that lack cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inference.data import check_known, lacks_cells
from inference.exact.learning import Cells
from inference.objectives.base import Loss
from inference.objectives.likelihood import NegativeLogLikelihood
from inference.protocols import sums_out


class MarginalLikelihood(NegativeLogLikelihood):
    """-log p(the known cells of x), the mean over the rows, in nats: for networks of tables.

    Missing cells (NaN, None or the model's code for them) are summed over by elimination, and the gradient by the
    tables goes through it. Rows that lack nothing are scored by the model's own `log_prob`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[Any, Cells] | None = None

    def check(self, model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        check_known(model, x, context, columns)

    def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Loss:
        if sums_out(model) or not lacks_cells(model, x):
            return super().forward(model, x, context)
        cells = self._cells(model)
        cells.scaled = False  # a batch is scored the same whatever came before it, also after a resumption
        x, tables = x.long(), model.probabilities()
        total = torch.zeros((), dtype=tables[0].dtype, device=x.device)
        for index, ask in cells.groups(x):
            for _, logs in cells.log_known(ask, tables, x[index]):
                total = total + logs.sum()
        value = -total / len(x)
        return Loss(value, {"loss": value.detach()})

    def _cells(self, model: Any) -> Cells:
        """The compiled programs of this model's graph, kept."""
        if self._held is None or self._held[0] is not model:
            self._held = model, Cells(model)
        return self._held[1]
