"""A program's log density by a batch of its rows: unbiased over batches, and steady near an anchor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.near import near
from inference.program import Program
from inference.program_sites import Draw
from inference.sampling.density import LogDensity

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
BATCH = "_batch"
"""The keyword by which a program gets a batch's rows."""


class _Weighted(Messenger):
    """What is in the plate counts as often as there are rows for each of the batch."""

    def __init__(self, plate: str, rows: int) -> None:
        super().__init__()
        self.plate, self.rows = plate, rows

    def _pyro_sample(self, msg: Any) -> None:
        for frame in msg["cond_indep_stack"]:
            if frame.name == self.plate:
                msg["scale"] = msg["scale"] * (self.rows / frame.size)


class _Indexed(Messenger):
    """The plate's rows are these, and no others; Pyro's plate weighs them itself."""

    def __init__(self, plate: str, rows: Tensor) -> None:
        super().__init__()
        self.plate, self.rows = plate, rows

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self.plate and type(msg["fn"]).__name__ == "_Subsample":
            msg["value"], msg["done"] = self.rows, True


@dataclass(frozen=True)
class ByCutting:
    """The data are cut to the batch's rows, and the program's plate is as long as they are."""

    model: Callable[..., Any]
    plate: str
    rows: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _Weighted(self.plate, self.rows):
            return self.model(*args, **kwargs)

    def arguments(self, full: Arguments, batch: Tensor) -> Arguments:
        def cut(value: Any) -> Any:
            of_rows = isinstance(value, Tensor) and value.dim() > 0 and len(value) == self.rows
            return value.index_select(0, batch) if of_rows else value

        return tuple(cut(value) for value in full[0]), {name: cut(value) for name, value in full[1].items()}


@dataclass(frozen=True)
class ByIndexing:
    """The data stay whole, and the program takes the rows that its plate names: `with pyro.plate(...) as rows`."""

    model: Callable[..., Any]
    plate: str
    rows: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        batch = kwargs.pop(BATCH) if kwargs else args[0]
        with _Indexed(self.plate, batch):
            return self.model(**kwargs) if kwargs else self.model(*args[1:])

    def arguments(self, full: Arguments, batch: Tensor) -> Arguments:
        return ((), {BATCH: batch, **full[1]}) if full[1] else ((batch, *full[0]), {})


class Batched:
    """(q [C, dim], rows [B]) -> log p [C] in nats and its gradient, by a batch of the rows; exact in the mean.

    Parameters:
        density: of the whole data.
        plate: of which batches are rows; None takes the only one that holds data and no latent.
        anchors: q [K, dim], near which batches differ little: where the whole density is known to first order, a batch
            only has to tell what lies beyond. Row i of q has anchor i mod K.

    Raises:
        ValueError: latents inside the plate, a program that can't be run on some of the rows.

    References:
        Control Variates for Stochastic Gradient MCMC (Baker, Fearnhead, Fox and Nemeth, 2019), for the anchor
    """

    def __init__(self, density: LogDensity, plate: str | None = None, anchors: Tensor | None = None) -> None:
        self.program = density.program
        self.plate, self.size = _plate_of(self.program, plate)
        self.way = _way(self.program, self.plate, self.size)
        self.anchors = anchors
        if anchors is not None:
            self.value, self.slope = density.value_and_grad(anchors)
        self._by_length: dict[int, LogDensity] = {}

    def of(self, rows: Tensor) -> LogDensity:
        """The log density by these rows alone, each counting for as many as it stands for."""
        arguments = self.way.arguments(self.program.arguments, rows)
        known = self._by_length.get(len(rows))
        density = (
            LogDensity.of(_called(self.program, self.way, arguments))
            if known is None
            else known.with_data(arguments[1] or arguments[0])
        )
        self._by_length[len(rows)] = density  # the last, as it holds what was recorded
        return density

    def __call__(self, q: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        density = self.of(rows)
        if self.anchors is None:
            return density.value_and_grad(q)
        value, slope = density.value_and_grad(torch.cat([q, self.anchors]))
        count = len(q) // len(self.anchors)
        more_value, more_slope = self.value - value[len(q) :], self.slope - slope[len(q) :]
        beyond = q - self.anchors.repeat(count, 1)
        more_slope = more_slope.repeat(count, 1)
        return value[: len(q)] + more_value.repeat(count) + (beyond * more_slope).sum(-1), slope[: len(q)] + more_slope


def _called(program: Program, model: Callable[..., Any], arguments: Arguments) -> Program:
    """The program by another callable on other data."""
    other = copy.copy(program)
    other.model, other.arguments = model, arguments
    return other


def _plate_of(program: Program, plate: str | None) -> tuple[str, int]:
    """The plate that batches are rows of, and how many it has."""
    if program.discrete:
        raise ValueError(
            f"{program.name}: minibatches of rows don't go with latents that are summed out "
            f"({', '.join(program.discrete)}): give all rows (batch_size=None)"
        )
    sizes = {
        name: site.shape[axis]
        for site in program.observed.values()
        for axis, name in enumerate(site.plates)
        if name is not None
    }
    if plate is not None and plate not in sizes:
        raise ValueError(f"{program.name} has no plate {plate!r} over data{near(plate, sizes)}")
    inside = {name: latent for latent, site in program.latents.items() for name in site.plates if name is not None}
    free = [name for name in sizes if name not in inside] if plate is None else [plate]
    if len(free) > 1:
        raise ValueError(f"{program.name} has data in the plates {free}: say whose rows batches are of, plate=...")
    held = inside.get(plate) if plate is not None else next(iter(inside.values()), None)
    if not free or (plate is not None and held):
        what = f"its latent {held!r} is in it" if held else "none holds data"
        raise ValueError(
            f"{program.name}: batches need a plate over rows of data, with all latents outside it; {what}. "
            "Put the likelihood in a pyro.plate as long as the data, or give all rows (batch_size=None)"
        )
    return free[0], sizes[free[0]]


def _way(program: Program, plate: str, size: int) -> ByCutting | ByIndexing:
    """How the program is run on some of the rows: the first way that leaves all but the plate's sites as they were."""
    few = torch.arange(min(2, size - 1), device=program.device)
    for kind in (ByCutting, ByIndexing):
        way = kind(program.model, plate, size)
        if _fits(program, _called(program, way, way.arguments(program.arguments, few)), plate, len(few)):
            return way
    raise ValueError(
        f"{program.name} can't be run on some of the {size} rows of the plate {plate!r}: make the plate as long as the "
        f"data it is given, or take its rows by index, `with pyro.plate({plate!r}, ...) as rows: ... obs=y[rows]`"
    )


def _fits(full: Program, part: Program, plate: str, rows: int) -> bool:
    """Whether a run on some rows makes the same sites, the plate and what is observed in it that many rows long."""
    try:
        nodes = part.run(Draw(improper=True)).nodes
    except (ValueError, IndexError, RuntimeError):
        return False
    for name, site in {**full.latents, **full.observed}.items():
        shape = tuple(rows if p == plate else n for n, p in zip(site.shape, site.plates, strict=True))
        sizes = [frame.size for frame in nodes[name]["cond_indep_stack"] if frame.name == plate]
        if tuple(nodes[name]["value"].shape) != shape or sizes != [rows] * site.plates.count(plate):
            return False
    return True
