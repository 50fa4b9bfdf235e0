"""Draws from a seed of one's own, the caller's random state left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded(seed: int, model: Any) -> Iterator[None]:
    device = getattr(model, "device", None)
    devices = [device] if isinstance(device, torch.device) and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
