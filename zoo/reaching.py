"""From where in a chain one can get where."""

from __future__ import annotations

import torch
from torch import Tensor


def reaching(linked: Tensor, goal: Tensor) -> Tensor:
    """From which states some of the goal can be reached, [S], by what is linked, [S, S] ones and zeros."""
    found = goal
    while True:
        more = found | ((linked @ found.to(linked.dtype)) > 0)
        if torch.equal(more, found):
            return found
        found = more
