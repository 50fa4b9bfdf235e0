"""What `evaluate` gives: a table to read, and comparisons that refuse what can't be compared."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from inference.likelihood import Difference, LogLikelihood
from inference.quality.judge import Judgement

NORMAL = 1.96
"""Standard errors from the middle of a 95 % interval to its ends."""


@dataclass(frozen=True, repr=False)
class Scoreboard:
    """Scores of several models.

    Parameters:
        table: a row for each model, numbers as they are; errors are in the columns named `..._error`.
        likelihoods: by model, the log-likelihood of each row, for those that offer one.
        rows: by model, the held-out rows as it saw them.
        samples: by model, rows that it drew, taken back to the raw space where the data says how.
        features: what samples were compared by.
        quality: by model, what was found out about its samples.
    """

    table: pd.DataFrame
    likelihoods: dict[str, LogLikelihood]
    rows: dict[str, Tensor]
    samples: dict[str, Tensor]
    features: str
    quality: dict[str, Judgement] = field(default_factory=dict)

    def compare(self, first: str, second: str) -> Difference:
        """The first model's mean log-likelihood minus the second's, paired by row."""
        a, b = self._likelihood(first), self._likelihood(second)
        difference = a - b
        if not torch.equal(self.rows[first], self.rows[second]):
            raise ValueError(
                f"{first} and {second} were scored on different rows or views: nats can't be compared, "
                "but bits per dimension can where both views lead back to the same raw numbers"
            )
        return difference

    def best(self, *names: str) -> str:
        """The model with the highest mean log-likelihood of those named, or of all that offer one."""
        among = names or tuple(self.likelihoods)
        if not among:
            raise ValueError("no model here offers a likelihood; look at frechet and mmd in the table")
        first, *others = among
        for other in others:
            self.compare(first, other)
        return max(among, key=lambda name: self._likelihood(name).mean)

    def _likelihood(self, name: str) -> LogLikelihood:
        if name in self.likelihoods:
            return self.likelihoods[name]
        if name in self.table.index:
            raise ValueError(f"{name} offers no likelihood; look at frechet and mmd in the table")
        near = difflib.get_close_matches(name, list(self.table.index))
        raise ValueError(f"there is no model {name!r}; there is {', '.join(near or self.table.index)}")

    # ---- to be read

    def readable(self) -> pd.DataFrame:
        """The likelihoods as text: value and error in one cell, sorted within each measure, the best first."""
        order = self._ordered()
        shown = order[["kind", "likelihood", "measure"]].copy()
        if order["view"].nunique() > 1:
            shown["view"] = order["view"]  # nats, bits and distances compare within a view only
        shown["nats a row"] = _cells(order, "nats", 2)
        shown["bits per dim"] = _cells(order, "bits_per_dim", 3)
        shown["seconds"] = [_number(value, 1) for value in order["seconds"]]
        shown["parameters"] = [f"{value:,}" for value in order["parameters"]]
        return shown

    def readable_quality(self) -> pd.DataFrame:
        """The samples' quality as text, in the same order; what has no value for any model is left out."""
        order = self._ordered()
        shown = pd.DataFrame(index=order.index)
        if order["view"].nunique() > 1:
            shown["view"] = order["view"]
        shown["Frechet"] = _cells(order, "frechet", 2)
        if order["frechet_train"].notna().any():
            shown["Frechet of train"] = [_number(value, 2) for value in order["frechet_train"]]
        shown["p of MMD"] = _chances(order, "mmd_p")
        shown["told apart"] = _cells(order, "c2st", 2)
        for name in ("precision", "recall", "density", "coverage", "memory", "copies"):
            if order[name].notna().any():
                shown[name] = _cells(order, name, 2)
        if order["modes"].notna().any():
            reached = zip(order["modes_reached"], order["modes"], strict=True)
            shown["modes"] = ["-" if math.isnan(of) else f"{found:.0f} of {of:.0f}" for found, of in reached]
        if order["memory_p"].notna().any():
            shown["p of memory"] = _chances(order, "memory_p")
        return shown

    def quality_words(self) -> str:
        """What the numbers of `readable_quality` are, in a few sentences."""
        drawn, held_out = (self._counts(name) for name in ("samples", "held_out"))
        return (
            f"{drawn} samples beside {held_out} held-out rows, by {self.features}; memory by values. Each ± a standard "
            "error over other draws of both; 95 % intervals are in `table`. Told apart: how often a classifier is "
            "right; 0.5 is guessing. Memory, copies: 0 of a model that knows its training rows no better than others, "
            "1 of a model that copies them."
        )

    def _counts(self, name: str) -> str:
        least, most = int(self.table[name].min()), int(self.table[name].max())
        return f"{least:,}" if least == most else f"{least:,} to {most:,}"

    def _ordered(self) -> pd.DataFrame:
        return self.table.sort_values(["measure", "view", "nats"], ascending=[True, True, False])

    def to_html(self) -> str:
        tables = (self.readable(), self.readable_quality())
        return "\n".join(table.reset_index().to_html(index=False, border=0, justify="left") for table in tables)

    def to_markdown(self) -> str:
        return "\n\n".join(_markdown(table.reset_index()) for table in (self.readable(), self.readable_quality()))

    def __repr__(self) -> str:
        return f"{self.readable().to_string()}\n\n{self.readable_quality().to_string()}\n{self.quality_words()}"

    def _repr_html_(self) -> str:
        return self.to_html()


def _markdown(shown: pd.DataFrame) -> str:
    lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _cells(table: pd.DataFrame, name: str, digits: int) -> list[str]:
    return [
        _number(value, digits) if math.isnan(value) else f"{_number(value, digits)} ± {error:.{digits}f}"
        for value, error in zip(table[name], _errors(table, name), strict=True)
    ]


def _errors(table: pd.DataFrame, name: str) -> pd.Series:
    """The standard errors of a column, or what its interval stands for."""
    if f"{name}_error" in table:
        return table[f"{name}_error"]
    return (table[f"{name}_high"] - table[f"{name}_low"]) / (2 * NORMAL)


def _chances(table: pd.DataFrame, name: str) -> list[str]:
    return ["-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in table[name]]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"
