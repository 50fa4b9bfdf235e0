"""Whether the draws of chains can be trusted: agreement, number, groups, divergences, funnels."""

from __future__ import annotations

import numpy as np

from inference.diagnostics import convergence, geometry, grouping
from inference.diagnostics.health import listed
from inference.diagnostics.posterior_findings import Findings

APART = {"stuck chains", "label switching", "several modes"}
"""Illnesses of chains that are in several places."""


def on_chains(found: Findings) -> None:
    """All that chains show of themselves, and what ails them."""
    posterior, coordinates = found.posterior, found.coordinates
    chains, draws = posterior.shape
    table = found.statistics = convergence.statistics(coordinates, posterior.super_chains)
    for column, name in (("r_hat", "r-hat"), ("nested_r_hat", "nested r-hat")):
        if column in table and chains > 1:
            found.row(f"largest {name}", table[column].max())
    found.row("least effective draws, bulk", table["ess_bulk"].min())
    found.row("least effective draws, tail", table["ess_tail"].min())
    found.row("largest MCSE of a mean, posterior sds", (table["mcse_mean"] / table["sd"]).max())
    found.tell(convergence.agreement(table, chains))
    _groups(found)
    if not APART & set(found.alarms):
        found.tell(convergence.sufficiency(table, chains * draws))
    _geometry(found)


def _groups(found: Findings) -> None:
    coordinates = found.coordinates
    chains = len(coordinates.values)
    still = grouping.stuck(coordinates)
    if still:
        found.alarm(
            "stuck chains",
            f"{len(still)} of {chains} chains stand still ({listed([str(c) for c in still], 5)}): they hold no draws "
            "to speak of. Warm up longer, start elsewhere (start=), or look for a likelihood that is flat or broken "
            "there.",
        )
    labels = grouping.switched(coordinates)
    if labels is not None:
        found.alarm(
            "label switching",
            f"Labels have switched: {labels}. The program says the same whichever component is which, so that means of "
            f"one component's numbers mean nothing. Order them (a prior on ordered values), or sort {labels.site} in "
            "each draw before you read them.",
        )
    apart = grouping.groups(coordinates, still)
    if apart is not None and labels is None:
        found.alarm(
            "several modes",
            f"The chains live in {len(apart.chains)} places and do not travel between them: {apart}. How many are in "
            "each tells where they began, not how probable it is: weigh the places by smc, or rule out by the prior "
            "what can't be meant.",
        )


def _geometry(found: Findings) -> None:
    energy, depth, diverging = (found.stat(name) for name in ("energy", "tree_depth", "diverging"))
    if energy is not None and energy.shape[1] > 3:
        found.row("E-BFMI, median of the chains", float(np.median(convergence.bfmi(energy))))
        found.tell(convergence.energy_moves(energy))
    if depth is not None:
        found.tell(convergence.tree_depth(depth, int(found.posterior.extra.get("max_depth", 10))))
    if not APART & set(found.alarms):  # a funnel is seen in chains that are in one place
        found.funnel = geometry.funnel(found.coordinates)
    count = 0 if diverging is None else int(diverging.sum())
    if diverging is not None:
        found.row("divergences", count)
        _divergences(found, diverging.astype(bool), count)
    if found.funnel is None:
        return
    if {"divergences", "low energy", "chains disagree", "too few draws"} & set(found.alarms):
        found.alarm(
            "funnel",
            f"There is a funnel: {found.funnel}. No one step size suits both ends, and the narrow one is sampled too "
            f"little. Write {found.funnel.site} non-centred: a standard normal, times {found.funnel.scale} "
            "(for one site: poutine.reparam with LocScaleReparam(0)); or give the scale a prior that keeps off zero.",
        )
    else:
        found.verdict.append(f"There is a funnel, and the chains have had no trouble with it: {found.funnel}.")


def _divergences(found: Findings, diverging: np.ndarray, count: int) -> None:
    if not count:
        found.verdict.append("No trajectory diverged.")
        return
    suspect = None if found.funnel is None else found.funnel.scale
    found.gathering = geometry.gathering(found.coordinates, diverging, suspect)
    where = "They gather nowhere in particular" if found.gathering is None else _sentence(str(found.gathering))
    cure = "Take smaller steps (a higher target)" if found.gathering is None else "Reparameterise what is narrow there"
    if found.gathering is None and count <= geometry.FEW * diverging.size:
        found.verdict.append(
            f"{count} of {diverging.size:,} trajectories diverged, nowhere in particular: too few to matter, it seems."
        )
        return
    found.alarm(
        "divergences",
        f"{count} of {diverging.size:,} trajectories diverged: the steps were too long for the posterior's bends, and "
        f"what lies behind them is missed. {where}. {cure}, and run again until none are left.",
    )


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
