"""Maps of single numbers, each with parameters that a network puts out: what couplings and masked flows are made of.

    y, log_slope = map.forward_and_log_slope(x, values)       log_slope = log dy/dx
    x, log_slope = map.inverse_and_log_slope(y, values)       log_slope = log dx/dy

Shapes: x, y and log_slope are [...], values are [..., map.outputs]. Where the values are zero, the map is the identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Elementwise(nn.Module, ABC):
    """An increasing map of one number, by `outputs` parameters."""

    outputs: int

    @abstractmethod
    def forward_and_log_slope(self, x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """y and log dy/dx."""

    @abstractmethod
    def inverse_and_log_slope(self, y: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """x and log dx/dy."""


class SoftAffine(Elementwise):
    """y = x exp(s) + t with s = clamp tanh(r / clamp): no scale outside exp(+-clamp), whatever a network puts out.

    Parameters:
        clamp: the largest log-scale, approached smoothly.
    """

    outputs = 2
    clamp: Tensor
    lowest: Tensor
    highest: Tensor
    steep: Tensor

    def __init__(self, clamp: float) -> None:
        super().__init__()
        if not clamp > 0:
            raise ValueError(f"clamp must be above 0, not {clamp}")
        self.register_buffer("clamp", torch.tensor(float(clamp)))
        # arithmetic with a Python number takes twice as long as with a tensor
        for name in ("lowest", "highest", "steep"):
            self.register_buffer(name, torch.empty(()), persistent=False)
        self._derive()

    def tighten(self, clamp: float) -> None:
        """Another clamp from now on, which is saved with the map."""
        self.clamp.fill_(clamp)
        self._derive()

    def _derive(self) -> None:
        """What the clamp comes to where tanh(r / clamp) is taken as 2 sigmoid(2 r / clamp) - 1, a third of the time."""
        clamp = float(self.clamp)
        self.span = 2 * clamp
        self.lowest.fill_(-clamp)
        self.highest.fill_(clamp)
        self.steep.fill_(2 / clamp)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._derive()

    def forward_and_log_slope(self, x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        shift, bend = values.unbind(-1)
        log_slope = torch.add(self.lowest, (bend * self.steep).sigmoid(), alpha=self.span)
        return shift.addcmul(x, log_slope.exp()), log_slope

    def inverse_and_log_slope(self, y: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        shift, bend = values.unbind(-1)
        log_slope = torch.add(self.highest, (bend * self.steep).sigmoid(), alpha=-self.span)
        return (y - shift) * log_slope.exp(), log_slope
