"""What a chain of a spread is asked, checked once at the door: times, heads, rates, replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.spread.checks import clock, one_batch
from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course

Times = Tensor | Sequence[float]


@dataclass(frozen=True)
class Given:
    """A question of a chain, its rows laid out: R of them, all replicates of all of the batch.

    Attributes:
        compartments: as given.
        model: the same, on the device of the rates.
        times: from the first on.
        heads: [R, K] at the first time.
        rates: by name, as given.
        shape: [replicates?, *batch], what the rows are.
        generator: of the seed, on the device.
    """

    compartments: Compartments
    model: Compartments
    times: list[float]
    heads: Tensor
    rates: Mapping[str, Rate]
    shape: tuple[int, ...]
    generator: torch.Generator

    @classmethod
    def of(
        cls,
        model: Compartments,
        rates: Mapping[str, Rate],
        start: Tensor,
        times: Times,
        replicates: int | None,
        seed: int,
    ) -> Given:
        """The question of a user.

        Raises:
            ValueError: times that do not increase; heads of another number of compartments, negative or not whole; a
                rate that is missing, unknown, negative or not finite; batches that do not fit; no replicates.
        """
        if replicates is not None and replicates < 1:
            raise ValueError(f"replicates are a number from 1 on, or None, not {replicates}")
        moments = clock(times)
        rates = {name: rate.detach() if isinstance(rate, Tensor) else rate for name, rate in rates.items()}
        now = model.rates(rates, moments[0])
        heads = whole(model, start).to(now.device)
        batch = one_batch({"the rates": now.shape[:-1], "the start's heads": heads.shape[:-1]})
        shape = (*(() if replicates is None else (replicates,)), *batch)
        rows = heads.expand(*shape, model.size).reshape(-1, model.size)
        generator = torch.Generator(now.device).manual_seed(seed)
        return cls(model, model.to(now.device), moments, rows, rates, shape, generator)

    @property
    def changing(self) -> list[str]:
        """The rates that are functions of time."""
        return [name for name, rate in self.rates.items() if callable(rate)]

    def rates_at(self, time: float) -> Tensor:
        """The rates of each row at a time, [R, P]."""
        found = self.model.rates(self.rates, time)
        return found.expand(*self.shape, found.shape[-1]).reshape(-1, found.shape[-1])

    def course(self, happened: Tensor) -> Course:
        """The course of what happened until each time, [R, T, E]."""
        heads = self.heads[:, None] + happened @ self.model.change
        return Course(
            self.compartments,
            torch.tensor(self.times, dtype=torch.float64),
            heads.reshape(*self.shape, *heads.shape[1:]),
            happened.reshape(*self.shape, *happened.shape[1:]),
        )


def whole(model: Compartments, start: Tensor) -> Tensor:
    """Heads [..., K] that a chain can begin with, in float64."""
    heads = model.checked(start.detach() if isinstance(start, Tensor) else start)
    if (parts := heads[heads != heads.round()]).numel():
        raise ValueError(f"a chain moves whole heads, and the start has {float(parts[0]):g}: round it, or run `ode`")
    return heads
