"""Checkpoints: everything that a fit needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Checkpoint:
    """Where to leave checkpoints, and after how many steps each (besides the end and Ctrl-C)."""

    path: str | Path
    every: int = 500


def save(state: dict[str, Any], path: str | Path) -> None:
    """Write beside, then rename: a reader never meets half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def load(path: str | Path, device: torch.device) -> dict[str, Any]:
    """Read with torch's restricted loader, which runs no code."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r} to resume from")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not a whole checkpoint of inference.fit: {error}") from error
