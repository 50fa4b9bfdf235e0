"""Any Pyro model as a program: what it leaves unknown, what it observes, and its log joint density."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions.constraints import Constraint

from inference.near import near
from inference.program_checks import check_sites, in_a_sentence, in_parallel
from inference.program_data import arguments_of, framed, settings
from inference.program_sites import Draw, Enumerate, Substitute, is_derived, is_draw, joint, pack
from inference.protocols import OnGraph, offers
from inference.seeding import seeded
from inference.supports import map_of


@dataclass(frozen=True)
class Site:
    """A sample statement: its value's shape, the plate of each of its axes (None: a part of one event), its support.

    `free` is the shape of its unconstrained numbers: K - 1 for a simplex of K. Observed sites have none.
    """

    name: str
    shape: torch.Size
    plates: tuple[str | None, ...]
    support: Constraint
    dtype: torch.dtype
    free: torch.Size


@dataclass
class Program:
    """A Pyro model and its data: log p(latents, observed), discrete latents summed out.

    `latents`, `observed` and `derived` (what `pyro.deterministic` names) are sites by name, in the program's order;
    `discrete` the latents that are summed over, in parallel. The model is any callable with sample statements, or an
    object that has one as `.model`. Values are tensors of the sites' own shapes; log densities are in nats.
    `recorded`, where it is given, holds what densities recorded of the program, for itself on other observed values.
    """

    model: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    precision: torch.dtype
    device: Any
    name: str = ""
    latents: dict[str, Site] = field(default_factory=dict)
    observed: dict[str, Site] = field(default_factory=dict)
    derived: dict[str, Site] = field(default_factory=dict)
    discrete: tuple[str, ...] = ()
    nesting: int = 0
    seen: dict[str, Tensor] = field(default_factory=dict)
    recorded: dict[Any, Any] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, model: Any, data: Any = None, *, precision: torch.dtype = torch.float64, device: Any = None, seed: int = 0
    ) -> Program:
        """The program of a model and its data: run once, on a draw of its prior, to see what it is made of.

        A mapping is given as keywords, a tuple in order, a tensor or an array by itself.

        Raises:
            ValueError: no latents; a discrete latent that can't be summed over; a plate of which a part is drawn; data
                of another length than their plate.
        """
        if isinstance(model, Program):
            return model
        called = getattr(model, "model", model)
        if not callable(called):
            hint = "; `history` draws what can't be seen of a spread on a graph" if offers(model, OnGraph) else ""
            raise TypeError(
                f"a model is called with the data, and a {type(model).__name__} can't be: give a function{hint}"
            )
        name = getattr(called, "__name__", type(called).__name__)
        called_by = type(model).__name__ if called is not model else name
        program = cls(called, arguments_of(data, precision, device), precision, device, called_by)
        with seeded(seed, device), in_a_sentence(called_by):
            program._look()
        return program

    def _look(self) -> None:
        trace = self.run(Draw(improper=True))
        sites = {name: node for name, node in trace.nodes.items() if is_draw(node)}
        check_sites(self.name, sites)
        self.nesting = max((-f.dim for n in sites.values() for f in n["cond_indep_stack"] if f.vectorized), default=0)
        self.discrete = tuple(n for n, node in sites.items() if not node["is_observed"] and _is_discrete(node))
        made = {name: _site(name, node) for name, node in sites.items()}
        self.latents = {n: made[n] for n in sites if not sites[n]["is_observed"] and n not in self.discrete}
        self.observed = {n: made[n] for n in sites if sites[n]["is_observed"]}
        self.derived = {name: _site(name, node) for name, node in trace.nodes.items() if is_derived(node)}
        if not self.latents:
            raise ValueError(
                f"{self.name}: no continuous latent to infer"
                + (f", {', '.join(self.discrete)} would be summed out" if self.discrete else "")
                + "; is every sample statement given obs=?"
            )
        if self.discrete:
            with in_parallel(self.name, self.discrete), settings(self.precision, self.device):
                pack(self.trace({name: sites[name]["value"] for name in self.latents}))

    def run(self, *handlers: Messenger, summed: bool = False) -> Any:
        """The Pyro trace of a run under these handlers, innermost first; `summed`: discrete latents in parallel."""
        model = self.model
        if self.seen:
            model = poutine.condition(model, data=self.seen)
        if summed and self.discrete:
            model = config_enumerate(model)
        for handler in handlers:
            model = functools.partial(_within, handler, model)
        if summed and self.discrete:
            model = functools.partial(_within, Enumerate(first_available_dim=-1 - self.nesting), model)
        args, kwargs = self.arguments
        with settings(self.precision, self.device):
            return poutine.trace(model).get_trace(*args, **kwargs)

    def trace(self, values: dict[str, Tensor]) -> Any:
        """A Pyro trace with these values of the latents; discrete ones at all of theirs, in parallel."""
        return self.run(Substitute(values), summed=True)

    def log_joint(self, values: dict[str, Tensor]) -> Tensor:
        """log p(values, observed), one number: discrete latents summed out, scales and masks taken in."""
        trace = self.trace(values)
        with settings(self.precision, self.device):
            return joint(trace, self.discrete)

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that the program is given: its data, and what is observed in their place."""
        args, kwargs = self.arguments
        return [v for v in (*args, *kwargs.values(), *self.seen.values()) if isinstance(v, Tensor)]

    @property
    def frame(self) -> tuple[Any, ...]:
        """What two calls of the program must have in common to be the same but for numbers in tensors."""
        args, kwargs = self.arguments
        return tuple((name, framed(value)) for name, value in (*enumerate(args), *kwargs.items(), *self.seen.items()))

    def with_data(self, data: Any) -> Program:
        """The same program on other data of the same structure, not checked again."""
        other = copy.copy(self)
        other.recorded = None
        other.arguments = arguments_of(data, self.precision, self.device)
        return other

    def with_observed(self, values: dict[str, Tensor]) -> Program:
        """The same program with these values of observed sites, whatever its data say."""
        other = copy.copy(self)
        if unknown := [name for name in values if name not in self.observed]:
            raise ValueError(f"{self.name}: no observed site {unknown[0]!r}{near(unknown[0], self.observed)}")
        given = {name: value.to(self.device, self.observed[name].dtype) for name, value in values.items()}
        other.seen = {**self.seen, **given}
        return other


def _within(handler: Messenger, model: Any, *args: Any, **kwargs: Any) -> Any:
    with handler:
        return model(*args, **kwargs)


def _is_discrete(node: Any) -> bool:
    return bool(getattr(node["fn"].support, "is_discrete", False))


def _site(name: str, node: Any) -> Site:
    value, fn = node["value"], node["fn"]
    plates: list[str | None] = [None] * value.dim()
    for frame in node["cond_indep_stack"]:
        axis = value.dim() - fn.event_dim + (frame.dim if frame.vectorized else -value.dim() - 1)
        if axis >= 0:
            plates[axis] = frame.name
    free = torch.Size() if node["is_observed"] or _is_discrete(node) else map_of(fn.support).inv(value).shape
    return Site(name, value.shape, tuple(plates), fn.support, value.dtype, free)
