"""Alarms: what ails a model of latent variables, and what to do about it; each a sentence, or None where all is well.

References:
    Importance Weighted Autoencoders (Burda et al., 2016), https://arxiv.org/abs/1509.00519, for active units
    Understanding Posterior Collapse in Generative Latent Variable Models (Lucas et al., 2019),
    https://arxiv.org/abs/1911.02469
    Leveraging the Exact Likelihood of Deep Latent Variable Models (Mattei and Frellsen, 2018),
    https://arxiv.org/abs/1802.04826, for the likelihood that grows without bound as a decoder's variance shrinks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from inference.diagnostics.latent import ACTIVE
from inference.diagnostics.pareto import RELIABLE
from inference.objectives.game_watch import collapsed as collapsed_modes
from inference.quality.modes import ModeCoverage
from inference.sites import Broken

SILENT = 0.05
"""Nats a row below which a latent variable's KL tells next to nothing of x."""
TINY = 0.01
"""A decoder's standard deviation, over the data's, below which it has collapsed."""
WARM_UP = "let the KL term in slowly (KL warm-up) or leave each unit some free bits"


def listed(names: Sequence[str], most: int = 8) -> str:
    """A list in words, cut off after so many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def collapsed(name: str, variance: np.ndarray, kl: float, error: float) -> str | None:
    """Units that don't depend on x, by the variance of their mean over rows; a KL that bounds what z tells of x."""
    units, silent = len(variance), np.flatnonzero(variance <= ACTIVE)
    if len(silent) == units and units:
        none_of = "the one unit of" if units == 1 else f"none of the {units} units of"
        depends = "does not depend" if units == 1 else "depends"
        return (
            f"The posterior has collapsed: {none_of} {name!r} {depends} on x; "
            f"weaken the decoder, {WARM_UP.replace(' or ', ', or ')}."
        )
    if 2 * len(silent) >= units > 0:
        return (
            f"The posterior has collapsed in part: units {listed([str(i) for i in silent])} of {name!r} do not depend "
            f"on x, {len(silent)} of {units}; take fewer units, {WARM_UP.replace(' or ', ', or ')}."
        )
    if kl + 2 * error < SILENT:
        return (
            f"The posterior has collapsed: the KL of {name!r} is {kl:.2g} nats a row, and it can tell no more than "
            f"that of x; weaken the decoder, {WARM_UP.replace(' or ', ', or ')}."
        )
    return None


def modes_collapsed(coverage: ModeCoverage) -> str | None:
    """Modes of the data that samples do not reach."""
    if not coverage.missing:
        return None
    sentence = collapsed_modes(coverage)
    return f"{sentence[0].upper()}{sentence[1:]}"


def broken(site: Broken, model: Any) -> str:
    """A site whose log-probability is not finite, and the first parameter that is NaN."""
    named = model.named_parameters() if isinstance(model, nn.Module) else ()
    names = [name for name, parameter in named if parameter.isnan().any()]
    of = f", and its parameters {listed(names, 3)} are nan" if names else ""
    cure = "fit again with a lower lr, or clip" if names else "look at these rows and at what is asked of them there"
    return f"The model is not finite: first at {site}{of}; {cure}."


def unreliable(k: np.ndarray) -> str | None:
    """Whether importance weights, and the bound they give, can be trusted."""
    share = (k < RELIABLE).mean()
    if np.isnan(k).any() or share >= 0.95:
        return None
    return (
        f"The guide misses part of the posterior: Pareto k is above {RELIABLE} for {1 - share:.0%} of rows, "
        "where the importance-weighted bound and all weighted answers are unreliable, off by more than their errors "
        "say; take more draws or a richer encoder."
    )


def scale_collapsed(scale: np.ndarray, data: np.ndarray, names: Sequence[str]) -> str | None:
    """Columns where p(x | z) is as good as a point; or a scale that lies at its floor. Both are [rows, columns]."""
    spread = data.std(0)
    against = np.where(spread > 0, spread, data.std())
    if not against.all():  # all the data are one number, and there is nothing to hold a scale to
        return None
    ratio = scale / against
    point = np.flatnonzero((ratio < TINY).mean(0) > 0.5)
    cure = "give the columns one learned scale, or a floor that the data's own precision sets"
    if len(point):
        return (
            f"The decoder's variance has collapsed in {len(point)} of {len(spread)} columns "
            f"({listed([names[int(i)] for i in point])}): its standard deviation is down to "
            f"{scale[:, point].min():.2g}, where the likelihood grows without bound and tells nothing; {cure}."
        )
    floor = scale == scale.min()
    at_floor = np.flatnonzero(floor.all(0) if floor.all(0).sum() > 1 else floor.mean(0) > 0.5)
    if len(at_floor) > 1 and floor.mean() >= 0.5 and not floor.all() and ratio[:, at_floor].max() < 0.1:
        return (
            f"The decoder's standard deviation lies at its floor of {scale.min():.2g} in {floor.mean():.0%} of cells, "
            f"and would go on falling without it: the floor sets the likelihood; {cure}."
        )
    return None


def of_kl(history: pd.DataFrame | None) -> dict[str, str]:
    """What the KL terms of a fit did: exploding, vanishing."""
    found: dict[str, str] = {}
    for column in [] if history is None else history:
        if str(column).rpartition(".")[2].split("_")[0] != "kl":
            continue
        seen = history[["step", column]].dropna()  # type: ignore[index]
        if len(seen) < 4:
            continue
        step, kl = seen["step"].to_numpy(), seen[column].to_numpy(dtype=float)
        quarter = len(kl) // 4
        losses = f"{str(column).rpartition('.')[0]}.loss".lstrip(".")
        loss = history[losses].to_numpy(dtype=float)[seen.index] if losses in history else kl  # type: ignore[index,operator]
        jump = _jump(step, kl, loss)
        if jump:
            found["exploding KL"] = (
                f"The term {str(column)!r} exploded: {jump}; lower the learning rate, or clip gradients (clip=...)."
            )
        last = kl[-quarter:]
        if abs(last.mean()) + 2 * last.std() / len(last) ** 0.5 < SILENT:
            found["vanishing KL"] = (
                f"The term {str(column)!r} vanished: from {kl[0]:.3g} nats a row at step {step[0]:.0f} to "
                f"{last.mean():.2g} over the last quarter; {WARM_UP}."
            )
    return found


def _jump(step: np.ndarray, kl: np.ndarray, loss: np.ndarray) -> str:
    """How a KL left all bounds, in words, and the loss with it; a fit may begin high, and a code be slow to start."""
    quarter, usual = len(kl) // 4, float(np.median(kl))
    worst = quarter + int(kl[quarter:].argmax())
    if kl[worst] > 10 * max(usual, 1.0) and loss[worst] > np.median(loss):
        return f"{kl[worst]:.3g} nats a row at step {step[worst]:.0f}, where half of the reports are below {usual:.3g}"
    if kl[-quarter:].min() > 10 * max(kl[0], 1.0) and loss[-quarter:].min() > loss[0]:
        return f"from {kl[0]:.3g} nats a row at step {step[0]:.0f} to {kl[-1]:.3g}, and the loss rose with it"
    return ""
