"""Random numbers of a seed's own, the caller's left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded(seed: int, device: Any = None) -> Iterator[None]:
    """Torch's generators of the CPU, and of the device where that is another, seeded within and put back afterwards."""
    place = torch.device("cpu" if device is None else device)
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach devices that are not put back
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield
