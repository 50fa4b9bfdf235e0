"""The log density of a program on unconstrained numbers, for many chains at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import biject_to

from inference.program import Program
from inference.program_data import settings
from inference.program_sites import joint

TRIES = 100
"""Starts that are tried for a chain before it is said that there is none."""
CHUNK = 1024
"""Rows that are constrained at a time."""


class _AllPlaced(Exception):
    """Every latent has its value: what the program does after is not needed."""


class _Place(Messenger):
    """Gives each latent its value from unconstrained numbers, by the map of the support it has at that point."""

    def __init__(self, parts: dict[str, Tensor], only: bool = False) -> None:
        super().__init__()
        self.parts, self.only = parts, only
        self.values: dict[str, Tensor] = {}
        self.log_volume: Any = 0.0

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.parts or msg["is_observed"]:
            return
        map_of = biject_to(msg["fn"].support)
        free = self.parts[name]
        msg["value"] = self.values[name] = map_of(free)
        msg["done"] = True
        if not self.only:
            self.log_volume = self.log_volume + map_of.log_abs_det_jacobian(free, msg["value"]).sum()
        elif len(self.values) == len(self.parts):
            raise _AllPlaced


class _Free(Messenger):
    """The way back: from each latent's value to its unconstrained numbers."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values
        self.parts: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.values or msg["is_observed"]:
            return
        msg["value"], msg["done"] = self.values[name], True
        self.parts[name] = biject_to(msg["fn"].support).inv(msg["value"])
        if len(self.parts) == len(self.values):
            raise _AllPlaced


class LogDensity:
    """log p(latents, observed) + log |d latents / d q| of a program, q being dim real numbers a chain: [C, dim].

    Supports may depend on latents drawn before: each map is that of the support found while the program runs.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.shapes = {name: free_shape(site) for name, site in program.latents.items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.dim = sum(self.sizes)
        self.evaluations = 0

    @classmethod
    def of(cls, program: Program) -> LogDensity:
        return cls(program)

    @property
    def names(self) -> list[str]:
        """A name for each of the dim numbers: that of the site, with the place in its unconstrained shape."""
        return [name + _place(shape, i) for name, shape in self.shapes.items() for i in range(shape.numel())]

    def __call__(self, q: Tensor) -> Tensor:
        """The log density of each chain, [C] nats."""
        with torch.no_grad():
            return torch.vmap(self._single)(q)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """([C], [C, dim]): the log density and its slope."""
        self.evaluations += 1
        with torch.enable_grad():
            q = q.detach().requires_grad_()
            value = torch.vmap(self._single)(q)
            (slope,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), slope

    def constrain(self, q: Tensor) -> dict[str, Tensor]:
        """{name: [..., *shape]} the latents' own values at q [..., dim]."""

        def one(row: Tensor) -> dict[str, Tensor]:
            place = _Place(self._parts(row), only=True)
            self._run_until_placed(place)
            return place.values

        return self._by_rows(one, q, q.shape[:-1])

    def unconstrain(self, values: dict[str, Tensor]) -> Tensor:
        """q [..., dim] of the latents' own values {name: [..., *shape]}."""
        name, site = next(iter(self.program.latents.items()))
        lead = values[name].shape[: values[name].dim() - len(site.shape)]

        def one(row: dict[str, Tensor]) -> Tensor:
            free = _Free(row)
            self._run_until_placed(free)
            return torch.cat([free.parts[name].reshape(-1) for name in self.shapes])

        flat = {name: values[name].reshape(-1, *site.shape) for name, site in self.program.latents.items()}
        with torch.no_grad():
            return torch.vmap(one)(flat).reshape(*lead, self.dim)

    def with_data(self, data: Any) -> LogDensity:
        """The same density on other data of the same structure."""
        other = copy.copy(self)
        other.program, other.evaluations = self.program.with_data(data), 0
        return other

    def start(self, chains: int, radius: float = 2.0) -> Tensor:
        """q [chains, dim] of finite density and slope: uniform within `radius` of zero, or else draws of the prior."""
        q = torch.zeros(chains, self.dim, dtype=self.program.precision, device=self.program.device)
        missing = torch.ones(chains, dtype=torch.bool, device=q.device)
        for _ in range(TRIES):
            tried = radius * (2 * torch.rand_like(q) - 1)
            value, slope = self.value_and_grad(tried)
            found = missing & value.isfinite() & slope.isfinite().all(-1)
            q[found] = tried[found]
            missing &= ~found
            if not missing.any():
                return q
        raise ValueError(f"{self.program.name}: no start of finite density found in {TRIES} tries")

    def _by_rows(self, one: Callable[[Tensor], dict[str, Tensor]], q: Tensor, lead: torch.Size) -> dict[str, Tensor]:
        with torch.no_grad():
            parts = [torch.vmap(one)(rows) for rows in q.reshape(-1, self.dim).split(CHUNK)]
        return {
            name: torch.cat([part[name] for part in parts]).reshape(*lead, *site.shape)
            for name, site in self.program.latents.items()
        }

    def _parts(self, q: Tensor) -> dict[str, Tensor]:
        pieces = q.split(self.sizes, -1)
        return {name: piece.reshape(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def _run_until_placed(self, handler: Messenger) -> None:
        try:
            self.program.run(handler)
        except _AllPlaced:
            return

    def _single(self, q: Tensor) -> Tensor:
        place = _Place(self._parts(q))
        trace = self.program.run(place, summed=True)
        with settings(self.program.precision, self.program.device):
            return joint(trace, self.program.discrete) + place.log_volume


def free_shape(site: Any) -> torch.Size:
    """The shape of a site's unconstrained numbers."""
    return torch.Size(biject_to(site.support).inverse_shape(site.shape))


def _place(shape: torch.Size, i: int) -> str:
    if not shape:
        return ""
    index = []
    for size in reversed(shape):
        index.append(str(i % size))
        i //= size
    return f"[{','.join(reversed(index))}]"
