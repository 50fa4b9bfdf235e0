"""A picture of samples among modes, those that are missing marked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from inference.diagnostics.plots import DATA, LIMIT, MODEL, figure
from inference.quality.modes import ModeCoverage, Modes, named

MISSING = "tab:red"


def draw_modes(coverage: ModeCoverage, samples: Tensor, data: Tensor | None = None) -> Figure:
    """Samples [N, D], and data beneath them; a ring at each mode that is reached, a named cross at each that is not.

    More than two features are seen along the two directions in which the modes' centres lie furthest apart.
    """
    return figure(lambda ax: _draw(ax, coverage, samples, data), size=(5.0, 5.0))


def seen_modes(constant: Any) -> Modes:
    """The modes of a diagnosis, each reaching as far as it is the nearest."""
    centres, unit, shares = (torch.as_tensor(np.asarray(constant[f"mode_{n}"])) for n in ("centre", "unit", "share"))
    return Modes(centres, torch.full_like(shares, math.inf), shares, named(centres, None), unit, "found by k-means")


def _draw(ax: Axes, coverage: ModeCoverage, samples: Tensor, data: Tensor | None) -> None:
    modes = coverage.modes
    seen = _directions(modes.centres / modes.unit)
    if data is not None:
        x, y = _places(data, modes.unit, seen)
        ax.scatter(x, y, s=4, color=DATA, alpha=0.3, label="data", linewidths=0)
    x, y = _places(samples, modes.unit, seen)
    ax.scatter(x, y, s=4, color=MODEL, alpha=0.5, label="samples", linewidths=0)
    reached = torch.tensor(coverage.reached)
    centres = modes.centres.cpu()
    for kind, marker, colour, edge in ((reached, "o", "none", LIMIT), (~reached, "X", MISSING, "white")):
        label = "reached" if marker == "o" else "missing"
        if kind.any():
            x, y = _places(centres[kind], modes.unit, seen)
            ax.scatter(x, y, s=110, marker=marker, facecolors=colour, edgecolors=edge, label=label, zorder=3)
    for name, place in zip(coverage.missing, _places(centres[~reached], modes.unit, seen).T, strict=True):
        ax.annotate(name, place.tolist(), xytext=(8, 8), textcoords="offset points", color=MISSING)
    quality = f", {coverage.good.value:.1%} of high quality" if modes.reach.isfinite().all() else ""
    ax.set(title=f"{int(reached.sum())} of {len(reached)} modes reached{quality}")
    ax.legend(loc="center" if centres.shape[1] == 2 else "best", fontsize=8)


def _directions(centres: Tensor) -> Tensor:
    """[D, 2]: the axes themselves where there are two, else what parts the centres."""
    width = centres.shape[1]
    if width <= 2:
        return torch.eye(width, 2, dtype=centres.dtype)
    found = torch.linalg.svd((centres - centres.mean(0)).cpu(), full_matrices=False)[2][:2].T
    return torch.nn.functional.pad(found, (0, 2 - found.shape[1]))


def _places(rows: Tensor, unit: Tensor, seen: Tensor) -> Tensor:
    """[2, N]; two features are seen in their own units."""
    rows = rows.detach().cpu().double()
    return ((rows if seen.shape[0] <= 2 else rows / unit.cpu()) @ seen).T
