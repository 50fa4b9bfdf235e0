"""What a chain of a spread is asked, checked once at the door: times, heads, rates, replicates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
        clock = model.clock(times)
        now = model.rates(rates, clock[0])
        heads = whole(model, start).to(now.device)
        try:
            batch = torch.broadcast_shapes(heads.shape[:-1], now.shape[:-1])
        except RuntimeError:
            raise ValueError(
                f"rates of the batch {list(now.shape[:-1])} do not fit heads of the batch {list(heads.shape[:-1])}"
            ) from None
        shape = (*(() if replicates is None else (replicates,)), *batch)
        rows = heads.expand(*shape, model.size).reshape(-1, model.size)
        generator = torch.Generator(now.device).manual_seed(seed)
        return cls(model, placed(model, now.device), clock, rows, rates, shape, generator)

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
    heads = model.checked(start).detach()
    if (parts := heads[heads != heads.round()]).numel():
        raise ValueError(f"a chain moves whole heads, and the start has {float(parts[0]):g}: round it, or run `ode`")
    return heads


def placed(model: Compartments, device: torch.device) -> Compartments:
    """The compartments with their matrices on a device."""
    if model.change.device == device:
        return model
    moved = copy.copy(model)
    for name, value in vars(model).items():
        if isinstance(value, Tensor):
            setattr(moved, name, value.to(device))
    return moved
