"""A network of tables as a model with a likelihood, of rows that may lack cells."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.exact.engine import Engine
from inference.exact.evidence import MISSING, read_evidence
from inference.protocols import Graph, has_likelihood, offers


class Eliminated:
    """log P(known cells) of rows of codes [N, V], -1 where a cell is not known, by exact elimination; in nats.

    In an undirected graph log Z is taken off.

    Parameters:
        graph: whatever `Engine` takes.
    """

    measure = "mass"
    missing_code = MISSING
    likelihood_by = "exact elimination of what is not known"

    def __init__(self, graph: Any) -> None:
        self.engine = Engine(graph)
        self.variables: tuple[Hashable, ...] = self.engine.variables
        self.states = self.engine.states

    def check(self, x: Tensor, context: Tensor | None = None) -> None:
        if context is not None:
            raise ValueError("a network of tables takes no context: make what it depends on a variable of it")
        if x.dim() != 2 or x.shape[1] != len(self.variables):
            raise ValueError(f"the network has {len(self.variables)} variables, but x is {list(x.shape)}, not [N, V]")
        for column, v in zip(x.T, self.variables, strict=True):
            bad = (column != column.long()) | (column < MISSING) | (column >= len(self.states[v]))
            if bad.any():
                row = int(bad.nonzero()[0])
                raise ValueError(
                    f"row {row} has {column[row].item():g} for {v!r}, whose codes are 0 to {len(self.states[v]) - 1}"
                )

    def encode_frame(self, frame: pd.DataFrame) -> Tensor:
        """The codes [N, V] of rows given by state names; a variable without a column is not known."""
        if not len(frame):
            raise ValueError("the data has no rows")
        evidence = read_evidence(self.variables, self.states, frame, "the data")
        unknown = torch.full((len(frame),), MISSING)
        return torch.stack([evidence.codes.get(v, unknown) for v in range(len(self.variables))], 1)

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log P(known cells) of each row, [N]; -inf where they can't be together."""
        codes = {v: x[:, i].long() for i, v in enumerate(self.variables)}
        return self.engine.log_evidence(codes, impossible="allow") - self._log_partition

    @cached_property
    def _log_partition(self) -> Tensor | float:
        return 0.0 if self.engine.factors.structure.parents is not None else self.engine.log_evidence()


def as_density(model: Any) -> Any:
    """A pgmpy graph made a model with a likelihood; any other model as it is."""
    if has_likelihood(model) or not (offers(model, Graph) or hasattr(model, "get_factors")):
        return model
    return Eliminated(model)
