"""The networks that pgmpy ships, and rows of evidence drawn from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from inference.exact import Engine

SMALL = ("child", "alarm", "hepar2", "win95pts", "hailfinder", "andes", "pigs")
LARGE = ("water", "barley", "munin1", "pathfinder")
ALL = (
    *("asia", "cancer", "earthquake", "sachs", "survey"),
    *("child", "alarm", "insurance", "hailfinder", "hepar2", "win95pts", "water", "andes", "pigs", "barley"),
    *("mildew", "pathfinder", "munin1", "munin2", "munin3", "munin4", "munin", "link", "diabetes"),
)


@dataclass(frozen=True)
class Network:
    """A pgmpy graph, and its tables as the engine has them: columns summing to one, keyed by name."""

    name: str
    graph: Any
    dtype: torch.dtype = torch.float64
    engines: dict[tuple, Engine] = field(default_factory=dict)

    def engine(self, executor: str = "torch", **options: Any) -> Engine:
        key = (executor, *sorted(options.items()))
        if key not in self.engines:
            self.engines[key] = Engine(self.graph, executor=executor, **options)
        return self.engines[key]

    @cached_property
    def variables(self) -> list[str]:
        return list(self.graph.nodes())

    @cached_property
    def tables(self) -> dict[str, tuple[list[str], np.ndarray]]:
        """By variable: its parents, and P(variable | parents), [*parents' states, states]."""
        found = {}
        for cpd in self.graph.get_cpds():
            values = np.moveaxis(np.asarray(cpd.values, dtype=np.float64), 0, -1)
            found[cpd.variable] = (list(cpd.variables[1:]), values / values.sum(-1, keepdims=True))
        return found

    def sample(self, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Codes of all variables, by forward sampling."""
        codes: dict[str, np.ndarray] = {}
        for v in nx.topological_sort(self.graph):
            parents, table = self.tables[v]
            given = table[tuple(codes[p] for p in parents)] if parents else np.broadcast_to(table, (rows, len(table)))
            thresholds = given.cumsum(-1)
            codes[v] = (random.random((rows, 1)) * thresholds[:, -1:] > thresholds).sum(-1)
        return codes

    def evidence(self, rows: int, seed: int, share: float = 0.2) -> dict[str, np.ndarray]:
        """A fifth of the variables, the same in every row, with values drawn from the network."""
        random = np.random.default_rng(seed)
        known = random.choice(len(self.variables), max(1, round(share * len(self.variables))), replace=False)
        codes = self.sample(rows, random)
        return {self.variables[v]: codes[self.variables[v]] for v in sorted(known)}

    def gaps(self, rows: int, seed: int, missing: float = 0.8) -> dict[str, np.ndarray]:
        """All variables, in each row another part of them missing: -1."""
        random = np.random.default_rng(seed)
        codes = self.sample(rows, random)
        return {v: np.where(random.random(rows) < missing, -1, column) for v, column in codes.items()}


@lru_cache(maxsize=2)
def load(name: str) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.utils import get_example_model

        return Network(name, get_example_model(name))


def tensors(codes: dict[str, np.ndarray], rows: slice = slice(None), device: str = "cpu") -> dict[str, Tensor]:
    return {v: torch.from_numpy(np.ascontiguousarray(column[rows])).to(device) for v, column in codes.items()}


def compiled_at_hand() -> bool:
    """Whether the compiled executor is there: the engine takes torch's where it is not."""
    network = load("cancer")
    try:
        return network.engine("compiled").executor is not network.engine("torch").executor
    except (ImportError, ValueError):
        return False
