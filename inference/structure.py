"""`learn_structure`: a Bayesian network from rows, its edges by pgmpy's searches and its tables by counting."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import networkx as nx
import numpy as np
import pandas as pd
from tqdm import tqdm

from inference.columns import Columns, counted, read_columns
from inference.near import near
from inference.scores import SCORES, Score, mutual_information

Edges = list[tuple[int, int]]
Tick = Callable[[], Any]
"""Called after each score or test, for the progress bar."""
SHAKEN = (0.1, 0.5)
"""The least and the greatest share of edges that a restart turns."""
LARGEST_SCORED = 1 << 22
"""Entries of a table beyond which a set of parents is not considered."""


@runtime_checkable
class Search(Protocol):
    """A way to find edges (cause, effect), by position of the columns."""

    def edges(self, columns: Columns, tick: Tick) -> Edges: ...


def learn_structure(
    data: Any,
    method: Search | None = None,
    *,
    names: Sequence[Hashable] | Mapping[Hashable, Sequence] | None = None,
    pseudo_count: float = 1.0,
    progress: bool = True,
) -> Any:
    """A pgmpy `DiscreteBayesianNetwork` learned from complete rows: p(x) = prod_v p(x_v | x_parents(v)).

    It has its tables, by counting, so it can be asked at once: `query(learn_structure(frame), "lung")`, or be
    fitted further: `BayesianNetwork(graph=...)`. The same rows and method give the same network.
    Rows can tell an edge from its reverse only where the two imply different independences; of equals the
    searches return one, so an arrow alone is no evidence of a cause.

    Parameters:
        data: a DataFrame of states, a column a variable; or codes [N, V] with `names`.
        method: `HillClimb()` (the default), `PC()`, `ChowLiu()` or `TAN("label")`.
        names: of the variables, where data is codes; mapped to their states where these have names.
        pseudo_count: added to each count of the tables: 0 is maximum likelihood, 1 Laplace's rule.
        progress: show a bar (silent where the output is not a terminal).

    Raises:
        ValueError: missing cells, measurements that were not cut into bins, tables too large to count.
    """
    method = HillClimb() if method is None else method
    if isinstance(method, type) or not isinstance(method, Search):
        told = method.__name__ if isinstance(method, type) else repr(method)
        raise TypeError(f"method must be one of HillClimb(), PC(), ChowLiu() and TAN(label), not {told}")
    if not 0 <= pseudo_count < math.inf:
        raise ValueError(f"pseudo_count must be at least 0 and finite, not {pseudo_count}")
    columns = read_columns(data, names)
    title = f"structure by {type(method).__name__}"
    # the searches' own bars ask no terminal, so they are silenced and the work is counted here
    with _quiet(), tqdm(disable=None if progress else True, desc=title, unit=" steps", leave=False) as bar:
        edges = method.edges(columns, bar.update)
        return counted(columns, edges, pseudo_count)


# ---- search by score


@dataclass(frozen=True)
class HillClimb:
    """Adds, removes or turns the edge that gains the score most, until none gains.

    Parameters:
        score: "bic"; "aic", which keeps more edges; "bdeu" (an equivalent sample of 10 rows) or "k2", both the
            marginal likelihood under Dirichlet tables.
        max_parents: of any variable; None for as many as the score pays for.
        restarts: climbs from the best network with some of its edges turned; the best by score is kept.
        seed: of the edges turned.

    References:
        Probabilistic Graphical Models (Koller and Friedman, 2009), section 18.4.3
    """

    score: str = "bic"
    max_parents: int | None = None
    restarts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, not {self.score!r}{near(self.score, SCORES)}")
        if self.max_parents is not None:
            _check_whole("max_parents", self.max_parents, 1)
        _check_whole("restarts", self.restarts, 0)
        _check_whole("seed", self.seed, 0)

    def edges(self, columns: Columns, tick: Tick) -> Edges:
        frame = _numbered(columns, least=2)
        score = _scorer(columns, frame, SCORES[self.score], tick)
        rng = np.random.default_rng(self.seed)
        best = self._climb(frame, score, None)
        for _ in range(self.restarts):
            best = max(best, self._climb(frame, score, self._shaken(best, rng)), key=score.score)
        return _edges(best)

    def _climb(self, frame: pd.DataFrame, score: Any, start: Any) -> Any:
        from pgmpy.causal_discovery import HillClimbSearch

        search = HillClimbSearch(
            scoring_method=score,
            start_dag=start,
            tabu_length=0,  # this search ends where nothing gains, so a ban on undoing only ever costs it
            max_indegree=self.max_parents,
            return_type="dag",
            show_progress=False,
        )
        return search.fit(frame).causal_graph_

    def _shaken(self, graph: Any, rng: np.random.Generator) -> Any:
        """The graph with some of its edges turned, or removed where turning would close a circle."""
        graph = graph.copy()
        share = rng.uniform(*SHAKEN)
        for u, v in sorted(graph.edges()):
            if rng.random() < share:
                graph.remove_edge(u, v)
                full = self.max_parents is not None and graph.in_degree(u) >= self.max_parents
                if not full and not nx.has_path(graph, u, v):
                    graph.add_edge(v, u)
        return graph


def _scorer(columns: Columns, frame: pd.DataFrame, score: Score, tick: Tick) -> Any:
    """A pgmpy score that counts on codes, each set of parents once: several times as fast as pgmpy's own."""
    from pgmpy.structure_score import BaseStructureScore

    found: dict[tuple[int, tuple[int, ...]], float] = {}

    class Counted(BaseStructureScore):
        def local_score(self, variable: int, parents: tuple[int, ...]) -> float:
            key = (variable, tuple(sorted(parents)))
            if key not in found:
                found[key] = self._local_score(*key)
                tick()
            return found[key]

        def _local_score(self, variable: int, parents: tuple[int, ...]) -> float:
            if columns.entries(variable, parents) > LARGEST_SCORED:
                return -math.inf
            return score(columns.counts(variable, parents), len(columns.codes))

    return Counted(frame)


# ---- search by tests


@dataclass(frozen=True)
class PC:
    """Starts from all edges, removes those whose ends a chi-square test finds independent, and turns the rest.

    Variables that others determine ("either" in asia) break its assumption of faithfulness: edges go missing
    there. An edge that the tests leave without a direction gets one that adds no new collider.

    Parameters:
        significance: how small a p-value must be to keep an edge; smaller gives fewer edges.
        max_given: variables that a test conditions on, at most.

    References:
        Causation, Prediction, and Search (Spirtes, Glymour and Scheines, 2001)
        Order-independent constraint-based causal structure learning (Colombo and Maathuis, 2014)
    """

    significance: float = 0.01
    max_given: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.significance < 1:
            raise ValueError(f"significance must lie between 0 and 1, not be {self.significance}")
        _check_whole("max_given", self.max_given, 0)

    def edges(self, columns: Columns, tick: Tick) -> Edges:
        from pgmpy.causal_discovery import PC as Search

        frame = _numbered(columns, least=2)
        search = Search(
            variant="stable",
            ci_test=_tester(frame, tick),
            return_type="dag",
            significance_level=self.significance,
            max_cond_vars=self.max_given,
            show_progress=False,
        )
        edges = _edges(search.fit(frame).causal_graph_)
        if not nx.is_directed_acyclic_graph(nx.DiGraph(edges)):
            raise ValueError(
                f"the tests at significance {self.significance} contradict each other, so that their edges form a "
                "cycle: take another significance or more rows, or HillClimb()"
            )
        return edges


def _tester(frame: pd.DataFrame, tick: Tick) -> Any:
    from pgmpy.ci_tests import ChiSquare

    class Counted(ChiSquare):
        def is_independent(self, X: int, Y: int, Z: Sequence[int] = (), significance_level: float = 0.05) -> bool:
            tick()
            return super().is_independent(X, Y, Z, significance_level)

    return Counted(frame)


# ---- trees


@dataclass(frozen=True)
class ChowLiu:
    """The tree of highest likelihood: the maximum spanning tree of mutual information, edges away from `root`.

    The likelihood is the same from any root; None takes the variable that tells most of the others.

    References:
        Approximating discrete probability distributions with dependence trees (Chow and Liu, 1968)
    """

    root: Hashable = None

    def edges(self, columns: Columns, tick: Tick) -> Edges:
        from pgmpy.estimators import TreeSearch

        root = None if self.root is None else _position(columns, self.root, "root")
        search = TreeSearch(_numbered(columns), root_node=root, n_jobs=1)
        return _edges(search.estimate("chow-liu", edge_weights_fn=_weigher(tick), show_progress=False))


@dataclass(frozen=True)
class TAN:
    """Tree-augmented naive Bayes, a classifier: `label` is a parent of all others, which form a tree given it.

    References:
        Bayesian network classifiers (Friedman, Geiger and Goldszmidt, 1997)
    """

    label: Hashable
    root: Hashable = None

    def __post_init__(self) -> None:
        if self.root is not None and self.root == self.label:
            raise ValueError(f"{self.label!r} is the label, which is above the tree; choose another root")

    def edges(self, columns: Columns, tick: Tick) -> Edges:
        from pgmpy.estimators import TreeSearch

        label = _position(columns, self.label, "label")
        if len(columns.names) < 2:
            raise ValueError(f"the data has no column but the label {self.label!r}")
        # pgmpy would take the label itself for the root, and refuse it
        root = int(label == 0) if self.root is None else _position(columns, self.root, "root")
        search = TreeSearch(_numbered(columns), root_node=root, n_jobs=1)
        return _edges(search.estimate("tan", label, edge_weights_fn=_weigher(tick), show_progress=False))


def _weigher(tick: Tick) -> Callable[[Any, Any], float]:
    def weight(a: Any, b: Any) -> float:
        tick()
        # an edge of weight zero is no edge to pgmpy, and the variables behind it would be lost; so none is zero
        return max(mutual_information(np.asarray(a), np.asarray(b)), 1e-12)

    return weight


# ---- shared


def _numbered(columns: Columns, least: int = 1) -> pd.DataFrame:
    """The codes under columns 0, 1, ...: pgmpy breaks ties in the order of its sets, which for names is random."""
    if len(columns.codes) < least:
        raise ValueError(f"a structure is learned from {least} rows or more, not {len(columns.codes)}")
    return pd.DataFrame(columns.codes)


def _edges(graph: Any) -> Edges:
    return sorted((int(u), int(v)) for u, v in graph.edges())


def _position(columns: Columns, name: Hashable, what: str) -> int:
    if name not in columns.names:
        raise ValueError(f"the data has no column {name!r} for the {what}{near(name, columns.names)}")
    return columns.names.index(name)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")


@contextmanager
def _quiet() -> Iterator[None]:
    """pgmpy's notes on its own next versions, and its log lines, kept from the user for this block."""
    logger = logging.getLogger("pgmpy")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
