"""The exponential moving average of what a fit moves, which is smoother than where any step ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

YOUNG = 9
"""An average of k steps reaches no further back than about k / YOUNG of them, so that a short fit forgets its start."""


class Average:
    """The average of a module's trainable parameters: a <- d_k a + (1 - d_k) p after step k.

    d_k is the smaller of `decay` and (1 + k) / (10 + k). Buffers are those of the last step. Without a decay nothing is
    kept, and each method does nothing.

    References:
        Acceleration of Stochastic Approximation by Averaging (Polyak and Juditsky, 1992)
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.decay = decay
        averaged = [p for p in module.parameters() if p.requires_grad and p.is_floating_point()]
        self.parameters: list[Tensor] = [] if decay is None else [*averaged]
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in what the parameters are after step number `step`, from 1."""
        if self.decay is not None and self.values:
            torch._foreach_lerp_(self.values, self.parameters, max(1 - self.decay, YOUNG / (YOUNG + 1 + step)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold the average within, and what they were again afterwards."""
        now = [p.detach().clone() for p in self.parameters]
        self.settle()
        try:
            yield
        finally:
            _copy(self.parameters, now)

    def settle(self) -> None:
        """The parameters become the average."""
        _copy(self.parameters, self.values)

    def state(self) -> list[Tensor]:
        return self.values

    def restore(self, saved: list[Tensor] | None) -> None:
        """Go on from the average of a checkpoint, which must have been kept where one is kept now."""
        if bool(saved) != bool(self.values):
            has, needs = ("an", "none") if saved else ("no", "one")
            raise ValueError(
                f"the checkpoint holds {has} average of weights, but this fit keeps {needs}: give `average` as then"
            )
        _copy(self.values, saved or [])


@torch.no_grad()
def _copy(into: Any, values: list[Tensor]) -> None:
    if into:
        torch._foreach_copy_(into, values)
