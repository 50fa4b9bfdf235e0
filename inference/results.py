"""What `fit` and `em` give back."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

NATS = "nats a row"
"""What a loss counts, unless its objective says otherwise."""


class Alarm(UserWarning):
    """What ails a model in training, and what to do about it; each illness is warned of once in a fit."""


def tell(alarms: Mapping[str, str]) -> None:
    """Warn of each, at the line outside this package that asked: whichever verb was called, and by how many others."""
    room, depth = __name__.partition(".")[0], 1
    frame = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(f"{room}."):
        frame, depth = frame.f_back, depth + 1
    for alarm in alarms.values():
        warnings.warn(alarm, Alarm, stacklevel=depth + 1)


@dataclass(frozen=True)
class Fit:
    """A fitted model and how it came about.

    `history` has a row for each report: step, then the mean since the last report of every named term, in
    nats a row ("loss", or "PLAYER.loss" where there are several players), and "held_out" where there is a
    validation split. Where an objective counts something else, `history.attrs["unit"]` says what.
    `stopped` says why it ended: "steps done", "early stopping", "converged".
    `alarms` holds what was warned of while it ran (`Alarm`), by the illness: "mode collapse", "critic overpowering",
    "vanishing gradients", "diverging chains"; each says of which step it is.
    """

    model: Any
    objective: str
    history: pd.DataFrame
    steps: int
    seconds: float
    stopped: str
    seed: int
    best_step: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name} {value:.4g}" for name, value in self.history.iloc[-1].items() if name != "step" and value == value
        )
        return (
            f"Fit({type(self.model).__name__} by {self.objective}: {self.stopped} after {self.steps} steps, "
            f"{self.seconds:.1f} s; {last})"
        )
