"""How much of a row is left at each time of a diffusion: the logarithm of its signal-to-noise ratio, which falls.

z_t = alpha_t x + sigma_t e with alpha_t^2 = sigmoid(log_snr(t)) and sigma_t^2 = sigmoid(-log_snr(t)), so that the
variance is kept. Time runs from 0, the row itself, to 1. A name ("cosine") or a table {"kind": "linear", "high": 10.0}
declares one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.declared import declared


class NoiseSchedule(nn.Module, ABC):
    """time [K] in (0, 1], float64, to the log signal-to-noise ratio [K], float64, which falls as time goes on."""

    @abstractmethod
    def forward(self, time: Tensor) -> Tensor:
        """log(alpha_t^2 / sigma_t^2)."""


class Linear(NoiseSchedule):
    """beta linear in time: alpha_t^2 = exp(-low t - (high - low) t^2 / 2), which is Ho et al.'s with many steps.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456
    """

    def __init__(self, low: float = 0.1, high: float = 20.0) -> None:
        super().__init__()
        if not 0 < low <= high:
            raise ValueError(f"low and high must be 0 < low <= high, not {low} and {high}")
        self.low, self.high = low, high

    def forward(self, time: Tensor) -> Tensor:
        return -torch.expm1(self.low * time + 0.5 * (self.high - self.low) * time.square()).log()


class Cosine(NoiseSchedule):
    """alpha_t = cos((t + offset) / (1 + offset) pi / 2) / cos(offset / (1 + offset) pi / 2).

    At time 1 nothing would be left; `lowest` keeps the log ratio finite, as the paper's bound on beta does.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), https://arxiv.org/abs/2102.09672
    """

    def __init__(self, offset: float = 0.008, lowest: float = -15.0) -> None:
        super().__init__()
        if not offset >= 0:
            raise ValueError(f"offset must be at least 0, not {offset}")
        self.offset, self.lowest = offset, lowest

    def forward(self, time: Tensor) -> Tensor:
        scale = 0.5 * math.pi / (1 + self.offset)
        left = ((time + self.offset) * scale).cos().square() / math.cos(self.offset * scale) ** 2
        floor = 1 / (1 + math.exp(-self.lowest))
        # beneath the floor the ratio goes on to fall, if only just, so that every step has some noise
        left = torch.where(left > floor, left, floor * (1 - 0.5 * time))
        return torch.logit(left)


class Learned(NoiseSchedule):
    """A monotone network of time between two ends, all of them learned: log_snr(t) = first - fall m(t), m from 0 to 1.

    m is a straight line plus sigmoids, each with a positive weight and slope. The bound teaches it.

    References:
        Variational Diffusion Models (Kingma et al., 2021), https://arxiv.org/abs/2107.00630
    """

    def __init__(self, first: float = 10.0, last: float = -10.0, width: int = 32) -> None:
        super().__init__()
        if not first > last:
            raise ValueError(f"first must be above last, but they are {first} and {last}")
        self.first = nn.Parameter(torch.tensor(float(first)))
        self.log_fall = nn.Parameter(torch.tensor(math.log(first - last)))
        self.slope = nn.Parameter(torch.full((width,), math.log(6.0)))
        self.centre = nn.Parameter(torch.linspace(0, 1, width))
        self.weight = nn.Parameter(torch.full((width,), -math.log(4.0 * width)))

    def forward(self, time: Tensor) -> Tensor:
        ends = time.new_tensor([0.0, 1.0])
        rise = self._rise(torch.cat([ends, time]))
        share = (rise[2:] - rise[0]) / (rise[1] - rise[0])
        return self.first.double() - self.log_fall.double().exp() * share

    def _rise(self, time: Tensor) -> Tensor:
        slope, centre, weight = self.slope.double().exp(), self.centre.double(), self.weight.double().exp()
        return time + (slope * (time.unsqueeze(-1) - centre)).sigmoid() @ weight


SCHEDULES: Mapping[str, type[NoiseSchedule]] = {"linear": Linear, "cosine": Cosine, "learned": Learned}


def as_schedule(written: NoiseSchedule | Mapping[str, str | int | float] | str) -> NoiseSchedule:
    """A schedule as it stands, or the one that a name or a table declares."""
    return written if isinstance(written, NoiseSchedule) else declared("schedule", written, SCHEDULES)()
