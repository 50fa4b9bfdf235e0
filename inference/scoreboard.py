"""What `evaluate` gives: a table to read, and comparisons that refuse what can't be compared."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from inference.likelihood import Difference, LogLikelihood


@dataclass(frozen=True, repr=False)
class Scoreboard:
    """Scores of several models.

    Parameters:
        table: a row for each model, numbers as they are; errors are in the columns named `..._error`.
        likelihoods: by model, the log-likelihood of each row, for those that offer one.
        rows: by model, the held-out rows as it saw them.
        samples: by model, rows that it drew, taken back to the raw space where the data says how.
        features: what samples were compared by.
    """

    table: pd.DataFrame
    likelihoods: dict[str, LogLikelihood]
    rows: dict[str, Tensor]
    samples: dict[str, Tensor]
    features: str

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
        """The table as text: value and error in one cell, sorted within each measure, the best first."""
        order = self.table.sort_values(["measure", "view", "nats"], ascending=[True, True, False])
        shown = pd.DataFrame(index=order.index)
        shown["kind"] = order["kind"]
        shown["likelihood"] = order["likelihood"]
        shown["measure"] = order["measure"]
        if order["view"].nunique() > 1:
            shown["view"] = order["view"]  # nats, bits and distances compare within a view only
        shown["nats a row"] = _cells(order, "nats", 2)
        shown["bits per dim"] = _cells(order, "bits_per_dim", 3)
        shown[f"Frechet ({self.features})"] = _cells(order, "frechet", 3)
        if order["frechet_train"].notna().any():
            shown["Frechet of train"] = [_number(value, 3) for value in order["frechet_train"]]
        shown[f"MMD² ({self.features})"] = _cells(order, "mmd", 4)
        shown["seconds"] = [_number(value, 1) for value in order["seconds"]]
        shown["parameters"] = [f"{value:,}" for value in order["parameters"]]
        return shown

    def to_html(self) -> str:
        return self.readable().reset_index().to_html(index=False, border=0, justify="left")

    def to_markdown(self) -> str:
        shown = self.readable().reset_index()
        lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

    def __repr__(self) -> str:
        return self.readable().to_string()

    def _repr_html_(self) -> str:
        return self.to_html()


def _cells(table: pd.DataFrame, name: str, digits: int) -> list[str]:
    return [
        _number(value, digits) if math.isnan(value) else f"{value:.{digits}f} ± {error:.{digits}f}"
        for value, error in zip(table[name], table[f"{name}_error"], strict=True)
    ]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
