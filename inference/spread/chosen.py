"""A choice of nodes and what it is worth, and what both ways to choose have in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

RANDOM = 10
"""Random choices to compare with."""


@dataclass(frozen=True, repr=False)
class Choice:
    """Nodes that were chosen, and what they are expected to be worth.

    Attributes:
        nodes: labels, in the order in which they were chosen.
        gains: what each adds to those before it, in nodes reached or saved, [k].
        errors: the standard errors of the gains, [k].
        value: what all are worth together, and `error` its standard error.
        measure: "reached" or "saved".
        guarantee: in words, how good the choice is sure to be.
        certified: the share of the best choice's value that it has, with 99 % confidence; None where nothing is sure.
        others: value and error of other choices of as many: the highest degrees, at random.
        method: how it was found, in words.
    """

    nodes: tuple[Hashable, ...]
    gains: np.ndarray
    errors: np.ndarray
    value: float
    error: float
    measure: str
    guarantee: str
    certified: float | None
    others: Mapping[str, tuple[float, float]]
    method: str

    def to_frame(self) -> pd.DataFrame:
        """A row for each node, in the order of the choice."""
        return pd.DataFrame({"node": self.nodes, "gain": self.gains, "error": self.errors})

    def __repr__(self) -> str:
        lines = [f"{self.value:.4g} ± {self.error:.2g} {self.measure}, by {self.method}"]
        lines += ["  " + line for line in self.to_frame().to_string(index=False, float_format="%.3g").splitlines()]
        lines += [f"  {name}: {value:.4g} ± {error:.2g}" for name, (value, error) in self.others.items()]
        return "\n".join([*lines, f"  guarantee: {self.guarantee}"])


def check_count(k: int, free: int, n: int) -> None:
    if not free:
        raise ValueError(f"there is nobody left to choose: all {n} nodes begin it")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= free:
        raise ValueError(f"k is a whole number from 1 to {free}, the nodes of {n} that can be chosen, not {k!r}")


def affordable(seen: int, cost: int, budget: int, bounds: tuple[int, int]) -> int:
    """How many samples cost about what there is, where so many that were seen cost this; within bounds."""
    return int(min(bounds[1], max(bounds[0], budget * seen / max(cost, 1))))


def mean(values: Tensor) -> tuple[float, float]:
    """The mean of [choices, samples], and its standard error: of the samples, and of choices where they are several."""
    within = float(values.mean(0).std() / values.shape[1] ** 0.5)
    between = float(values.mean(1).std() / len(values) ** 0.5) if len(values) > 1 else 0.0
    return float(values.mean()), (within**2 + between**2) ** 0.5


def rivals(graph: Any, k: int, seed: int, free: Tensor | None = None) -> dict[str, list[list[int]]]:
    """Choices to compare with: the highest degrees, and random ones."""
    degree = graph.indptr.diff() if free is None else torch.where(free, graph.indptr.diff(), -1)
    able = torch.arange(graph.n) if free is None else free.nonzero()[:, 0].cpu()
    generator = torch.Generator().manual_seed(seed)
    random = [able[torch.randperm(len(able), generator=generator)[:k]].tolist() for _ in range(RANDOM)]
    return {"highest degrees": [degree.topk(k).indices.tolist()], "at random": random}
