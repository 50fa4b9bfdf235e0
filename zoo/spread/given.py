"""What a chain of a spread is asked, checked once at the door: times, heads, rates, replicates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Rate

Times = Tensor | Sequence[float]


@dataclass(frozen=True)
class Given:
    """A question of a chain, its rows laid out: R of them, all replicates of all of the batch.

    Attributes:
        model: the compartments, on the device of the rates.
        times: [T], from the first on.
        heads: [R, K] at the first time.
        rates: by name, as given.
        shape: [replicates?, *batch], what the rows are.
        generator: of the seed, on the device.
    """

    model: Compartments
    times: Tensor
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
        moments = instants(times)
        now = rates_at(model, rates, float(moments[0]))
        heads = whole_heads(model, start).to(now.device)
        try:
            batch = torch.broadcast_shapes(heads.shape[:-1], now.shape[:-1])
        except RuntimeError:
            raise ValueError(
                f"rates of the batch {list(now.shape[:-1])} do not fit heads of the batch {list(heads.shape[:-1])}"
            ) from None
        shape = (*(() if replicates is None else (replicates,)), *batch)
        rows = heads.expand(*shape, model.size).reshape(-1, model.size)
        generator = torch.Generator(now.device).manual_seed(seed)
        return cls(placed(model, now.device), moments, rows, rates, shape, generator)

    @property
    def changing(self) -> list[str]:
        """The rates that are functions of time."""
        return [name for name, rate in self.rates.items() if callable(rate)]

    def rates_at(self, time: float) -> Tensor:
        """The rates of each row at a time, [R, P]."""
        found = rates_at(self.model, self.rates, time)
        return found.expand(*self.shape, found.shape[-1]).reshape(-1, found.shape[-1])


def rates_at(model: Compartments, rates: Mapping[str, Rate], time: float) -> Tensor:
    """The rates [..., P] at a time, each of them looked at, on the device of those that are tensors."""
    found = model.rates(rates, time).detach()
    good = found.isfinite() & (found >= 0)
    if not good.all():
        place = int((~good).nonzero()[0, -1])
        worst = float(found[..., place][~good[..., place]].flatten()[0])
        raise ValueError(f"the rate {model.parameters[place]!r} must be a number from 0 on, not {worst:g}")
    return found


def whole_heads(model: Compartments, start: Any) -> Tensor:
    """Heads [..., K] that a chain can begin with, in float64."""
    heads = torch.as_tensor(start, dtype=torch.float64).detach()
    if heads.ndim == 0 or heads.shape[-1] != model.size:
        raise ValueError(f"the start has {model.size} numbers, {', '.join(model.names)}, not {list(heads.shape)}")
    if not (heads.isfinite() & (heads >= 0)).all():
        raise ValueError("the start has heads that are negative or not finite")
    if not (heads == heads.round()).all():
        odd = float(heads[heads != heads.round()][0])
        raise ValueError(f"a chain moves whole heads, and the start has {odd:g}: round it, or run `ode`")
    return heads


def instants(times: Times) -> Tensor:
    """Times [T] that increase, in float64, on the CPU."""
    moments = torch.as_tensor(times, dtype=torch.float64).cpu()
    if moments.ndim != 1 or not len(moments):
        raise ValueError(f"times are a list of one or more, not {list(moments.shape)}")
    if not moments.isfinite().all() or not (moments.diff() > 0).all():
        raise ValueError("times must be finite, and each later than the one before")
    return moments


def placed(model: Compartments, device: torch.device) -> Compartments:
    """The compartments with their matrices on a device."""
    if model.change.device == device:
        return model
    moved = copy.copy(model)
    for name, value in vars(model).items():
        if isinstance(value, Tensor):
            setattr(moved, name, value.to(device))
    return moved
