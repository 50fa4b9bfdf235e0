"""The pictures of a report: histories, grids of samples, scatters, answers. Each is a matplotlib Figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn
import torch
from matplotlib.figure import Figure
from torch import Tensor

STYLE = {**seaborn.axes_style("whitegrid"), "font.size": 9, "axes.edgecolor": "0.8", "grid.color": "0.92"}


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, np.ndarray]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def history(frame: pd.DataFrame) -> Figure:
    """Every named term of a fit over its steps."""
    terms = [name for name in frame.columns if name != "step" and pd.api.types.is_numeric_dtype(frame[name])]
    figure, axes = _figure(6.4, 3.2)
    for name in terms:
        rows = frame[["step", name]].dropna()
        seaborn.lineplot(
            x=rows["step"], y=rows[name], ax=axes[0, 0], label=name, marker="." if len(rows) < 60 else None
        )
    axes[0, 0].set(xlabel="step", ylabel=frame.attrs.get("unit", "nats a row"))
    return figure


def tiles(x: Tensor, columns: int, gap: int = 1) -> np.ndarray:
    """Images [N, H, W] as one, laid out in rows of `columns`, NaN between them."""
    images = x.detach().cpu().float().numpy()
    count, height, width = images.shape
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), np.nan)
    for i, image in enumerate(images):
        top, left = (gap + (height + gap) * (i // columns), gap + (width + gap) * (i % columns))
        sheet[top : top + height, left : left + width] = image
    return sheet


def gallery(images: Mapping[str, Tensor], columns: int = 8, across: int = 4) -> Figure:
    """Grids of images [N, H, W], one titled grid a name; ink is dark."""
    across = min(across, len(images))
    down = math.ceil(len(images) / across)
    figure, axes = _figure(2.6 * across, 2.85 * down, down, across)
    ink = matplotlib.colormaps["Greys"].with_extremes(bad="white")
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, x) in zip(axes.flat, images.items(), strict=False):
        low, high = float(x.min()), float(x.max())
        ax.imshow(tiles(x, columns), cmap=ink, vmin=min(low, 0.0), vmax=max(high, 1e-6), interpolation="nearest")
        ax.set_title(name, fontsize=10)
    return figure


def pairs(shown: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """For each name, images [P, H, W] above the ones that they are closest to, ink dark."""
    columns = max(len(x) for x, _ in shown.values())
    figure, axes = _figure(0.62 * columns + 0.4, 1.55 * len(shown) + 0.1, len(shown))
    ink = matplotlib.colormaps["Greys"].with_extremes(bad="white")
    for ax, (name, (x, nearest)) in zip(axes.flat, shown.items(), strict=True):
        both = torch.cat([x.float(), nearest.float()])
        low, high = min(float(both.min()), 0.0), max(float(both.max()), 1e-6)
        ax.imshow(tiles(both, len(x)), cmap=ink, vmin=low, vmax=high, interpolation="nearest")
        ax.set_title(f"{name}: drawn, and below the nearest training row", fontsize=9)
        ax.axis("off")
    return figure


def modes(shares: Mapping[str, Mapping[str, float]], missing: Mapping[str, Sequence[str]]) -> Figure:
    """The share of rows in each mode, the data's and each model's; an asterisk where a model misses a mode."""
    rows = [{"rows": name, "mode": mode, "share": p} for name, each in shares.items() for mode, p in each.items()]
    width = 0.16 * len(rows) + 1.5
    figure, axes = _figure(min(12.0, max(5.0, width)), 2.8)
    ax = axes[0, 0]
    seaborn.barplot(pd.DataFrame(rows), x="mode", y="share", hue="rows", ax=ax)
    names = list(next(iter(shares.values())))
    for bars, name in zip(ax.containers, shares, strict=True):
        for bar, mode in zip(bars, names, strict=True):
            if mode in missing.get(name, ()):
                ax.annotate("*", (bar.get_x() + bar.get_width() / 2, bar.get_height()), ha="center", color="crimson")
    ax.set(xlabel="", ylabel="share of rows")
    ax.legend(fontsize=7, title="")
    return figure


def scatter(points: Mapping[str, Tensor], labels: Sequence[str] = ("x0", "x1")) -> Figure:
    """Points in the plane, one panel a name, on the same axes."""
    figure, axes = _figure(3.2 * len(points), 3.2, 1, len(points))
    every = np.concatenate([x.detach().cpu().numpy() for x in points.values()])
    low, high = np.quantile(every, 0.002, axis=0), np.quantile(every, 0.998, axis=0)
    pad = 0.08 * (high - low) + 1e-9
    for ax, (name, x) in zip(axes.flat, points.items(), strict=True):
        rows = x.detach().cpu().numpy()
        seaborn.scatterplot(x=rows[:, 0], y=rows[:, 1], s=6, alpha=0.5, linewidth=0, ax=ax)
        ax.set(title=name, xlabel=labels[0], ylabel=labels[1])
        ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    return figure


def marginals(tables: Mapping[str, Tensor], columns: Sequence[str], most: int = 12) -> Figure:
    """Each column's distribution in the data and in the samples, for the first `most` columns."""
    shown = list(columns)[:most]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    figure, axes = _figure(2.4 * across, 1.9 * down, down, across)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    for i, (ax, column) in enumerate(zip(axes.flat, shown, strict=False)):
        for name, rows in tables.items():
            values = rows.detach().cpu().flatten(1)[:, i].float().numpy()
            seaborn.ecdfplot(x=values, ax=ax, label=name)
        ax.set(xlabel=column, ylabel="")
    axes[0, 0].legend(fontsize=7)
    return figure


def states(tables: Mapping[str, Tensor], names: Mapping[Any, Sequence[Any]], most: int = 12) -> Figure:
    """The share of each state by name in the data and in the samples, [N, variables] of codes; `most` variables."""
    shown = list(names.items())[:most]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    figure, axes = _figure(2.6 * across, 2.1 * down, down, across)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    for i, (ax, (variable, own)) in enumerate(zip(axes.flat, shown, strict=False)):
        rows = []
        for name, x in tables.items():
            codes = x.detach().cpu()[:, i].long()
            shares = codes[codes >= 0].bincount(minlength=len(own)).double() / max(1, int((codes >= 0).sum()))
            rows += [
                {"rows": name, "state": str(state), "share": p} for state, p in zip(own, shares.tolist(), strict=True)
            ]
        seaborn.barplot(pd.DataFrame(rows), y="state", x="share", hue="rows", ax=ax, legend=i == 0)
        ax.set(title=str(variable), xlabel="", ylabel="", xlim=(0, 1))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    axes[0, 0].get_legend().remove()
    return figure


def answers(values: Mapping[str, Mapping[Any, Any]]) -> Figure:
    """Answers to questions: for each target, the probability of each state under each question."""
    targets = list(dict.fromkeys(target for answer in values.values() for target in answer))
    figure, axes = _figure(3.0 * len(targets), 0.5 + 0.42 * len(values) + 0.9, 1, len(targets))
    for ax, target in zip(axes.flat, targets, strict=True):
        rows = [
            {"question": question, "state": str(state), "probability": float(p)}
            for question, answer in values.items()
            if target in answer
            for state, p in zip(*_states(answer[target]), strict=True)
        ]
        seaborn.barplot(pd.DataFrame(rows), y="question", x="probability", hue="state", ax=ax)
        ax.set(title=target, ylabel="", xlim=(0, 1))
        if ax is not axes.flat[0]:
            ax.set_yticklabels([])
        ax.get_legend().remove()
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _states(array: Any) -> tuple[list[Any], list[float]]:
    """The states and probabilities of a labelled answer over one variable."""
    dimension = array.dims[-1]
    return list(array.coords[dimension].values), list(np.asarray(array.values, dtype=float).reshape(-1))


def pictures(
    rows: Mapping[str, Tensor], image_shape: tuple[int, int] | None, columns: Sequence[str] | None = None
) -> Figure:
    """Samples beside data, as what they are: images, points of the plane, or columns of a table."""
    if image_shape is not None:
        return gallery({name: x[:64].reshape(-1, *image_shape) for name, x in rows.items()})
    flat = {name: x.flatten(1) for name, x in rows.items()}
    width = next(iter(flat.values())).shape[1]
    names = list(columns) if columns and len(columns) == width else [f"x{i}" for i in range(width)]
    if width == 2:
        return scatter(flat, names)
    return marginals(flat, names)
