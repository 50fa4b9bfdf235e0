"""Whom to choose: the k nodes to begin with, or to vaccinate, one after the other, and what each of them is worth.

    best(rumour, 5)                                             seeds of a campaign: those who are reached
    best(epidemic, 5, do="vaccinate", given={"I": 1})           whom it spares, wherever it begins

What they are worth is told by other runs than those that they were chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.near import near
from inference.protocols import name_of
from inference.spread.chosen import Choice
from inference.spread.live_edges import Live
from inference.spread.seeds import seeds
from inference.spread.vaccinated import vaccinated

__all__ = ["Choice", "best"]

CHOICES = {"seed": seeds, "vaccinate": vaccinated}


def best(
    spread: Any,
    k: int,
    do: str = "seed",
    *,
    given: Mapping[Any, Any] | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Choice:
    """The k nodes that are worth most, greedily.

    Parameters:
        spread: on a graph, where nobody comes back to the first compartment.
        k: how many.
        do: "seed", to begin it with them; "vaccinate", to spare as many as can be.
        given: to vaccinate, who begins it, as in `outcome`: {"I": labels}, or {"I": 1} for one at random; and for both
            {"steps": 10}, where who is reached until then counts.
        samples: sets, or runs, to choose by, and as many again to tell what the choice is worth; to vaccinate, as many
            again between them, by which greedy and the highest degrees are compared.

    Raises:
        ValueError: k that is too large; an unknown `do`; a spread that comes back; who begins it missing or unknown.
    """
    if do not in CHOICES:
        raise ValueError(f"do={do!r} is nothing to choose nodes for{near(do, CHOICES)}")
    if not hasattr(spread, "graph"):
        raise TypeError(f"nodes are chosen for a spread on a graph, not for a {name_of(spread)}")
    if samples is not None and not (isinstance(samples, int) and samples >= 2):
        raise ValueError(f"samples are a whole number from 2 on, not {samples!r}")
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"given says who begins it, {{compartment: [nodes]}}, and is no {name_of(given)}")
    live = Live.of(spread, seed)
    if live is None:
        raise ValueError(
            "nodes are chosen for spreads in which nobody comes back to the first compartment, on a graph and with "
            "rates that stay as they are"
        )
    return CHOICES[do](spread, live, k, dict(given or {}), samples)
