"""Sentences: what the numbers of a diagnosis mean, in plain words."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from inference.diagnostics.health import listed, unreliable
from inference.diagnostics.latent import ACTIVE
from inference.diagnostics.pareto import RELIABLE
from inference.likelihood import LogLikelihood
from inference.quality.modes import ModeCoverage, in_percent
from inference.results import NATS


def on_likelihood(likelihood: LogLikelihood) -> str:
    """A number with its kind, its error and its rows."""
    mass = "probabilities" if likelihood.measure == "mass" else "densities"
    return (
        f"Log-likelihood {likelihood.mean:.2f} ± {likelihood.mean_error:.2f} nats a row on "
        f"{len(likelihood.values)} rows ({likelihood.kind}, of {mass}; {likelihood.method})."
    )


def on_guide(k: np.ndarray, gap: float) -> list[str]:
    """That importance weights from the guide can be trusted, where they can; how far the ELBO is from their bound."""
    if np.isnan(k).any():
        return ["Pareto k needs at least 25 draws of the guide."]
    first = f"The guide is reliable: Pareto k is below {RELIABLE} for {(k < RELIABLE).mean():.0%} of rows."
    return [*([] if unreliable(k) else [first]), f"Importance weights gain {gap:.2f} nats a row over the ELBO."]


def on_units(name: str, variance: np.ndarray) -> str:
    """Which units of a code say something of x."""
    units, active = len(variance), int((variance > ACTIVE).sum())
    if active == units:
        return f"The one unit of {name!r} is active." if units == 1 else f"All {units} units of {name!r} are active."
    silent = listed([str(i) for i in np.flatnonzero(variance <= ACTIVE)])
    which = f"unit {silent} says" if units - active == 1 else f"units {silent} say"
    return f"{active} of {units} units of {name!r} {'is' if active == 1 else 'are'} active: {which} nothing of x."


def on_history(history: pd.DataFrame | None, kept: int | None = None) -> list[str]:
    """Whether training had ended, and whether it had gone on for too long; `kept` is the step whose weights were."""
    if history is None or "loss" not in history or len(history) < 8:
        return []
    watched = "held_out" if "held_out" in history and history["held_out"].notna().sum() >= 8 else "loss"
    loss = history[watched].dropna().to_numpy(dtype=float)
    quarter = len(loss) // 4
    before, last = loss[-2 * quarter : -quarter], loss[-quarter:]
    fall = before.mean() - last.mean()
    noise = math.sqrt(before.var() / len(before) + last.var() / len(last))
    unit = history.attrs.get("unit", NATS)
    name = "The held-out loss" if watched == "held_out" else "The training loss"
    if fall > 2 * noise and fall > 0.02 * (loss[0] - loss.min()):
        sentences = [f"{name} was still falling, by {fall:.2g} {unit} over the last quarter: fit longer."]
    else:
        sentences = [f"{name} no longer fell by the end."]
    return sentences + _on_held_out(history, kept)


def _on_held_out(history: pd.DataFrame, kept: int | None) -> list[str]:
    if "held_out" not in history:
        return []
    seen = history[["step", "loss", "held_out"]].dropna()
    if len(seen) < 4:
        return []
    held_out, step = seen["held_out"].to_numpy(), seen["step"].to_numpy()
    best = int(held_out.argmin())
    rise, range_ = held_out[-1] - held_out[best], held_out[0] - held_out[best]
    gap = held_out[-1] - seen["loss"].to_numpy()[-1]
    unit = history.attrs.get("unit", NATS)
    sentences = [f"At the end the held-out loss was {gap:+.2f} {unit} from the training loss."]
    if kept is not None and kept < step[-1]:
        sentences.append(f"The weights of step {kept} were kept, where the held-out loss was lowest.")
    elif best < 0.8 * len(seen) and rise > max(0.02 * range_, 0.01):
        sentences.append(
            f"It overfits: the held-out loss was lowest at step {step[best]:.0f} and has risen by {rise:.2f} "
            "since; stop early (patience), or take a smaller model."
        )
    return sentences


def on_modes(coverage: ModeCoverage) -> str:
    """That samples reach all modes, and how many lie in none."""
    return (
        f"Samples reach all of the data's modes ({coverage.modes.source}); {in_percent(coverage.good)} of "
        f"{coverage.n} lie as near to one as 99 % of its rows."
    )


def on_samples(z_scores: np.ndarray, spread: float, names: list[str]) -> list[str]:
    """Whether samples have the means of the data, column by column, and vary as much."""
    near = np.abs(z_scores) <= 3
    sentence = f"The means of samples and data agree in {near.sum()} of {len(near)} columns (within 3 standard errors)"
    if not near.all():
        worst = int(np.abs(z_scores).argmax())
        sentence += f"; furthest off is {names[worst]}, by {abs(z_scores[worst]):.1f} standard errors"
    sentences = [sentence + "."]
    if spread < 0.7:
        sentences.append(f"Samples vary only {spread:.2f} times as much as the data: modes may be missing.")
    elif spread > 1.4:
        sentences.append(f"Samples vary {spread:.2f} times as much as the data: too much falls between the modes.")
    return sentences
