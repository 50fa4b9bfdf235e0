"""The log density of a program on unconstrained numbers, for many chains at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.naming import numbers
from inference.program import Program
from inference.program_data import settings
from inference.program_sites import joint
from inference.sampling.placing import Place, constrained, freed
from inference.sampling.starting import start
from inference.sampling.traced import Traced

CHUNK = 1024
"""Rows that are constrained at a time."""
CURVES = 64
"""Rows of a Hessian that are worked out at a time."""


class LogDensity:
    """log p(latents, observed) + log |d latents / d q| of a program, q being dim real numbers a chain: [C, dim].

    Nats, up to a constant. The program is run once for each number of chains, all in one batch, and what torch did is
    recorded and run again from then on. A program that can't be run so, as its control flow depends on the latents,
    is run chain by chain, which is slow and said in a warning. Where a decomposition fails the density is nan.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.shapes = {name: site.free for name, site in program.latents.items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.dim = sum(self.sizes)
        self.evaluations = 0
        self._traces: dict[Any, Traced] = {}
        self.why_not = ""
        self._one_by_one = False

    @classmethod
    def of(cls, program: Program) -> LogDensity:
        return cls(program)

    @property
    def names(self) -> list[str]:
        """A name for each of the dim numbers: its site's, with its place in the site's unconstrained shape."""
        return [place for name, shape in self.shapes.items() for place in numbers(name, shape)]

    def __call__(self, q: Tensor) -> Tensor:
        """The log density of each chain, [C] nats."""
        return self._traced(self._value, q)[0]

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """([C], [C, dim]): the log density of each chain and its slope."""
        self.evaluations += 1
        value, slope = self._traced(self._value_and_slope, q)
        return value, slope

    def constrain(self, q: Tensor) -> dict[str, Tensor]:
        """{name: [..., *shape]} the latents' own values at q [..., dim]."""

        def one(row: Tensor) -> dict[str, Tensor]:
            return constrained(self.program, self._parts(row))

        rows = self._rows(one, q.reshape(-1, self.dim).split(CHUNK))
        lead = q.shape[:-1]
        return {name: rows[name].reshape(*lead, *site.shape) for name, site in self.program.latents.items()}

    def unconstrain(self, values: dict[str, Tensor], check: bool = True) -> Tensor:
        """q [..., dim] of the latents' own values {name: [..., *shape]}.

        Raises:
            ValueError: a value lies outside its site's support, which is named.
        """
        sites = self.program.latents
        if lacking := [name for name in sites if name not in values]:
            raise ValueError(f"{self.program.name}: no values are given for the latents {', '.join(lacking)}")
        given = {name: torch.as_tensor(values[name]).to(self.program.device, self.program.precision) for name in sites}
        name, site = next(iter(sites.items()))
        lead = given[name].shape[: given[name].dim() - len(site.shape)]
        flat = {name: given[name].reshape(lead.numel(), *site.shape) for name, site in sites.items()}

        def one(row: dict[str, Tensor]) -> dict[str, Tensor]:
            parts, inside = freed(self.program, row)
            free = torch.cat([parts[name].reshape(-1) for name in self.shapes])
            return {"q": free, **{f"in {name}": found for name, found in inside.items()}}

        chunks = [{name: v[i : i + CHUNK] for name, v in flat.items()} for i in range(0, lead.numel(), CHUNK)]
        rows = self._rows(one, chunks)
        for name in sites if check else ():
            if not rows[f"in {name}"].all():
                bad = flat[name][~rows[f"in {name}"]][0].flatten()[:4].tolist()
                raise ValueError(f"{self.program.name}: a value of {name!r} lies outside its support: {bad}")
        return rows["q"].reshape(*lead, self.dim)

    def with_data(self, data: Any) -> LogDensity:
        """The same density on other data of the same structure; nothing is recorded anew where their shapes are."""
        return self._on(self.program.with_data(data))

    def with_observed(self, values: dict[str, Tensor]) -> LogDensity:
        """The same density with these values of observed sites, whatever the data say."""
        return self._on(self.program.with_observed(values))

    def start(self, chains: int, radius: float = 2.0) -> Tensor:
        """q [chains, dim] of finite density and slope, by torch's generator: uniform within `radius`, or of the prior.

        Raises:
            ValueError: there is none; names the site whose density is not finite.
        """
        return start(self, chains, radius)

    def hessian(self, q: Tensor) -> Tensor:
        """The second derivatives at one q [dim], [dim, dim]."""
        with torch.enable_grad():
            return torch.func.jacrev(torch.func.grad(self.single), chunk_size=CURVES)(q.detach())

    def _on(self, program: Program) -> LogDensity:
        other = copy.copy(self)
        other.program, other.evaluations = program, 0
        same = program.frame == self.program.frame
        kept = {key: traced for key, traced in self._traces.items() if same and not traced.branched}
        other._traces = {key: traced.on(program.inputs) for key, traced in kept.items()}
        return other

    def _traced(self, function: Callable[[Tensor], Sequence[Tensor]], q: Tensor) -> Sequence[Tensor]:
        if self._one_by_one:
            return function(q)
        key = function.__name__, q.shape, q.dtype, q.device
        if key in self._traces:
            return _checked(self._traces[key](q))
        known, where = self.program.recorded, (type(self), self.program.frame, key)
        if known is not None and where in known:
            self._traces[key] = known[where].on(self.program.inputs)
            return _checked(self._traces[key](q))
        traced = Traced(function, q, self.program.inputs)
        if not self._one_by_one:
            self._traces[key] = traced
            if known is not None and not traced.branched:
                known[where] = traced
        return _checked(traced.first)

    def _value(self, q: Tensor) -> tuple[Tensor]:
        with torch.no_grad():
            return (self.of_all(q),)

    def _value_and_slope(self, q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            free = q.detach().requires_grad_()
            value = self.of_all(free)
            if not value.requires_grad:  # flat, as where every site is masked
                return value, torch.zeros_like(q)
            (slope,) = torch.autograd.grad(value.sum(), free)
        return value.detach(), slope

    def alone(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slope of one position [dim], run as it is."""
        with torch.enable_grad():
            free = q.detach().requires_grad_()
            value = self.single(free)
            (slope,) = torch.autograd.grad(value, free)
        return value.detach(), slope

    def of_all(self, q: Tensor) -> Tensor:
        """The log density of each chain, [C] nats, differentiable: what is recorded, and what a density overrides whose
        chains are asked of different things.
        """
        return self.each(self.single, q)

    def each(self, one: Callable[[Any], Any], rows: Any) -> Any:
        """`one` of every row of a tensor, or of tensors by name, all at once if that can be."""
        if self._one_by_one:
            return looped(one, rows)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                return torch.vmap(one)(rows)
        except RuntimeError as error:
            made, self._one_by_one = looped(one, rows), True
            warnings.warn(
                f"{self.program.name} can't be run for all chains at once, so it is run one by one, slowly: "
                + str(error).strip().splitlines()[0],
                stacklevel=2,
            )
            return made

    def _rows(self, one: Callable[[Any], dict[str, Tensor]], chunks: Sequence[Any]) -> dict[str, Tensor]:
        with torch.no_grad():
            parts = [self.each(one, chunk) for chunk in chunks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _parts(self, q: Tensor) -> dict[str, Tensor]:
        pieces = q.split(self.sizes, -1)
        return {name: piece.reshape(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def single(self, q: Tensor) -> Tensor:
        """The log density at one position [dim], as the program gives it: differentiable, and for `torch.func`."""
        place = Place(self._parts(q))
        trace = self.program.run(place, summed=True)
        with settings(self.program.precision, self.program.device):
            return joint(trace, self.program.discrete) + place.log_volume


def looped(one: Callable[[Any], Any], rows: Any) -> Any:
    """`torch.vmap(one)(rows)` by a loop, for rows and results that are tensors or mappings to tensors."""
    keys = list(rows) if isinstance(rows, dict) else None
    count = len(rows) if keys is None else len(rows[keys[0]])
    made = [one(rows[i] if keys is None else {key: rows[key][i] for key in keys}) for i in range(count)]
    if isinstance(made[0], dict):
        return {key: torch.stack([each[key] for each in made]) for key in made[0]}
    return torch.stack(made)


def _checked(outputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Value and slope, nan for the chains in which a decomposition failed."""
    count = 2 if len(outputs) > 1 and outputs[1].dim() == 2 else 1
    kept, checks = list(outputs[:count]), outputs[count:]
    if checks:
        failed = torch.stack([check.reshape(len(kept[0]), -1).ne(0).any(1) for check in checks]).any(0)
        kept[0] = kept[0].masked_fill(failed, torch.nan)
    return kept
