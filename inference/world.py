"""One process or several: the same loop, the same numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as td
from torch import Tensor, nn

STRIDE = 100_003
"""Between the seeds of two processes: far enough that seed + 1 is never another process's seed."""


@dataclass(frozen=True)
class World:
    """The processes that fit together. With one, every method is the identity."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> World:
        """The world `torchrun` made (joined here if nobody did), or one process."""
        if not td.is_available():
            return World()
        if not td.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            td.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return World(td.get_rank(), td.get_world_size()) if td.is_initialized() else World()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, asked: torch.device | str | None) -> torch.device | str | None:
        """The device asked for; of several processes on one machine, each takes a GPU of its own."""
        if self.size > 1 and asked is not None and torch.device(asked) == torch.device("cuda"):
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return asked

    def seed(self, seed: int) -> int:
        """A seed of this process's own, so that no two draw the same noise."""
        return seed + STRIDE * self.rank

    def broadcast(self, module: nn.Module) -> None:
        """Every process takes the first one's parameters and buffers."""
        if self.size > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                td.broadcast(tensor.data, 0)

    def average(self, parameters: Sequence[nn.Parameter], weight: float) -> None:
        """Replace gradients by their mean over processes, each weighted by its share of the batch."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad * weight for p in parameters]
        joined = torch.cat([g.reshape(-1) for g in gradients])
        td.all_reduce(joined)
        joined /= self.size
        for p, part in zip(parameters, joined.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p).clone()

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if self.size > 1:
            for tensor in tensors:
                td.all_reduce(tensor)
        return tensors

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all of them learn it."""
        if self.size == 1:
            return flag
        count = torch.tensor(int(flag))
        td.all_reduce(count)
        return bool(count.item())

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        td.all_gather_object(values, value)
        return values
