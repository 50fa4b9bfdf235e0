"""Running means over draws of the log weights [K, N], so that any number of draws fits in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Mean:
    """Mean of log w over draws and its standard error, by the parallel form of Welford's updates."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, log_w: Tensor) -> None:
        log_w, new = log_w.double(), len(log_w)
        mean = log_w.mean(0)
        gap, total = mean - self.mean, self.count + new
        self.squares = self.squares + (log_w - mean).square().sum(0) + gap.square() * self.count * new / total
        self.mean, self.count = self.mean + gap * new / total, total

    def result(self) -> tuple[Tensor, Tensor | None]:
        if self.count == 1:
            return self.mean, None
        return self.mean, (self.squares / (self.count - 1) / self.count).sqrt()


@dataclass
class LogMean:
    """log mean w over draws and, by the delta method, its standard error sd(w) / (sqrt(K) mean(w))."""

    count: int = 0
    log_sum: Any = None
    log_squares: Any = None

    def add(self, log_w: Tensor) -> None:
        log_w = log_w.double()
        self.log_sum = _log_add(self.log_sum, log_w.logsumexp(0))
        self.log_squares = _log_add(self.log_squares, (2 * log_w).logsumexp(0))
        self.count += len(log_w)

    def result(self) -> tuple[Tensor, Tensor | None]:
        values = self.log_sum - math.log(self.count)
        if self.count == 1:
            return values, None
        relative = (self.log_squares - 2 * self.log_sum + math.log(self.count)).exp() - 1
        return values, (relative.clamp(min=0) / (self.count - 1)).sqrt()


def _log_add(total: Tensor | None, new: Tensor) -> Tensor:
    return new if total is None else torch.logaddexp(total, new)
