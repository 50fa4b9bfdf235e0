"""What becomes of a spread, also where one steps in: `query(spread, "total", given={"I": nodes}, do={"cut": edges})`.

Targets: "total", how many are ever reached, those with whom it begins among them; "peak", the most who pass it on at
once, and "peak_step", when first; the name of a compartment, how many are in it at the end; "saved", how many fewer
are reached than if one let it be.

    do={"vaccinate": nodes}     nothing reaches them (in a population: so many heads of the first compartment)
    do={"cut": edges}           nothing passes along them
    do={"contacts": 0.5}        contacts are multiplied by this, or from steps on: {20: 0.5, 50: 1.0}

Where nobody comes back to the first compartment, runs with and without the intervention have all draws in common that
it doesn't touch (`inference.spread.live_edges`), so that "saved" is a difference within each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.query.answer import Answer
from inference.spread.do import Intervention
from inference.spread.measures import answered, check_target, measured
from inference.spread.runs import Begun, courses


def outcome(
    spread: Any,
    target: str,
    given: Mapping[Any, Any],
    do: Mapping[Any, Any] | None = None,
    seed: int = 0,
    *,
    draws: int = 1000,
) -> Answer:
    """The expected outcome, with the interval that holds nine tenths of the runs and the Monte Carlo error of the mean.

    Parameters:
        spread: on a graph, an `Outbreak`, or a `Posterior` of one.
        target: what is asked; see above. Of an outbreak also "curve", what there is to report at its times.
        given: on a graph who begins it: labels by compartment, or how many at random; and "steps", where it doesn't end
            by itself. In a population nothing: an outbreak says how it begins.
        do: the intervention.
        draws: runs, or draws of a prior; a posterior has its own.

    Raises:
        ValueError: an unknown target, node, edge or key; a factor below 0; someone vaccinated who begins it.
    """
    if not hasattr(spread, "simulate"):
        from inference.spread.population import population

        return population(spread, target, given, do or {}, seed, draws)
    check_target(target, tuple(spread.compartments.names), bool(do))
    intervention = Intervention.of(spread, do or {})
    begun = Begun.of(spread, given, intervention)
    runs = courses(spread, begun, intervention, draws, seed)
    if target != "saved":
        return answered(target, measured(target, runs), runs.method)
    before = courses(spread, begun, Intervention.of(spread, {}), draws, seed)
    return answered(target, (before.total - runs.total).double(), f"{runs.method}, with and without what is done")
