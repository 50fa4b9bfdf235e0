"""pyAgrum on the same arrays, driven the three ways that its users drive it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pyagrum as gum

from benchmarks.elimination_tasks.networks import Network

PEER = f"pyAgrum {gum.__version__}"
SHARE = 0.15
"""Seconds that one way of driving gets a round."""

Rows = Mapping[str, np.ndarray]
Answers = list[dict[str, np.ndarray]]


def network_of(network: Network) -> gum.BayesNet:
    """The network from its arrays: files would be read in single precision."""
    found = gum.BayesNet(network.name)
    for v in network.variables:
        found.add(gum.LabelizedVariable(v, v, network.tables[v][1].shape[-1]))
    for v, (parents, _) in network.tables.items():
        for parent in parents:
            found.addArc(parent, v)
    for v, (parents, table) in network.tables.items():
        names, axes = list(found.cpt(v).names), [*parents, v]
        # the first name is the fastest axis
        ordered = np.transpose(table, [axes.index(name) for name in reversed(names)])
        found.cpt(v).fillWith(ordered.ravel().tolist())
    return found


def given(codes: Rows, row: int) -> dict[str, int]:
    """What one row knows."""
    return {v: int(column[row]) for v, column in codes.items() if column[row] >= 0}


class Driver:
    """One network, the same targets: all variables that a row does not know."""

    def __init__(self, network: Network) -> None:
        self.variables = network.variables
        self.network = network_of(network)

    def fresh(self, codes: Rows, rows: Sequence[int]) -> Answers:
        """A new engine for each row."""
        return [self._answer(gum.LazyPropagation(self.network), given(codes, row)) for row in rows]

    def kept(
        self, engine: gum.LazyPropagation | gum.ShaferShenoyInference, codes: Rows, rows: Sequence[int]
    ) -> Answers:
        """One engine, its evidence changed from row to row."""
        return [self._changed(engine, given(codes, row)) for row in rows]

    def ways(self) -> dict[str, Callable[[Rows, Sequence[int]], Answers]]:
        return {
            "fresh": self.fresh,
            "lazy": partial(self.kept, self._engine(gum.LazyPropagation)),
            "shafer-shenoy": partial(self.kept, self._engine(gum.ShaferShenoyInference)),
        }

    def contestants(self, codes: Rows, few: int = 1) -> dict[str, tuple[Callable[[], object], int]]:
        """Each way on as many rows as a round leaves time for: the call, and how many rows it does."""
        available = len(next(iter(codes.values())))
        found = {}
        for name, way in self.ways().items():
            way(codes, [0])
            start = time.process_time()
            way(codes, [0])
            count = max(few, min(available, 50, int(SHARE / max(1e-6, time.process_time() - start))))
            found[name] = (partial(way, codes, range(min(count, available))), min(count, available))
        return found

    def _engine(self, kind: type) -> gum.LazyPropagation | gum.ShaferShenoyInference:
        engine = kind(self.network)
        engine.setNumberOfThreads(1)
        return engine

    def _answer(self, engine: gum.LazyPropagation, known: Mapping[str, int]) -> dict[str, np.ndarray]:
        engine.setNumberOfThreads(1)
        engine.setEvidence(dict(known))
        return self._posteriors(engine, known)

    def _changed(self, engine: gum.LazyPropagation, known: Mapping[str, int]) -> dict[str, np.ndarray]:
        same = engine.nbrEvidence() == len(known) and all(engine.hasEvidence(v) for v in known)
        if same:
            for v, code in known.items():
                engine.chgEvidence(v, code)
        else:
            engine.setEvidence(dict(known))
        return self._posteriors(engine, known)

    def _posteriors(self, engine: gum.LazyPropagation, known: Mapping[str, int]) -> dict[str, np.ndarray]:
        engine.makeInference()
        return {v: engine.posterior(v).toarray() for v in self.variables if v not in known}
