"""Latents and their unconstrained numbers, each by the map of the support it has where the program comes to it.

A support may depend on latents before it, as that of Uniform(0, 1 - a) does, so the maps are found in the run itself.
"""

from __future__ import annotations

from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.program import Program
from inference.supports import map_of


class _AllPlaced(Exception):
    """Every latent has its value: what the program does after is not needed."""


class Place(Messenger):
    """Gives each latent its value from unconstrained numbers by name, and adds up log |d value / d number|."""

    def __init__(self, parts: dict[str, Tensor]) -> None:
        super().__init__()
        self.parts = parts
        self.values: dict[str, Tensor] = {}
        self.log_volume: Any = 0.0

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.parts or msg["is_observed"]:
            return
        onto, free = map_of(msg["fn"].support), self.parts[msg["name"]]
        msg["value"] = self.values[msg["name"]] = onto(free)
        msg["done"] = True
        self.log_volume = self.log_volume + onto.log_abs_det_jacobian(free, msg["value"]).sum()


class _Constrain(Place):
    def _pyro_post_sample(self, msg: Any) -> None:
        if len(self.values) == len(self.parts):
            raise _AllPlaced


class _Free(Messenger):
    """The way back, and whether each value lies in its support."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values
        self.parts: dict[str, Tensor] = {}
        self.inside: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.values or msg["is_observed"]:
            return
        msg["value"], msg["done"] = self.values[name], True
        self.inside[name] = msg["fn"].support.check(msg["value"]).all()
        self.parts[name] = map_of(msg["fn"].support).inv(msg["value"])
        if len(self.parts) == len(self.values):
            raise _AllPlaced


def constrained(program: Program, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The latents' values of unconstrained numbers by name."""
    place = _Constrain(parts)
    _run(program, place)
    return place.values


def freed(program: Program, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The unconstrained numbers of values by name, and whether each value lies in its support."""
    free = _Free(values)
    _run(program, free)
    return free.parts, free.inside


def _run(program: Program, handler: Messenger) -> None:
    try:
        program.run(handler, summed=True)  # else what is summed out would be drawn, which can't be vmapped
    except _AllPlaced:
        return
