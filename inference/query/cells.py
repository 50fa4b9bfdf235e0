"""What a decoder says of the cells of rows, one by one, and how that is told in an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

TABLED = 32
"""The most levels whose probabilities are read from the decoder; of more, draws are counted."""


@runtime_checkable
class ByCell(Protocol):
    """A distribution whose cells are independent: log p of each, of the shape of the rows."""

    def cell_log_prob(self, value: Tensor) -> Tensor: ...


def by_cell(distribution: Any, shape: torch.Size) -> Callable[[Tensor], Tensor] | None:
    """What gives log p of each cell of rows of this shape, where a distribution makes them independent."""
    if isinstance(distribution, ByCell):
        return distribution.cell_log_prob
    while hasattr(distribution, "reinterpreted_batch_ndims"):
        distribution = distribution.base_dist
    alone = not distribution.event_shape and distribution.batch_shape == shape
    return distribution.log_prob if alone else None


def levels_of(support: Any) -> int | None:
    """How many codes a support has; None where it has none, or no end of them."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support is constraints.boolean:
        return 2
    top = getattr(support, "upper_bound", None)
    return None if top is None or not support.is_discrete else int(top) + 1


def said_of(decoder: Any, x: Tensor, levels: int | None) -> Tensor:
    """Of codes the probability of each level, of numbers mean and mean square: what the decoder says, or x itself."""
    cells = by_cell(decoder, x.shape)
    if levels is not None:
        if cells is None or levels > TABLED:
            return F.one_hot(x.long(), levels)
        return torch.stack([cells(torch.full_like(x, level)) for level in range(levels)], -1).exp()
    if cells is not None:
        with suppress(NotImplementedError):
            mean = decoder.mean.double()
            return torch.stack([mean, mean.square() + decoder.stddev.double().square()], -1)
    return torch.stack([x.double(), x.double().square()], -1)


def summary(x: Tensor, known: Tensor, said: Tensor, error: Tensor, levels: int | None) -> Tensor:
    """What was said on average, as an answer has it: of codes their probabilities, of numbers mean, sd and error.

    Cells that are known are as they were.
    """
    if levels is not None:
        return torch.where(known.unsqueeze(-1), F.one_hot(x.long(), levels).to(said), said)
    sd = (said[..., 1] - said[..., 0].square()).clamp(min=0).sqrt()
    told = torch.stack([x.double(), torch.zeros_like(sd), torch.zeros_like(sd)], -1)
    return torch.where(known.unsqueeze(-1), told, torch.stack([said[..., 0], sd, error], -1))
