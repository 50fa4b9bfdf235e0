"""Rows of which some cells are asked for."""

from __future__ import annotations

from functools import cached_property

import torch
import xarray as xr
from torch import Tensor

from inference.asking import placed
from inference.data import as_rows, check_around
from inference.protocols import measure_of
from inference.query.estimates import labelled
from inference.query.question import Question


class Gaps:
    """The rows given, where the model is, and which of their cells are known."""

    def __init__(self, question: Question) -> None:
        self.model, self.question = question.model, question
        rows = as_rows(question.given["x"], question.model)
        self.x, self.columns = placed(question.model, rows.x), rows.columns
        self.context = question.context if rows.context is None else placed(question.model, rows.context)

    @cached_property
    def known(self) -> Tensor:
        x = self.x
        unknown = x.isnan() if x.is_floating_point() else torch.zeros_like(x, dtype=torch.bool)
        return ~(unknown | (x == -1)) if self.codes else ~unknown

    @cached_property
    def codes(self) -> bool:
        return measure_of(self.model) == "mass"

    @cached_property
    def filled(self) -> Tensor:
        """x with a value of the support where it is not known, checked as data is."""
        return check_around(self.model, self.x, ~self.known, self.context, self.columns)


def named(gaps: Gaps, cells: Tensor) -> xr.DataArray:
    """Cells [N, ..., last] with their dimensions named: of codes probabilities, of numbers statistics."""
    return tabled(cells) if gaps.codes else labelled(cells, "x", names=("mean", "sd", "error")[: cells.shape[-1]])


def tabled(cells: Tensor) -> xr.DataArray:
    """Probabilities of each cell's levels, [N, ..., levels], named."""
    return labelled(cells, "x", "level", range(cells.shape[-1])).rename("probability")
