"""What a person sees while a fit runs, and what may stop it between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm


@dataclass(frozen=True)
class Progress:
    """Where a fit stands: the mean of each named term since the last report, in nats a row."""

    step: int
    steps: int
    terms: Mapping[str, float]
    model: Any


Callback = Callable[[Progress], bool | None]
"""Called at each report; returning True ends the fit."""


class Bar:
    """A progress bar with the loss terms on it; silent where the output is not a terminal."""

    def __init__(self, steps: int, start: int, shown: bool, title: str) -> None:
        self._bar = tqdm(total=steps, initial=start, disable=None if shown else True, desc=title, leave=False)

    def __call__(self, progress: Progress) -> None:
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in progress.terms.items()}, refresh=False)
        self._bar.update(progress.step - self._bar.n)

    @property
    def shown(self) -> bool:
        """Whether anyone sees it: what costs to work out need not be for no one."""
        return not self._bar.disable

    def close(self) -> None:
        self._bar.close()


def tensorboard(folder: str | Path) -> Callback:
    """Write every report to TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard= needs the extra: pip install 'pyro-zoo[tensorboard]'") from error
    writer = SummaryWriter(str(folder))

    def report(progress: Progress) -> None:
        for name, value in progress.terms.items():
            writer.add_scalar(name, value, progress.step)
        writer.flush()

    return report


class Interruption:
    """Whether Ctrl-C was pressed since the fit began."""

    pressed = False


@contextmanager
def deferred_interrupt() -> Iterator[Interruption]:
    """Hold the first Ctrl-C back to the end of the step, so that what is saved is a whole step; the second acts."""
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        if state.pressed:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        state.pressed = True

    signal.signal(signal.SIGINT, handler)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)
