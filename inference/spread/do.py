"""An intervention as it was asked for, checked."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from inference.near import near
from inference.spread.live_edges import Contacts

KEYS = ("vaccinate", "cut", "contacts")


@dataclass(frozen=True)
class Intervention:
    """What is done to a spread on a graph.

    Attributes:
        vaccinated: labels of nodes, and `closed` whether each is one, bool [n].
        edges: pairs of labels.
        contacts: by what contacts are multiplied from which step on.
    """

    closed: Tensor
    vaccinated: Sequence[Any] = ()
    edges: Sequence[tuple[Any, Any]] = ()
    contacts: Contacts = field(default_factory=Contacts)

    @classmethod
    def of(cls, spread: Any, do: Mapping[Any, Any]) -> Intervention:
        check_keys(do)
        graph = spread.graph
        vaccinated, edges = do.get("vaccinate", ()), _pairs(do.get("cut", ()))
        places = graph.index(vaccinated)
        closed = torch.zeros(graph.n, dtype=torch.bool, device=places.device)
        closed[places] = True
        made = cls(closed, list(vaccinated), edges, contacts_of(do.get("contacts", 1.0)))
        if edges:
            graph.without_edges(edges)  # which looks whether they are there
        if do.get("contacts") is not None and not hasattr(spread, "rates"):
            raise ValueError("contacts are a matter of rates, and a spread by thresholds has none: cut edges instead")
        return made

    def cut(self, graph: Any) -> Tensor | None:
        """Which edges are cut, bool [E]; None for none."""
        if not self.edges:
            return None
        kept = graph.without_edges(self.edges)
        return ~torch.isin(graph.sources * graph.n + graph.indices, kept.sources * graph.n + kept.indices)

    def on(self, spread: Any) -> Any:
        """The spread as it is where this is done, for those that are run step by step."""
        graph = spread.graph.without_nodes(self.vaccinated) if self.vaccinated else spread.graph
        made = copy.copy(spread)
        made.graph = graph.without_edges(self.edges) if self.edges else graph
        if self.contacts != Contacts():
            met = {transition.rate for transition in spread.compartments.transitions if transition.by}
            step = spread.step
            made.rates = {
                name: scaled(rate, self.contacts, step) if name in met else rate for name, rate in spread.rates.items()
            }
        return made


def _pairs(edges: Any) -> list[tuple[Any, Any]]:
    pairs = list(edges) if hasattr(edges, "__iter__") else [edges]
    if wrong := [pair for pair in pairs if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2]:
        raise ValueError(f"edges to cut are a list of pairs of nodes, and {wrong[0]!r} is no pair")
    return [(a, b) for a, b in pairs]


def scaled(rate: Any, contacts: Contacts, step: float) -> Any:
    """A rate as a function of time, multiplied as contacts are."""

    def at(time: float) -> Any:
        return (rate(time) if callable(rate) else rate) * contacts.factor(time / step + 1e-9)

    return at


def check_keys(do: Mapping[Any, Any]) -> None:
    if unknown := [key for key in do if key not in KEYS]:
        raise ValueError(f"do={{{unknown[0]!r}: ...}} is no intervention{near(unknown[0], KEYS)}")


def contacts_of(given: Any) -> Contacts:
    """A factor, or factors by the step from which on they hold."""
    pieces = dict(given) if isinstance(given, Mapping) else {0: given}
    for start, factor in pieces.items():
        if not (isinstance(factor, Real) and 0 <= float(factor) < math.inf):
            raise ValueError(f"contacts are multiplied by a number from 0 on, not {factor}")
        if not (isinstance(start, Real) and 0 <= float(start) < math.inf):
            raise ValueError(f"contacts change from a step on, 0 or later, not {start!r}")
    ordered = sorted({0: 1.0, **pieces}.items())
    return Contacts(tuple(float(start) for start, _ in ordered), tuple(float(factor) for _, factor in ordered))
