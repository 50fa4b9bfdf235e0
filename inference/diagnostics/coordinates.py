"""Draws of a posterior as a table of numbers, each with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from inference.diagnostics.predictive import to_numpy
from inference.naming import numbers


@dataclass(frozen=True)
class Coordinates:
    """Every number that a posterior draws: values [chains, draws, numbers], named as "theta[3]".

    `of` holds each site's own columns, with the shape of its value; numbers that are the same in all draws, such as the
    upper half of a Cholesky factor, stay in `values` and are left out by `moving`.
    """

    names: list[str]
    values: np.ndarray
    of: dict[str, slice]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of_draws(cls, draws: Mapping[str, Tensor | np.ndarray]) -> Coordinates:
        """From draws of each site [chains, draws, *shape]."""
        names: list[str] = []
        parts, of, shapes = [], {}, {}
        for name, given in draws.items():
            value = (to_numpy(given) if isinstance(given, Tensor) else np.asarray(given)).astype(np.float64)
            shapes[name] = value.shape[2:]
            of[name] = slice(len(names), len(names) + int(np.prod(shapes[name], dtype=int)))
            names += numbers(name, shapes[name])
            parts.append(value.reshape(*value.shape[:2], -1))
        return cls(names, np.concatenate(parts, 2), of, shapes)

    @cached_property
    def moving(self) -> np.ndarray:
        """Which numbers are not the same in every draw, [numbers]."""
        low, high = self.values.min((0, 1)), self.values.max((0, 1))
        with np.errstate(invalid="ignore"):  # infinity less infinity
            return ~((high == low) | (high - low <= 1e-12 * np.maximum(np.abs(low), np.abs(high))))

    @property
    def flat(self) -> np.ndarray:
        """[chains * draws, numbers]."""
        return self.values.reshape(-1, self.values.shape[2])

    def site(self, name: str) -> np.ndarray:
        """The draws of one site, [chains, draws, numbers of the site]."""
        return self.values[:, :, self.of[name]]
