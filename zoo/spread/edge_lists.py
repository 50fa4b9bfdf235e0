"""Edges in the forms people have them in, as places of nodes: networkx, pairs, sparse adjacency, a file."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse
import torch
from numpy.typing import NDArray

from zoo.registry import near


@dataclass(frozen=True)
class Listed:
    """Edges by the labels of their ends [E, 2], or by places in `nodes` where `placed`."""

    ends: NDArray[Any]
    nodes: Sequence[Hashable] | None = None
    weights: Any = None
    directed: bool = False
    placed: bool = False

    def name(self, edge: int) -> str:
        """An edge as its reader knows it."""
        a, b = self.ends[edge].tolist()
        if self.placed and self.nodes is not None:
            a, b = self.nodes[a], self.nodes[b]
        return f"{a!r} - {b!r}"


@singledispatch
def listed(given: Any, weights: Any, directed: bool) -> Listed:
    """The edges of what was given: here, a sequence of pairs."""
    if isinstance(given, pd.DataFrame):
        raise TypeError("give the edges of a DataFrame as networkx.from_pandas_edgelist(frame), or two of its columns")
    if isinstance(given, str | Mapping) or not hasattr(given, "__iter__"):
        told = repr(given) if isinstance(given, str | int | float) else f"a {type(given).__name__}"
        raise TypeError(f"edges are pairs of nodes, a networkx graph or a sparse adjacency, not {told}")
    pairs = list(given)
    for place, pair in enumerate(pairs):
        if not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(f"edge {place} is {pair!r}, and not a pair of nodes (weights are apart: weights=[...])")
        if not all(isinstance(node, Hashable) for node in pair):
            raise TypeError(f"edge {place} is {pair!r}: nodes are numbers, names, or what else can be a key")
    flat = np.fromiter(itertools.chain.from_iterable(pairs), dtype=object, count=2 * len(pairs))
    if pd.api.types.infer_dtype(flat, skipna=False) == "integer":
        flat = flat.astype(np.int64)
    return Listed(_led_somewhere(flat.reshape(-1, 2)), None, weights, directed)


@listed.register
def _of_array(given: np.ndarray, weights: Any, directed: bool) -> Listed:
    if given.ndim != 2 or given.shape[1] != 2:
        raise ValueError(f"edges are an array [E, 2], not {list(given.shape)}")
    if given.dtype.kind not in "iuf":
        return listed([tuple(pair) for pair in given.tolist()], weights, directed)
    ends = _led_somewhere(given)
    whole = ends.astype(np.int64)
    if (whole != ends).any():
        edge = int((whole != ends).any(1).argmax())
        raise ValueError(f"edge {edge} is {ends[edge].tolist()}: nodes are whole numbers or names")
    return Listed(whole, None, weights, directed)


@listed.register
def _of_tensor(given: torch.Tensor, weights: Any, directed: bool) -> Listed:
    if given.layout is torch.strided:
        return _of_array(given.detach().cpu().numpy(), weights, directed)
    sparse = given.detach().cpu().to_sparse_coo().coalesce()
    matrix = scipy.sparse.coo_array((sparse.values().numpy(), tuple(sparse.indices().numpy())), shape=sparse.shape)
    return _of_sparse(matrix, weights, directed)


@listed.register(scipy.sparse.sparray)
@listed.register(scipy.sparse.spmatrix)
def _of_sparse(given: Any, weights: Any, directed: bool) -> Listed:
    if len(given.shape) != 2 or given.shape[0] != given.shape[1]:
        raise ValueError(f"an adjacency is a square matrix, not {list(given.shape)}")
    if weights is not None:
        raise ValueError("the numbers of an adjacency are its weights: give no others")
    matrix = scipy.sparse.csr_array(given)
    if not directed and (odd := scipy.sparse.coo_array(matrix != matrix.T)).nnz:
        a, b = int(odd.coords[0][0]), int(odd.coords[1][0])
        raise ValueError(f"the adjacency is not symmetric at {a} - {b}: with directed=True it may be")
    coo = matrix.tocoo()
    values = None if (coo.data == 1).all() else coo.data.astype(np.float64)
    return Listed(np.stack(coo.coords, 1).astype(np.int64), range(matrix.shape[0]), values, directed, placed=True)


@listed.register
def _of_networkx(given: nx.Graph, weights: Any, directed: bool) -> Listed:
    nodes = list(given.nodes)
    place = {node: n for n, node in enumerate(nodes)}
    flat = (place[end] for a, b in given.edges() for end in (a, b))
    ends = np.fromiter(flat, dtype=np.int64, count=2 * given.number_of_edges()).reshape(-1, 2)
    if isinstance(weights, str):
        name = weights
        weights = [weight for *_, weight in given.edges(data=name)]
        for (a, b), weight in zip(given.edges(), weights, strict=True):
            if weight is None:
                raise ValueError(f"the edge {a!r} - {b!r} has no {name!r}")
    return Listed(ends, nodes, weights, given.is_directed(), placed=True)


def _led_somewhere(ends: NDArray[Any]) -> NDArray[Any]:
    if (missing := pd.isna(ends)).any():
        edge = int(missing.any(1).argmax())
        a, b = ends[edge].tolist()
        raise ValueError(f"edge {edge} goes from {a!r} to {b!r}: an edge needs two nodes")
    return ends


# ---- from labels to places


def placed(edges: Listed, nodes: Sequence[Hashable] | None) -> Listed:
    """The same edges by places, among these nodes if they are given, otherwise among those that have an edge.

    Raises:
        ValueError: an edge of a node that isn't among those given; a node given twice; text among numbers.
    """
    if edges.placed and nodes is None:
        return edges
    if edges.placed:
        return _looked_up(_labelled(edges), nodes or ())
    if nodes is not None:
        return _looked_up(edges, nodes)
    _of_one_kind(edges)
    whole = edges.ends.dtype.kind == "i"
    codes, found = pd.factorize(edges.ends.ravel(), sort=whole)
    names = found.tolist()
    consecutive = whole and bool(names) and names[0] == 0 and names[-1] == len(names) - 1
    return replace(edges, ends=codes.reshape(-1, 2), nodes=range(len(names)) if consecutive else names, placed=True)


def _of_one_kind(edges: Listed) -> None:
    flat = edges.ends.ravel()
    if flat.dtype != object or pd.api.types.infer_dtype(flat, skipna=False) != "mixed-integer":
        return
    text = next((place for place, node in enumerate(flat) if isinstance(node, str)), None)
    if text is not None:
        raise ValueError(
            f"the edge {edges.name(text // 2)} (number {text // 2}) has text, {flat[text]!r}, where other nodes are "
            "whole numbers: give nodes= where both are meant"
        )


def _labelled(edges: Listed) -> Listed:
    names = np.fromiter(edges.nodes or (), dtype=object, count=len(edges.nodes or ()))
    return replace(edges, ends=names[edges.ends], placed=False)


def _looked_up(edges: Listed, nodes: Sequence[Hashable]) -> Listed:
    nodes = nodes if isinstance(nodes, range) else list(nodes)
    flat = edges.ends.ravel()
    if nodes == range(len(nodes)) and edges.ends.dtype.kind == "i":
        places = np.where((flat >= 0) & (flat < len(nodes)), flat, -1)
    else:
        index = pd.Index(nodes, dtype=object, tupleize_cols=False)
        if index.has_duplicates:
            raise ValueError(f"the node {index[index.duplicated()][0]!r} is given twice")
        places = index.get_indexer(pd.Index(flat, dtype=object, tupleize_cols=False))
    if (places < 0).any():
        where = int((places < 0).argmax())
        unknown = flat[where : where + 1].tolist()[0]
        raise ValueError(
            f"the edge {edges.name(where // 2)} (number {where // 2}) names {unknown!r}, which is not among the "
            f"{len(nodes)} nodes{near(str(unknown), [str(node) for node in nodes[:10_000]])}"
        )
    return replace(edges, ends=places.astype(np.int64).reshape(-1, 2), nodes=nodes, placed=True)
